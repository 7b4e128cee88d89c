"""Make attestations. An attestation states the result, the machine, the software and the time of a check."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import UTC, datetime

import msgspec

from harness.contract.attestation import Attestation
from harness.execution.sessions import current_session
from harness.hardware import detect
from harness.verification.findings import RecordFindings

#: The distributions whose versions an attestation contains.
_DISTRIBUTIONS = ("algorace", "torch", "numpy")


def attest_weights(findings: RecordFindings) -> Attestation | None:
    """Return an attestation of the check of a record's saved weights.

    * If the check of the weights failed, the attestation refutes the record.
    * If the check of the weights passed and no other check failed, the attestation accepts the record.
    * Otherwise, the result is None: the weights could not be checked, or another check failed.
    """
    weights = findings.finding("weights")
    if weights is None or weights.outcome == "unchecked" or (weights.outcome == "passed" and findings.failed):
        return None
    return add_machine_fields(
        Attestation(
            record=findings.content_hash,
            run_id=findings.run_id,
            method="weights",
            outcome="accepted" if weights.outcome == "passed" else "refuted",
            detail=weights.detail
            or "a separate process evaluated the saved weights: the metrics equal the metrics of the record",
        )
    )


def add_machine_fields(attestation: Attestation, device: str = "cpu", threads: int = 1, ranks: int = 1) -> Attestation:
    """Return the attestation with the fields that describe this machine, its software and the current time.

    Args:
        attestation: the attestation.
        device, threads, ranks: see `detect.hardware_class`.
    """
    return msgspec.structs.replace(
        attestation,
        machine=current_session().machine,
        hardware=detect.hardware_class(device, threads, ranks),
        hardware_name=detect.cpu_name(),
        platform=platform.platform(),
        versions={"python": platform.python_version(), **_versions()},
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _versions() -> dict[str, str]:
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
