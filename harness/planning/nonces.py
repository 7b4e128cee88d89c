"""Request nonces for runs that will be published.

A nonce is a number from which the seeds of runs are derived. Before it is requested, the source hashes of the
submissions are written to the ledger of the runs folder. Nobody can therefore adapt a submission to its seeds.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from harness.contract.run import Nonce, RunSpec
from harness.errors import UsageError
from harness.storage.ledger import ORIGIN, AttemptLedger, LedgerEntry
from harness.system.beacon import CHAINS, Beacon, BeaconError, BeaconRound, can_verify_signature, find_inconsistency

#: Environment variable with the addresses of the beacon's relays, separated by commas.
RELAYS_VARIABLE: Final = "BENCH_BEACON"
_HEX = re.compile(r"[0-9a-fA-F]{64}")


class RequestedNonce(NamedTuple):
    """A nonce, and a message for the user; the message is "" if there is nothing to report."""

    nonce: Nonce
    message: str = ""


def public_beacon() -> Beacon:
    """Return the client of the beacon. It uses the relays that the environment variable names, if it names any."""
    relays = [relay.strip().rstrip("/") for relay in os.environ.get(RELAYS_VARIABLE, "").split(",") if relay.strip()]
    return Beacon(relays=tuple(relays)) if relays else Beacon()


def request_nonce(kind: str, sources: Mapping[str, str], runs: Path, beacon: Beacon) -> RequestedNonce | None:
    """Write the source hashes of submissions to the ledger, then return the nonce for their runs.

    If the ledger already contains a nonce for these sources, this nonce is used again. A repeated command therefore
    continues the same runs, and nobody can repeat it until a nonce gives a favourable result. If the beacon cannot be
    read, the nonce is a random number that this machine draws. If the user gives the nonce as 64 digits, nothing is
    written.

    Args:
        kind: `none`, `beacon`, `local`, or 64 hexadecimal digits.
        sources: source hash of each submission, by the submission's `name@version`.
        runs: the runs folder, which contains the ledger.
        beacon: client of the beacon.

    Returns:
        The nonce; None for `none`.

    Raises:
        UsageError: the kind is unknown.
        StoreError: the ledger cannot be written.
    """
    if kind == "none":
        return None
    if kind not in ("beacon", "local"):
        return draw_nonce(kind, beacon)
    ledger, committed = AttemptLedger(runs), dict(sources)
    if earlier := ledger.find_nonce(committed, kind):
        return RequestedNonce(earlier)
    ledger.append(LedgerEntry(previous=ORIGIN, time="", event="committed", sources=committed))
    requested = draw_nonce(kind, beacon)
    ledger.append(LedgerEntry(previous=ORIGIN, time="", event="nonce", sources=committed, nonce=requested.nonce))
    return requested


def draw_nonce(kind: str, beacon: Beacon) -> RequestedNonce:
    """Return the nonce that the user gives as 64 digits, or a new nonce.

    If the beacon cannot be read, the new nonce is a random number that this machine draws.

    Args:
        kind: `beacon`, `local`, or 64 hexadecimal digits.
        beacon: client of the beacon.

    Raises:
        UsageError: the kind is unknown.
    """
    if _HEX.fullmatch(kind):
        return RequestedNonce(Nonce(value=kind.lower(), source="given"))
    if kind not in ("beacon", "local"):
        raise UsageError(f"--nonce {kind} is not a nonce", fix="give beacon, local, none, or 64 hexadecimal digits")
    message = ""
    if kind == "beacon":
        try:
            answer = beacon.read_next()
        except BeaconError as error:
            message = f"the seeds come from a random number of this machine instead of the beacon: {error}"
        else:
            nonce = Nonce(
                value=answer.randomness,
                source="beacon",
                chain=beacon.chain.hash,
                round=answer.number,
                signature=answer.signature,
            )
            return RequestedNonce(nonce)
    return RequestedNonce(Nonce(value=secrets.token_hex(32), source="local"), message)


def submission_sources(specs: Iterable[RunSpec]) -> dict[str, str]:
    """Return the source hash of each submission of a plan, by `name@version`."""
    return {spec.submission.id: spec.submission.source_hash for spec in specs}


def find_nonce_problem(nonce: Nonce) -> str:
    """Return why a nonce is invalid, as far as this can be checked offline; "" if no problem was found.

    The signature of a beacon's round is verified if the extra `beacon` is installed (see `is_signature_verifiable`).
    """
    if not _HEX.fullmatch(nonce.value):
        return "the nonce does not consist of 64 hexadecimal digits"
    if nonce.source != "beacon":
        return ""
    if nonce.chain not in CHAINS:
        return f"the beacon's chain {nonce.chain or '(empty)'} is unknown"
    problem = find_inconsistency(_round_of(nonce), nonce.round, CHAINS[nonce.chain])
    return f"round {nonce.round} of the beacon: {problem}" if problem else ""


def is_signature_verifiable(nonce: Nonce) -> bool:
    """Return whether `find_nonce_problem` verifies the signature of a nonce's round, whose chain must be known."""
    return can_verify_signature(_round_of(nonce), CHAINS[nonce.chain])


def _round_of(nonce: Nonce) -> BeaconRound:
    return BeaconRound(number=nonce.round, randomness=nonce.value, signature=nonce.signature)
