"""Check that the seeds of a record follow from its root seed or a valid nonce."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from harness.contract.record import Record
from harness.contract.run import Nonce, RunSpec
from harness.planning.nonces import find_nonce_problem, is_signature_verifiable
from harness.planning.seeds import expected_held_out, expected_seeds
from harness.system.beacon import CHAINS, Beacon, BeaconError
from harness.verification.findings import Finding, make_finding

#: Seconds by which the clock of the run's machine may be behind the clock of the beacon.
_CLOCK_ERROR_S = 60.0

#: Why the check of seeds from a beacon is incomplete.
_UNVERIFIED = (
    "the signature of the beacon's round was not verified; pip install 'algorace[beacon]', or use bench verify --online"
)


def check_seeds(record: Record, beacon: Beacon | None = None, redrawing: Collection[str] = ()) -> Finding:
    """Return the finding about the seeds of a record.

    Args:
        record: the record.
        beacon: client that reads the beacon's round again; None to check offline.
        redrawing: see `find_held_out_problem`.
    """
    nonce = record.spec.nonce
    if nonce is not None and (problem := find_nonce_problem(nonce)):
        return make_finding("seeds", [problem])
    if expected_seeds(record.spec) != record.spec.seeds:
        origin = "root seed" if nonce is None else "nonce"
        return make_finding("seeds", [f"the seeds do not follow from the {origin}"])
    if problem := find_held_out_problem(record.spec, redrawing):
        return make_finding("seeds", [problem])
    if nonce is None or nonce.source != "beacon":
        return make_finding("seeds", [])
    published = CHAINS[nonce.chain].time_of(nonce.round)
    started = _seconds(record.started)
    if started is not None and started + _CLOCK_ERROR_S < published:
        return make_finding("seeds", [f"the run started before round {nonce.round} of the beacon was published"])
    if beacon is not None:
        return _read_again(nonce, beacon)
    return make_finding("seeds", [], "" if is_signature_verifiable(nonce) else _UNVERIFIED)


def find_held_out_problem(spec: RunSpec, redrawing: Collection[str]) -> str:
    """Return why the held-out data of a trial do not follow from its nonce; empty if there is no problem.

    Args:
        spec: the trial.
        redrawing: `name@version` of the workloads that draw their held-out data afresh in runs with a nonce. The record
            is not asked, because its author could have edited it.
    """
    if spec.held_out is not None:
        follows = spec.held_out == expected_held_out(spec)
        return "" if follows else "the seeds of the held-out data do not follow from the nonce"
    if spec.nonce is not None and spec.workload.facts.id in redrawing:
        return f"the run used the usual held-out data of {spec.workload.facts.id}, which a submission could contain"
    return ""


def _read_again(nonce: Nonce, beacon: Beacon) -> Finding:
    chain = CHAINS[nonce.chain]
    try:
        answer = Beacon(chain=chain, relays=beacon.relays, clock=beacon.clock, sleep=beacon.sleep).read(nonce.round)
    except BeaconError as error:
        return make_finding("seeds", [], f"the beacon cannot be read: {error.what}")
    if (answer.randomness, answer.signature) != (nonce.value, nonce.signature):
        return make_finding("seeds", [f"the beacon published another number in round {nonce.round}"])
    return make_finding("seeds", [])


def _seconds(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None
