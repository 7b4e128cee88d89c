"""The loop of a gate: run a pair, look, and stop when it is decided or a limit is met."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.contract.run import RunSpec, SubmissionRef
from harness.errors import UsageError
from harness.gating.setup import GateSetup, Runner
from harness.scoring.gate import GateLook, GatePair, GateRun, Side, judge_pairs, judge_run
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.differences import check_gate
from harness.scoring.sequential.evidence import fewest_deciding_pairs
from harness.scoring.sequential.verdict import ALPHA

#: Pairs that a gate may have at most; the seeds of a series are reckoned by it.
MOST_PAIRS = 1000
#: By side the submission as its first pair ran it.
Sources = Mapping[Side, SubmissionRef]


@dataclass(frozen=True, kw_only=True)
class GateLimits:
    """When a gate decides, and when it stops undecided.

    Args:
        alpha: error of `better` and `worse` together.
        min_effect: log ratio from which an effect counts.
        max_pairs: pairs at most, those of earlier calls included.
        max_minutes: wall minutes of this call at most; no limit when None.

    Raises:
        UsageError: an unusable alpha or min_effect, no pairs, too many, or no time.
    """

    alpha: float = ALPHA
    min_effect: float = MIN_EFFECT
    max_pairs: int = 40
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        check_gate(self.alpha, self.min_effect)
        if self.max_pairs < 1:
            raise UsageError(
                f"--max-pairs {self.max_pairs}: nothing can be decided without pairs",
                fix=f"give at least {fewest_deciding_pairs(self.alpha)}, the fewest that can decide",
            )
        if self.max_pairs > MOST_PAIRS:
            raise UsageError(
                f"--max-pairs {self.max_pairs:,}: a gate has {MOST_PAIRS:,} pairs at most", fix="give fewer"
            )
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise UsageError(f"--max-minutes {self.max_minutes:g}: nothing can run", fix="give more than 0")


@dataclass(frozen=True, kw_only=True)
class GateProgress:
    """A gate after a pair.

    Args:
        look: what the pairs so far say.
        minutes_per_pair: wall minutes of a pair, as far as is known.
    """

    look: GateLook
    minutes_per_pair: float

    @property
    def minutes_needed(self) -> float | None:
        """Wall minutes of the further pairs; None where their number is not known."""
        needed = self.look.pairs_needed
        return None if needed is None else needed * self.minutes_per_pair


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """How a gate ended.

    Args:
        setup, limits: what ran, and when it was to stop.
        envelopes: by workload; empty where log metrics were compared.
        pairs: every pair, in order.
        progress: after the last of them.
        stopped: why an undecided gate stopped; empty for a decided one.
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
class _Pace:
    """Wall time of pairs: as measured in this call, else as their records say."""

    clock: Callable[[], float]
    began: float = field(init=False)
    measured: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def minutes(self) -> float:
        return (self.clock() - self.began) / 60

    @property
    def minutes_per_pair(self) -> float:
        seconds = self.measured or self.recorded
        return sum(seconds) / len(seconds) / 60 if seconds else 0.0


def run_gate(
    setup: GateSetup,
    limits: GateLimits,
    envelopes: Mapping[str, GateEnvelope],
    run: Runner,
    *,
    is_finished: Callable[[RunSpec], bool] = lambda spec: False,
    on_pair: Callable[[GateProgress], None] = lambda progress: None,
    clock: Callable[[], float] = time.monotonic,
) -> GateResult:
    """Run pairs until the gate is over.

    Args:
        setup, limits: what runs, and when it stops.
        envelopes: by workload; log metrics are compared where one is missing.
        run: runs the specs of one pair.
        is_finished: whether a run has ended in an earlier call: such pairs cost no time.
        on_pair: told after every pair.
        clock: wall seconds.

    Raises:
        UsageError: see `GateSetup.check` and `judge_pairs`; a submission was edited while the gate ran.
        BenchError: a run was interrupted.
    """
    setup.check()
    sources: Sources = {side: spec.submission for side, spec in setup.plan_pair(0)}
    pace = _Pace(clock=clock)
    pairs: list[GatePair] = []
    while True:
        planned = setup.plan_pair(len(pairs))
        _check_sources(sources, planned, len(pairs))
        specs = [spec for _, spec in planned]
        fresh = not all(map(is_finished, specs))
        start = clock()
        records = run(specs)
        # Again, since a run that began after an edit breaks, and that is not its owner's fault.
        _check_sources(sources, setup.plan_pair(len(pairs)), len(pairs))
        runs = [judge_run(record, side) for (side, _), record in zip(planned, records, strict=True)]
        pairs.append(_match_sides(runs))
        if fresh:
            pace.measured.append(clock() - start)
        else:
            pace.recorded.append(sum(judged.seconds for judged in runs))
        look = judge_pairs(pairs, envelopes, alpha=limits.alpha, min_effect=limits.min_effect)
        progress = GateProgress(look=look, minutes_per_pair=pace.minutes_per_pair)
        on_pair(progress)
        stopped = "" if look.verdict.overall.decided else _find_stop(progress, limits, pace)
        if look.verdict.overall.decided or stopped:
            return GateResult(
                setup=setup,
                limits=limits,
                envelopes=envelopes if all(w.name in envelopes for w in setup.workloads) else {},
                pairs=tuple(pairs),
                progress=progress,
                stopped=stopped,
                minutes=pace.minutes,
            )


def _find_stop(progress: GateProgress, limits: GateLimits, pace: _Pace) -> str:
    """Why an undecided gate stops here; empty while it goes on."""
    look = progress.look
    if look.over:
        return f"A is better in the mean and worse on {', '.join(look.verdict.worse)}: it can no longer be `better`"
    if look.pairs >= limits.max_pairs:
        least = fewest_deciding_pairs(limits.alpha)
        if look.pairs < least:
            return f"{_count(look.pairs)} cannot decide at alpha = {limits.alpha:.3g}: that takes {least} at least"
        return f"{_count(look.pairs)} have run, all that --max-pairs allows"
    if limits.max_minutes is not None and pace.minutes + progress.minutes_per_pair > limits.max_minutes:
        return f"the next pair would end after the {limits.max_minutes:g} minutes of --max-minutes"
    return ""


def _count(pairs: int) -> str:
    return "1 pair" if pairs == 1 else f"{pairs} pairs"


def _match_sides(runs: Sequence[GateRun]) -> GatePair:
    by_side = {(judged.workload, judged.side): judged for judged in runs}
    names = dict.fromkeys(judged.workload for judged in runs)
    return {name: (by_side[name, "A"], by_side[name, "B"]) for name in names}


def _check_sources(first: Sources, planned: Sequence[tuple[Side, RunSpec]], pairs: int) -> None:
    """Refuse pairs whose submissions are not the ones of the first pair."""
    for side, spec in planned:
        if spec.submission != first[side]:
            raise UsageError(
                f"{spec.submission.name} was edited after {_count(pairs)}: its runs would be of two sources",
                fix="give the same command again: the edited source is gated from its first pair on",
            )
