"""Shows the progress of trials: a live view on a terminal, and one line per evaluation elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from harness.contract.record import Record, TrialSummary, is_retryable
from harness.contract.run import Point, RunSpec
from harness.contract.workload import Target
from harness.errors import escape_controls
from harness.report import text
from harness.report.curve import vertical_limits
from harness.report.trial_titles import TrialTitles
from harness.report.values import format_metric
from harness.scoring.run_overview import best_and_final_points, primary_target
from harness.storage.layout import run_id

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


#: Largest number of kept trials that are listed one by one. If there are more, they are summarised by status.
_MAX_LISTED = 3
#: Largest number of running trials that are shown in detail. If there are more, each trial has one line.
_MAX_DETAILED = 2


class _KeptTrials:
    """Collects trials that had already finished, until the next line is printed.

    There may be thousands of such trials, so they are not printed one by one.

    Args:
        titles: the names of the trials.
    """

    def __init__(self, titles: TrialTitles) -> None:
        self._summaries: list[TrialSummary] = []
        self._titles = titles

    def add(self, summary: TrialSummary) -> None:
        self._summaries.append(summary)

    def lines(self, index: int, total: int) -> list[str]:
        """Return lines about the trials collected since the last call.

        Args:
            index: number of the last collected trial.
            total: number of all trials.
        """
        summaries, self._summaries = self._summaries, []
        first = index - len(summaries) + 1
        if len(summaries) > _MAX_LISTED:
            counts = Counter(summary.status for summary in summaries)
            listed = ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
            return [f"[{first:,}-{index:,}/{total:,}] {listed} ({describe_kept(summaries)})"]
        return [
            f"[{number}/{total}] {self._titles.title(summary.spec)}: {describe_ending(summary)} "
            f"({describe_kept([summary])})"
            for number, summary in enumerate(summaries, start=first)
        ]


def describe_kept(summaries: Sequence[TrialSummary]) -> str:
    """Return the remark that trials were kept. If trials failed, it says how to rerun them."""
    has_failed = any(is_retryable(summary.status) for summary in summaries)
    pronoun = "it" if len(summaries) == 1 else "them"
    remedy = "--retry-failed reruns failed trials" if has_failed else f"--force repeats {pronoun}"
    return f"had already finished; {remedy}"


class Plain:
    """Prints one line per evaluation, for pipes, logs and terminals without cursor control.

    While several trials run, each line begins with the number of its trial.

    Args:
        total: number of trials.
        stream: stream to print to; None for stderr.
        titles: the names of the trials.
    """

    def __init__(self, total: int, stream: TextIO | None = None, titles: TrialTitles | None = None) -> None:
        self._total = total
        self._titles = titles or TrialTitles()
        self._stream = stream or sys.stderr
        self._index = 0
        self._running: dict[str, int] = {}
        self._kept = _KeptTrials(self._titles)

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self._print_kept()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        number = self._number(run_id(spec))
        more = f", continued from step {resumed[-1].steps:,}" if resumed else ""
        self._print(f"[{number}/{self._total}] {self._titles.title(spec)}{more}")

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._print(f"  {self._prefix(run_id(spec))}{_progress_line(spec, point)}")

    def warned(self, spec: RunSpec, message: str) -> None:
        self._print(f"warning: {self._titles.title(spec)}: {message}")

    def finished(self, record: Record) -> None:
        number = self._number(record.run_id)  # A trial may end before its start is reported.
        del self._running[record.run_id]
        self._print(f"[{number}/{self._total}] {self._titles.title(record.spec)}: {_outcome(record)}")

    def kept(self, summary: TrialSummary) -> None:
        self._index += 1
        self._kept.add(summary)

    def _number(self, identity: str) -> int:
        """Return the number of a trial. Trials are numbered in the order of their first events."""
        self._print_kept()
        if identity not in self._running:
            self._index += 1
            self._running[identity] = self._index
        return self._running[identity]

    def _prefix(self, identity: str) -> str:
        return f"[{self._running[identity]}] " if len(self._running) > 1 else ""

    def _print_kept(self) -> None:
        for line in self._kept.lines(self._index, self._total):
            self._print(line)

    def _print(self, line: str) -> None:
        # The program that reads a pipe may close the pipe (`| head`). The run must continue in this case.
        with contextlib.suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)


@dataclass
class _Running:
    """A running trial of the live view.

    Args:
        number: number of the trial, from 1.
        spec: specification of the trial.
        points: evaluations so far.
        started_at: monotonic time of the start in seconds.
    """

    number: int
    spec: RunSpec
    points: list[Point]
    started_at: float


class LiveView:
    """Redraws the running trials on a terminal, and prints a line for each finished trial.

    Args:
        total: number of trials.
        titles: the names of the trials.
    """

    def __init__(self, total: int, titles: TrialTitles | None = None) -> None:
        self._total = total
        self._titles = titles or TrialTitles()
        self._index = 0
        self._running: dict[str, _Running] = {}
        self._kept = _KeptTrials(self._titles)
        self._live: Live

    def __enter__(self) -> LiveView:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            console=Console(stderr=True), get_renderable=self._render, refresh_per_second=8, transient=True
        )
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._print_kept()
        self._running = {}
        self._live.stop()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        identity = run_id(spec)
        self._running[identity] = _Running(self._number(identity), spec, list(resumed), time.monotonic())

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._running[run_id(spec)].points.append(point)

    def warned(self, spec: RunSpec, message: str) -> None:
        self._live.console.print(f"[yellow]warning:[/] {_escape(self._titles.title(spec))}: {_escape(message)}")

    def finished(self, record: Record) -> None:
        number = self._number(record.run_id)
        self._running.pop(record.run_id, None)
        symbols = {"reached": "[green]✓[/]", "exhausted": "[yellow]–[/]"}
        symbol = symbols.get(record.status, "[red]✗[/]")
        title = _escape(self._titles.title(record.spec))
        line = f"{symbol} [dim]{number}/{self._total}[/] [bold]{title}[/] {_escape(_outcome(record))}"
        self._live.console.print(line)

    def kept(self, summary: TrialSummary) -> None:
        self._index += 1
        self._kept.add(summary)

    def _number(self, identity: str) -> int:
        self._print_kept()
        if identity in self._running:
            return self._running[identity].number
        self._index += 1
        return self._index

    def _print_kept(self) -> None:
        for line in self._kept.lines(self._index, self._total):
            self._live.console.print(f"[dim]{_escape(line)}[/]")

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        # The thread that redraws the view calls this method while `_running` changes. A copy is therefore used.
        running = list(self._running.values())
        if not running:
            return Text(f"  {self._index}/{self._total} starting …" if self._index < self._total else "", style="dim")
        if len(running) <= _MAX_DETAILED:
            return Group(*(self._block(trial) for trial in running))
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        for trial in running:
            grid.add_row(*self._line(trial))
        return grid

    def _line(self, trial: _Running) -> tuple[RenderableType, ...]:
        """Return the short form of a running trial: one row with progress, metric and target."""
        from rich.text import Text

        number, title = (
            Text(f"  {trial.number}/{self._total}", style="dim"),
            Text(self._titles.title(trial.spec), style="bold"),
        )
        if not trial.points:
            return number, title
        point, target = trial.points[-1], _target(trial.spec, trial.points[-1].stage)
        fraction, bar = _budget_bar(trial.spec, point, 16)
        metric = Text(f"{target.metric} {format_metric(point, target.metric)}  target {text.target_bound(target)}")
        return number, title, Text.assemble(*bar, f" {fraction:4.0%}"), metric, Text(_scored_time(trial.spec, point))

    def _block(self, trial: _Running) -> RenderableType:
        """Return the long form of a running trial: a block with curve, target and budget."""
        from rich.table import Table
        from rich.text import Text

        spec, points = trial.spec, list(trial.points)
        target = _target(spec, points[-1].stage if points else 0)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(Text(f"  {trial.number}/{self._total}", style="dim"), Text(self._titles.title(spec), style="bold"))
        values = [p.metrics[target.metric] for p in points if target.metric in p.metrics]
        if values:
            bounds = vertical_limits(values, target)
            grid.add_row("", Text(text.sparkline(values, 40, bounds), style="cyan"))
            metric = Text.assemble(
                f"{target.metric} ",
                (format_metric(points[-1], target.metric), "bold"),
                f"  target {text.target_bound(target)}",
            )
            grid.add_row("", metric)
        if points:
            fraction, bar = _budget_bar(spec, points[-1], 40)
            elapsed = time.monotonic() - trial.started_at
            can_estimate = fraction > 0.02 and elapsed > 1
            remaining = f", at most {text.seconds(elapsed * (1 - fraction) / fraction)} left" if can_estimate else ""
            grid.add_row("", Text.assemble(*bar, f" {fraction:.0%} of the budget"))
            grid.add_row("", Text(f"{_scored_time(spec, points[-1])} on the clock{remaining}"))
        return grid


def _target(spec: RunSpec, stage: int) -> Target:
    stages = spec.workload.facts.stages
    return stages[stage].targets[0] if stages else spec.workload.facts.targets[0]


def _budget_bar(spec: RunSpec, point: Point, width: int) -> tuple[float, list[tuple[str, str]]]:
    """Return the fraction of the budget of examples that was drawn, and a bar of `width` characters that shows it."""
    fraction = min(1.0, point.examples / spec.workload.facts.budget.horizon)
    filled = round(fraction * width)
    return fraction, [("━" * filled, "green"), ("━" * (width - filled), "bright_black")]


def _scored_time(spec: RunSpec, point: Point) -> str:
    return text.seconds(point.scored(spec.clock))


def _progress_line(spec: RunSpec, point: Point) -> str:
    target = _target(spec, point.stage)
    stage = f" stage {point.stage + 1}/{len(spec.workload.facts.stages)}" if spec.workload.facts.stages else ""
    horizon = spec.workload.facts.budget.horizon
    return (
        f"{point.examples:>9,}/{horizon:,} examples {point.steps:>6,} steps{stage}  "
        f"{target.metric} {format_metric(point, target.metric)} (target {text.target_bound(target)})  "
        f"{point.scored(spec.clock):7.2f} s"
    )


def _outcome(record: Record) -> str:
    if record.hit is not None:
        hit = record.points[record.hit]
        spent = f"{hit.scored(record.spec.clock):.2f} {record.spec.clock} seconds"
        reached = f"reached its target in {spent}, {hit.cost:,} examples, {hit.steps:,} steps"
        return "; ".join(filter(None, (reached, metric_summary(record))))
    return "; ".join(filter(None, (describe_ending(record), metric_summary(record))))


def metric_summary(record: Record) -> str:
    """Return the best value, the final value and the target of a run's metric; empty if the run has no evaluation.

    An example is `loss best 1.13, final 1.15, target ≤ 1.1`.
    """
    stage = record.points[-1].stage if record.points else 0
    target = primary_target(record.spec.workload.facts, stage)
    if target is None:
        return ""
    best, final = best_and_final_points(record, target, stage)
    if best is None:
        return ""
    end = "" if final is None else f", final {format_metric(final, target.metric)}"
    return f"{target.metric} best {format_metric(best, target.metric)}{end}, target {text.target_bound(target)}"


def describe_ending(trial: Record | TrialSummary) -> str:
    """Return the status of a trial, with the reason if there is one."""
    return f"{trial.status}: {trial.reason}" if trial.reason else trial.status


def _escape(line: str) -> str:
    from rich.markup import escape

    return escape(escape_controls(line))
