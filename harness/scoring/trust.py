"""The trust level of a record, from the record and its attestations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from harness.contract.attestation import Attestation
from harness.contract.judging import TRUST_LEVELS, Trust
from harness.contract.run import RunSpec


class Attestable(Protocol):
    """A record, or a summary of a record. Its field `trust` is the trust level without attestations."""

    @property
    def spec(self) -> RunSpec: ...
    @property
    def trust(self) -> Trust: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def machines(self) -> tuple[str, ...]:
        """Hashes of the names of the machines on which the run was made, in order; empty if unknown."""


def trust_level(record: Attestable, attestations: Iterable[Attestation]) -> Trust:
    """Return how far a record can be believed.

    - `verified`: another machine repeated the run on seeds that its author could not choose. Either runs on fresh seeds
      accepted the record. Or the record's own seeds come from a public beacon, and an exact repetition confirmed it.
    - `evaluated`: a process that never imported the submission evaluated the weights, during the run (field `trust` of
      the record) or later (an attestation), or an exact repetition confirmed the metrics.
    - `self-reported`: all other records, and records that an attestation refutes.

    Attestations of other records are ignored. An attestation is a statement of the machine that wrote it, not a proof.

    Args:
        record: the record, or its summary.
        attestations: attestations that are stored beside the record, possibly of other records.
    """
    own = [attestation for attestation in attestations if attestation.record == record.content_hash]
    if any(attestation.outcome == "refuted" for attestation in own):
        return "self-reported"
    accepted = [attestation for attestation in own if attestation.outcome == "accepted"]
    if any(not why_not_verified(record, attestation) for attestation in accepted):
        return "verified"
    return "evaluated" if accepted or record.trust == "evaluated" else "self-reported"


def why_not_verified(record: Attestable, attestation: Attestation) -> str:
    """Return why an accepted check does not give the level `verified`; empty if it gives this level."""
    if attestation.method == "weights":
        return "the run was not repeated"
    if attestation.method == "exact" and not has_public_seeds(record):
        return "the seeds of the record do not come from a public beacon"
    if attestation.method == "fresh-seeds" and (attestation.nonce is None or attestation.nonce.source == "given"):
        return "the fresh seeds were given by the user"
    if not attestation.machine or not record.machines:
        return "the machine of the record or of the check is unknown"
    return "the check was made on the machine of the record" if attestation.machine in record.machines else ""


def has_public_seeds(record: Attestable) -> bool:
    """Return whether the seeds of a record come from a public beacon."""
    return record.spec.nonce is not None and record.spec.nonce.source == "beacon"


def lowest_level(levels: Sequence[Trust]) -> Trust:
    """Return the lowest of several levels; `self-reported` if there are none.

    >>> lowest_level(["verified", "evaluated"])
    'evaluated'
    """
    return min(levels, key=TRUST_LEVELS.index, default="self-reported")
