"""The loop of a gate: runs a pair, tests the differences so far, and stops at a verdict or at a limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.contract.run import RunSpec, SubmissionRef, WorkloadRef
from harness.errors import UsageError
from harness.gating.setup import GateSetup, Runner
from harness.scoring.gate import GateAxis, GateLook, GatePair, GateRun, Side, judge_pairs, judge_run, look_without_pairs
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.differences import check_gate
from harness.scoring.sequential.evidence import fewest_deciding_pairs
from harness.scoring.sequential.verdict import ALPHA

#: Largest number of pairs of a gate. In a series, it is also the number of seeds reserved for each candidate.
MOST_PAIRS = 1000
#: Side (A or B) and name of the workload -> both as they were planned for the first pair.
Sources = Mapping[tuple[Side, str], tuple[SubmissionRef, WorkloadRef]]


@dataclass(frozen=True, kw_only=True)
class GateLimits:
    """The error level of a gate, its smallest effect, and the limits at which it stops without a verdict.

    Args:
        alpha: error level of `better` and `worse` together.
        min_effect: smallest effect that is relevant, as a log ratio.
        max_pairs: largest number of pairs, including the pairs of previous calls.
        max_minutes: largest wall time of this call in minutes; None for no limit. A pair is not started if it would end
            later. Before the first pair, its time is unknown.
        by: `examples` to compare compute multipliers, or `time` to compare time multipliers (see `GateAxis`).

    Raises:
        UsageError: alpha or min_effect is out of range, max_pairs is below 1 or above `MOST_PAIRS`, or max_minutes is
            not positive.
    """

    alpha: float = ALPHA
    min_effect: float = MIN_EFFECT
    max_pairs: int = 40
    max_minutes: float | None = None
    by: GateAxis = "examples"

    def __post_init__(self) -> None:
        check_gate(self.alpha, self.min_effect)
        if self.max_pairs < 1:
            raise UsageError(
                f"--max-pairs {self.max_pairs}: a gate without pairs has no verdict",
                fix=f"give at least {fewest_deciding_pairs(self.alpha)}, the smallest number that allows a verdict",
            )
        if self.max_pairs > MOST_PAIRS:
            raise UsageError(
                f"--max-pairs {self.max_pairs:,}: a gate has {MOST_PAIRS:,} pairs at most",
                fix=f"give a number up to {MOST_PAIRS:,}",
            )
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise UsageError(
                f"--max-minutes {self.max_minutes:g}: no pair fits into this time", fix="give a positive number"
            )


@dataclass(frozen=True, kw_only=True)
class GateProgress:
    """The state of a gate after a pair.

    Args:
        look: result of the sequential test after the pairs so far.
        minutes_per_pair: mean wall minutes of a pair; 0 if unknown.
    """

    look: GateLook
    minutes_per_pair: float

    @property
    def minutes_needed(self) -> float | None:
        """Forecast of the remaining wall minutes; None if the number of further pairs is unknown."""
        needed = self.look.pairs_needed
        return None if needed is None else needed * self.minutes_per_pair


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The result of a gate.

    Args:
        setup: submissions and workloads of the gate.
        limits: limits of the gate.
        envelopes: workload -> envelope; empty if log metrics were compared.
        pairs: all pairs, in order.
        progress: state after the last pair.
        stopped: reason why the gate stopped without a verdict; empty for a gate with a verdict.
        minutes: wall minutes of this call.
    """

    setup: GateSetup
    limits: GateLimits
    envelopes: Mapping[str, GateEnvelope]
    pairs: tuple[GatePair, ...]
    progress: GateProgress
    stopped: str
    minutes: float

    @property
    def outcome(self) -> str:
        """The verdict in one word."""
        return self.progress.look.verdict.overall.outcome


@dataclass(kw_only=True)
class _PairTimer:
    """Measures the wall time of pairs.

    Args:
        clock: function that returns wall seconds.
        started: reading of the clock at the start of this call; None if the call starts now.
        measured: wall seconds of each pair that was run in this call.
        recorded: wall seconds of each pair that had finished before this call, from the records of its runs. These
            values are used only if `measured` is empty.
    """

    clock: Callable[[], float]
    started: float | None = None
    measured: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._start = self.clock() if self.started is None else self.started

    @property
    def minutes(self) -> float:
        return (self.clock() - self._start) / 60

    @property
    def minutes_per_pair(self) -> float:
        seconds = self.measured or self.recorded
        return sum(seconds) / len(seconds) / 60 if seconds else 0.0

    def add(self, runs: Sequence[GateRun], start: float | None) -> None:
        """Add a pair that has just ended and was started at `start`; None if its runs had finished before this call."""
        if start is None:
            self.recorded.append(sum(judged.seconds for judged in runs))
        else:
            self.measured.append(self.clock() - start)


