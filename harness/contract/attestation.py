"""Attestations: the outcomes of checks in which somebody repeated a run or evaluated its weights.

An attestation is stored in a file beside the record.
"""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.run import Nonce

ATTESTATION_SCHEMA = 1
#: How a record was checked. `weights`: a separate process evaluated the saved weights. `exact`: the run was repeated
#: with the same seeds in an equal environment. `fresh-seeds`: the record was compared with runs on new seeds.
AttestationMethod = Literal["weights", "exact", "fresh-seeds"]
#: The result of a check.
AttestationOutcome = Literal["accepted", "refuted", "undecided"]


class Attestation(Data, frozen=True, kw_only=True):
    """The result of a check of one record.

    Args:
        schema: version of this format.
        record: content hash of the record.
        run_id: run ID of the record.
        method: how the record was checked.
        outcome: the result.
        detail: what was compared and what differed, in one line.
        source_hash: SHA-256 of the source of the submission that the check ran; empty if the check ran no submission.
        nonce: the nonce of the fresh seeds; None for a check without fresh seeds.
        runs: number of runs that the check made.
        estimate: estimated log of (examples of the record / examples on fresh seeds), both for the same result. A
            negative number means that runs on fresh seeds need more examples than the record. None for a check without
            fresh seeds, or if the estimate is infinite because many runs missed the target.
        machine: hash of the name of the machine that made the check.
        hardware: hardware class on which the check was made.
        hardware_name: name of the processor.
        platform: operating system and architecture.
        versions: versions of Python and of the relevant distributions by name.
        sandbox: sandbox in which the submission ran; `none` without a sandbox.
        date: time of the check, UTC in ISO 8601.
    """

    schema: int = ATTESTATION_SCHEMA
    record: str
    run_id: str
    method: AttestationMethod
    outcome: AttestationOutcome
    detail: str = ""
    source_hash: str = ""
    nonce: Nonce | None = None
    runs: int = 0
    estimate: float | None = None
    machine: str = ""
    hardware: str = ""
    hardware_name: str = ""
    platform: str = ""
    versions: dict[str, str] = {}
    sandbox: str = "none"
    date: str = ""
