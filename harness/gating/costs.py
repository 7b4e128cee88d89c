"""Estimates the wall time of runs from the time per example in stored runs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from harness.contract.record import Status
from harness.contract.run import RunSpec
from harness.planning.estimate import TimedUsage, is_typical
from harness.storage.records import iter_stored
from harness.system.files import JSON_ERRORS


class _TimedFacts(msgspec.Struct):
    name: str


class _TimedWorkload(msgspec.Struct):
    facts: _TimedFacts


class _TimedSpec(msgspec.Struct):
    workload: _TimedWorkload
    hardware: str
    smoke: bool = False


class _TimedCounters(msgspec.Struct):
    examples: int = 0
    seconds: float = 0.0


class _GateRecord(msgspec.Struct):
    """The fields of a record from which the time per example is computed; decoding skips all other fields."""

    spec: _TimedSpec
    status: Status
    counters: _TimedCounters
    usage: TimedUsage


class GateCosts:
    """Wall seconds per example and per start of stored runs, by hardware class and workload.

    Args:
        folders: folders with records; folders that do not exist are skipped.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        decoder = msgspec.json.Decoder(_GateRecord)
        self._seconds_per_example: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._start_seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        for stored in iter_stored((folder for folder in folders if folder.is_dir()), []):
            try:
                run = decoder.decode(stored.content)
            except JSON_ERRORS:
                continue
            seconds = run.counters.seconds + run.usage.off_clock_seconds
            if run.counters.examples and is_typical(run.status, smoke=run.spec.smoke):
                key = run.spec.hardware, run.spec.workload.facts.name
                self._seconds_per_example[key].append(seconds / run.counters.examples)
                self._start_seconds[key].append(run.usage.start_seconds)

    def minutes(self, specs: Sequence[RunSpec]) -> float | None:
        """Return the estimated wall minutes of runs that are executed one after the other.

        The start of the fork server is not included. The result is None if there is no stored run with the
        hardware class and the workload of one of these runs.
        """
        total = 0.0
        for spec in specs:
            key = spec.hardware, spec.workload.facts.name
            if key not in self._seconds_per_example:
                return None
            training = statistics.median(self._seconds_per_example[key]) * spec.workload.facts.budget.horizon
            total += statistics.median(self._start_seconds[key]) + training
        return total / 60

    def describe(self, specs: Sequence[RunSpec]) -> str:
        """Return the estimated wall minutes in words (see `minutes`)."""
        minutes = self.minutes(specs)
        return "cost unknown, because there is no earlier run" if minutes is None else f"about {minutes:.1f} minutes"
