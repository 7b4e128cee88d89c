"""Renders attestations and trust levels as text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.contract.attestation import Attestation
from harness.contract.record import Record
from harness.scoring.trust import trust_level, why_not_verified


def describe_trust(record: Record, attestations: Sequence[Attestation]) -> str:
    """Return the trust level of a record and the attestations on which it rests, in one line."""
    own = [attestation for attestation in attestations if attestation.record == record.content_hash]
    evidence = [
        f"{item.method} {item.outcome} on {item.date[:10]} by machine {item.machine}{_sandbox_clause(item)}"
        f"{_not_verified_clause(record, item)}"
        for item in own
    ]
    return "; ".join([trust_level(record, own), *evidence])


def _sandbox_clause(attestation: Attestation) -> str:
    return f" in the sandbox {attestation.sandbox}" if attestation.method != "weights" else ""


def _not_verified_clause(record: Record, attestation: Attestation) -> str:
    """Return why an accepted repetition does not give the level `verified`."""
    if attestation.method == "weights" or attestation.outcome != "accepted":
        return ""
    reason = why_not_verified(record, attestation)
    return f" (not enough for verified: {reason})" if reason else ""


def attestation_lines(record: Record, attestation: Attestation, all_attestations: Sequence[Attestation]) -> list[str]:
    """Return the outcome of a check and the record's trust level, in lines."""
    level = trust_level(record, all_attestations)
    title = f"{record.run_id} ({record.spec.submission.id} on {record.spec.workload.facts.id})"
    return [
        f"{title}: {attestation.method}: {attestation.outcome}: {attestation.detail}",
        f"{title}: {level}{_not_verified_clause(record, attestation) if level != 'verified' else ''}",
    ]


def rerun_json(
    record: Record, attestation: Attestation, all_attestations: Sequence[Attestation], path: Path | None
) -> dict[str, Any]:
    """Return an attestation with the record's trust level and the path of its file, as plain data."""
    return {
        "run_id": record.run_id,
        "trust": trust_level(record, all_attestations),
        "attestation": attestation,
        "file": None if path is None else str(path),
    }
