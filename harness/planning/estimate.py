"""Estimate how long trials will take, from the records of similar trials."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from harness.contract.record import Status, is_complete
from harness.contract.run import RunSpec
from harness.storage import records
from harness.system.files import JSON_ERRORS

#: Wall seconds until a worker that starts as a new Python process has imported torch. Records do not include this time.
STARTUP_S = 4.0
#: Wall seconds for starting a worker that a fork server forks. The fork server itself takes `STARTUP_S`, once per
#: command.
FORKED_STARTUP_S = 0.15
#: Purposes of trials that end before the workload's budget is spent.
SHORT_PURPOSES = frozenset({"gate", "gate-envelope", "confirm", "cost"})
#: Names of the rulesets of `bench tune` and `bench calibrate --envelope`. Their trials may have a smaller or larger
#: budget than the workload.
OTHER_BUDGETS = frozenset({"tune", "envelope"})


class _Named(msgspec.Struct):
    name: str


class _Workload(msgspec.Struct):
    facts: _Named


class _Spec(msgspec.Struct):
    submission: _Named
    workload: _Workload
    hardware: str
    ruleset: _Named
    purpose: str = "score"
    smoke: bool = False


class _Counters(msgspec.Struct):
    seconds: float = 0.0


class TimedUsage(msgspec.Struct):
    """The fields of `harness.contract.record.Usage` that add to the wall time of a trial, and `forked`."""

    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    import_seconds: float = 0.0
    build_seconds: float = 0.0
    forked: bool = False

    @property
    def off_clock_seconds(self) -> float:
        """Wall seconds for which the clock is stopped after the start."""
        return self.evaluation_seconds + self.checkpoint_seconds

    @property
    def start_seconds(self) -> float:
        """Estimated wall seconds until the first step of a trial whose worker starts like that of this record."""
        return (FORKED_STARTUP_S if self.forked else STARTUP_S) + self.import_seconds + self.build_seconds


def is_typical(status: Status, *, smoke: bool) -> bool:
    """Return whether the time of a trial says how long others take. A smoke run, or a run that broke, is shorter."""
    return (is_complete(status) or status == "timeout") and not smoke


class _TimedRecord(msgspec.Struct):
    """The fields of a record from which a trial's duration is computed. Other fields are not decoded, to save time."""

    spec: _Spec
    status: Status
    counters: _Counters
    usage: TimedUsage


class Estimates:
    """Estimates of the wall seconds of trials, from earlier trials on the same hardware class.

    Args:
        folders: folders with the records of earlier trials.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        decoder = msgspec.json.Decoder(_TimedRecord)
        self._by_submission: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._by_workload: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._uses_fork_server = False
        for stored in records.iter_stored(folders, []):
            try:
                record = decoder.decode(stored.content)
            except JSON_ERRORS:
                continue
            if not is_typical(record.status, smoke=record.spec.smoke):
                continue
            if record.spec.purpose in SHORT_PURPOSES or record.spec.ruleset.name in OTHER_BUDGETS:
                continue
            usage = record.usage
            self._uses_fork_server |= usage.forked
            work = record.counters.seconds + usage.off_clock_seconds
            key = record.spec.hardware, record.spec.workload.facts.name
            self._by_submission[(*key, record.spec.submission.name)].append(work + usage.start_seconds)
            self._by_workload[key].append(work + usage.start_seconds)

    def median_seconds(self, spec: RunSpec) -> float | None:
        """Return the median wall seconds of earlier trials with the same submission and workload as the given trial.

        If there are none, return the median over all submissions on this workload. If there are no trials on this
        workload, or if the given trial is a smoke run, return None.
        """
        if spec.smoke:
            return None
        key = spec.hardware, spec.workload.facts.name
        seconds = self._by_submission.get((*key, spec.submission.name)) or self._by_workload.get(key)
        return statistics.median(seconds) if seconds else None

    def total_seconds(self, specs: Sequence[RunSpec], jobs: int = 1) -> tuple[float, int]:
        """Return the estimated wall seconds for running all trials, and the number of trials without an estimate.

        Args:
            specs: the trials.
            jobs: number of trials that run at once.
        """
        known_seconds = [seconds for spec in specs if (seconds := self.median_seconds(spec)) is not None]
        first_start = STARTUP_S if known_seconds and self._uses_fork_server else 0.0
        return first_start + sum(known_seconds) / max(1, jobs), len(specs) - len(known_seconds)