def run_gate(
    setup: GateSetup,
    limits: GateLimits,
    envelopes: Mapping[str, GateEnvelope],
    run: Runner,
    *,
    is_finished: Callable[[RunSpec], bool] = lambda spec: False,
    on_pair: Callable[[GateProgress], None] = lambda progress: None,
    clock: Callable[[], float] = time.monotonic,
    started: float | None = None,
) -> GateResult:
    """Run pairs until the gate has a verdict or meets a limit.

    Args:
        setup: submissions and workloads.
        limits: error level, smallest effect and limits.
        envelopes: workload -> envelope. If an envelope is missing, log metrics are compared on all workloads.
        run: function that runs the specifications of one pair.
        is_finished: function that returns whether a run finished in a previous call. Finished runs are not repeated.
        on_pair: function that is called after every pair.
        clock: function that returns wall seconds.
        started: reading of the clock at the start of this call, such as before the envelopes were made; None if the
            call starts now.

    Raises:
        UsageError: the setup is invalid (see `GateSetup.check`), the pairs cannot be compared (see `judge_pairs`), or a
            submission or a workload was edited while the gate ran.
        BenchError: a run was interrupted.
    """
    setup.check()
    sources: Sources = {
        (side, spec.workload.facts.name): (spec.submission, spec.workload) for side, spec in setup.plan_pair(0)
    }
    timer = _PairTimer(clock=clock, started=started)
    pairs: list[GatePair] = []
    look = look_without_pairs([w.name for w in setup.workloads], alpha=limits.alpha, min_effect=limits.min_effect)
    progress = GateProgress(look=look, minutes_per_pair=0.0)
    while True:
        planned = setup.plan_pair(len(pairs))
        _check_sources(sources, planned, len(pairs))
        specs = [spec for _, spec in planned]
        needs_run = not all(map(is_finished, specs))
        stopped = _time_reason(limits, timer, len(pairs)) if needs_run else ""
        if not stopped:
            start = clock() if needs_run else None
            records = run(specs)
            # A run crashes if its submission is edited during the pair. Such a crash must not count against the
            # submission.
            _check_sources(sources, setup.plan_pair(len(pairs)), len(pairs))
            runs = [judge_run(record, side) for (side, _), record in zip(planned, records, strict=True)]
            pairs.append(_match_sides(runs))
            timer.add(runs, start)
            look = judge_pairs(pairs, envelopes, alpha=limits.alpha, min_effect=limits.min_effect, by=limits.by)
            progress = GateProgress(look=look, minutes_per_pair=timer.minutes_per_pair)
            on_pair(progress)
            stopped = "" if look.verdict.overall.decided else _stop_reason(look, limits)
        if look.verdict.overall.decided or stopped:
            return GateResult(
                setup=setup,
                limits=limits,
                envelopes=envelopes if all(w.name in envelopes for w in setup.workloads) else {},
                pairs=tuple(pairs),
                progress=progress,
                stopped=stopped,
                minutes=timer.minutes,
            )


def _time_reason(limits: GateLimits, timer: _PairTimer, pairs: int) -> str:
    """Return the reason why no further pair is run within `max_minutes`; empty if a pair can be run."""
    if limits.max_minutes is None or timer.minutes + timer.minutes_per_pair <= limits.max_minutes:
        return ""
    if not pairs:
        return f"no pair has run, because making the envelope took the {limits.max_minutes:g} minutes of --max-minutes"
    return f"the next pair would end after the {limits.max_minutes:g} minutes of --max-minutes"


def _stop_reason(look: GateLook, limits: GateLimits) -> str:
    """Return the reason why a gate without a verdict stops after this pair; empty if the gate continues."""
    if look.is_over:
        worse_on = ", ".join(look.verdict.worse)
        return f"A is better on average but worse on {worse_on}, so the verdict can no longer become `better`"
    if look.pairs >= limits.max_pairs:
        least = fewest_deciding_pairs(limits.alpha)
        if look.pairs < least:
            return (
                f"{_format_count(look.pairs)} cannot decide at alpha = {limits.alpha:.3g}: at least {least} are needed"
            )
        return f"{_format_count(look.pairs)} have run, the limit of --max-pairs"
    return ""


def _format_count(pairs: int) -> str:
    return "1 pair" if pairs == 1 else f"{pairs} pairs"


def _match_sides(runs: Sequence[GateRun]) -> GatePair:
    by_side = {(judged.workload, judged.side): judged for judged in runs}
    names = dict.fromkeys(judged.workload for judged in runs)
    return {name: (by_side[name, "A"], by_side[name, "B"]) for name in names}


def _check_sources(first: Sources, planned: Sequence[tuple[Side, RunSpec]], pairs: int) -> None:
    """Raise an error if a submission or a workload has been edited since the first pair.

    Args:
        first: submissions and workloads as they were planned for the first pair.
        planned: sides and specifications of the next pair.
        pairs: number of finished pairs.

    Raises:
        UsageError: a submission or the source of a workload differs from that of the first pair.
    """
    for side, spec in planned:
        submission, workload = first[side, spec.workload.facts.name]
        edited = spec.submission.name if spec.submission != submission else ""
        if spec.workload.has_other_source(workload):
            edited = spec.workload.facts.name
        if edited:
            raise UsageError(
                f"{edited} was edited after {_format_count(pairs)}: a gate cannot mix two sources",
                fix="repeat the command to start a new gate of the edited source",
            )
