"""Find copies: records of different runs with the same weights, curve or times."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from harness.contract.record import Record

#: Smallest number of points for which equal curves or times cannot be a coincidence.
_MIN_POINTS = 3


class _Owner(NamedTuple):
    """The run to which weights, a curve or times belong."""

    run_id: str
    content_hash: str
    title: str
    submission: str
    seeds: bytes
    workload: str
    purpose: str


class CopyFinder:
    """Compares each record with the records before it. Only hashes are kept in memory."""

    def __init__(self) -> None:
        self._owners: dict[bytes, _Owner] = {}
        self._contents: dict[str, str] = {}
        self._problems: dict[str, list[str]] = {}

    def add(self, record: Record) -> None:
        """Compare a record with the records that were added before it."""
        spec = record.spec
        owner = _Owner(
            run_id=record.run_id,
            content_hash=record.content_hash,
            title=f"{record.run_id} ({spec.submission.id} on {spec.workload.facts.id})",
            submission=spec.submission.name,
            seeds=msgspec.json.encode(spec.seeds),
            workload=spec.workload.facts.id,
            purpose=spec.purpose,
        )
        if self._contents.setdefault(record.run_id, record.content_hash) != record.content_hash:
            self._report(owner, "another record of the same trial has other content")
        for kind, digest in _fingerprints(record):
            first = self._owners.setdefault(digest, owner)
            if first.run_id != owner.run_id and _shows_copy(first, owner):
                self._report(owner, f"it has the {kind} of {first.title}")
                self._report(first, f"{owner.title} has the same {kind}")

    def problems(self, content_hash: str) -> list[str]:
        """Return the problems of a record, which is given by its content hash."""
        return self._problems.get(content_hash, [])

    def _report(self, owner: _Owner, problem: str) -> None:
        self._problems.setdefault(owner.content_hash, []).append(problem)


def _shows_copy(a: _Owner, b: _Owner) -> bool:
    """Return whether equal results of two trials show that one is a copy of the other.

    * Different seeds or workloads: yes. Honest results would differ.
    * The same seeds, workload and submission: no. The trials may differ in their ruleset, or in an edit without effect.
    * The same seeds and workload, two submissions: only in trials for a table. Gates and searches may well compare
      equivalent submissions.
    """
    if (a.seeds, a.workload) != (b.seeds, b.workload):
        return True
    return a.submission != b.submission and a.purpose == b.purpose == "score"


def _fingerprints(record: Record) -> list[tuple[str, bytes]]:
    """Return the kind and the hash of each part of a record that identifies its run.

    After a divergence, all weights may be NaN. Such weights, and the metrics of such a model, are equal in runs that
    have nothing in common, so only the times identify a run that diverged.
    """
    fingerprints = []
    has_diverged = record.status == "diverged"
    if record.final_weights and not has_diverged:
        fingerprints.append(("weights", record.final_weights.encode()))
    if len(record.points) >= _MIN_POINTS:
        curve = [(point.examples, point.steps, sorted(point.metrics.items())) for point in record.points[1:]]
        if not has_diverged and len({tuple(metrics) for _, _, metrics in curve}) >= _MIN_POINTS - 1:
            fingerprints.append(("curve", _digest(curve)))
        fingerprints.append(("times", _digest([point.seconds for point in record.points])))
    return fingerprints


def _digest(values: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(values)).digest()
