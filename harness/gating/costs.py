"""Estimates the wall time of runs from the time per example in stored runs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from harness.contract.run import RunSpec
from harness.planning.estimate import STARTUP_S
from harness.storage.records import iter_stored
from harness.system.files import JSON_ERRORS


class _TimedFacts(msgspec.Struct):
    name: str


class _TimedWorkload(msgspec.Struct):
    facts: _TimedFacts


class _TimedSpec(msgspec.Struct):
    workload: _TimedWorkload
    hardware: str


class _TimedCounters(msgspec.Struct):
    examples: int = 0
    seconds: float = 0.0


class _TimedUsage(msgspec.Struct):
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0


class _GateRecord(msgspec.Struct):
    """The fields of a record from which the time per example is computed; decoding skips all other fields."""

    spec: _TimedSpec
    counters: _TimedCounters
    usage: _TimedUsage


class GateCosts:
    """Wall seconds per example of stored runs, by hardware class and workload.

    Args:
        folders: folders with records; folders that do not exist are skipped.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        decoder = msgspec.json.Decoder(_GateRecord)
        self._seconds_per_example: dict[tuple[str, str], list[float]] = defaultdict(list)
        for stored in iter_stored((folder for folder in folders if folder.is_dir()), []):
            try:
                run = decoder.decode(stored.content)
            except JSON_ERRORS:
                continue
            seconds = run.counters.seconds + run.usage.evaluation_seconds + run.usage.checkpoint_seconds
            if run.counters.examples:
                key = run.spec.hardware, run.spec.workload.facts.name
                self._seconds_per_example[key].append(seconds / run.counters.examples)

    def minutes(self, specs: Sequence[RunSpec]) -> float | None:
        """Return the estimated wall minutes of runs that are executed one after the other.

        The result is None if there is no stored run with the hardware class and the workload of one of these runs.
        """
        total = 0.0
        for spec in specs:
            seconds_per_example = self._seconds_per_example.get((spec.hardware, spec.workload.facts.name))
            if not seconds_per_example:
                return None
            total += STARTUP_S + statistics.median(seconds_per_example) * spec.workload.facts.budget.horizon
        return total / 60
