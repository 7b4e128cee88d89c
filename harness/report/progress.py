"""Progress of trials: a live view on a terminal, one plain line per evaluation elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from harness.report import text
from harness.supervise import Watcher
from harness.types import Point, Record, RunSpec, Target

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


class Plain:
    """One line per evaluation, nothing that moves; for pipes, logs and dumb terminals.

    Args:
        total: trials in all.
        stream: where lines go.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._index = 0
        self._open = False

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None: ...

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._index += 1
        self._open = True
        more = f", going on from step {resumed[-1].steps:,}" if resumed else ""
        self._say(f"[{self._index}/{self._total}] {_title(spec)}{more}")

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._say(f"  {_progress_line(spec, point)}")

    def warned(self, spec: RunSpec, message: str) -> None:
        self._say(f"warning: {_title(spec)}: {message}")

    def finished(self, record: Record) -> None:
        if not self._open:  # it ended before it stood
            self._index += 1
            self._say(f"[{self._index}/{self._total}] {_title(record.spec)}")
        self._open = False
        self._say(f"  {_outcome(record)}")

    def kept(self, record: Record) -> None:
        self._index += 1
        self._say(f"[{self._index}/{self._total}] {_title(record.spec)}: {_outcome(record)} (kept from before)")

    def _say(self, line: str) -> None:
        # Whoever read along may go away (`| head`); the run goes on.
        with contextlib.suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)


class LiveView:
    """A view that redraws itself: what runs now in detail, what has ended as one line each.

    Args:
        total: trials in all.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._index = 0
        self._points: list[Point] = []
        self._spec: RunSpec | None = None
        self._began = 0.0
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
        self._spec = None
        self._live.stop()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._index += 1
        self._spec, self._points, self._began = spec, list(resumed), time.monotonic()

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._points.append(point)

    def warned(self, spec: RunSpec, message: str) -> None:
        self._live.console.print(f"[yellow]warning:[/] {_escape(_title(spec))}: {_escape(message)}")

    def finished(self, record: Record) -> None:
        if self._spec is None:  # it ended before it stood
            self._index += 1
        self._spec = None
        self._line(record, "")

    def kept(self, record: Record) -> None:
        self._index += 1
        self._line(record, " [dim](kept from before)[/]")

    def _line(self, record: Record, suffix: str) -> None:
        good = record.status == "reached"
        mark = "[green]✓[/]" if good else "[yellow]–[/]" if record.status == "exhausted" else "[red]✗[/]"
        self._live.console.print(
            f"{mark} [dim]{self._index}/{self._total}[/] [bold]{_escape(_title(record.spec))}[/] "
            f"{_escape(_outcome(record))}{suffix}"
        )

    def _render(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        spec, points = self._spec, self._points
        if spec is None:
            return Text(f"  {self._index}/{self._total} starting …" if self._index < self._total else "", style="dim")
        target = _target(spec, points[-1].stage if points else 0)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(Text(f"  {self._index}/{self._total}", style="dim"), Text(_title(spec), style="bold"))
        values = [p.metrics[target.metric] for p in points if target.metric in p.metrics]
        if values:
            grid.add_row("", Text(text.sparkline(values, 40), style="cyan"))
            now = Text.assemble(f"{target.metric} ", (f"{values[-1]:.4g}", "bold"), f"  target {_goal(target)}")
            grid.add_row("", now)
        if points:
            for row in self._budget(spec, points[-1]):
                grid.add_row("", row)
        return grid

    def _budget(self, spec: RunSpec, point: Point) -> tuple[RenderableType, RenderableType]:
        from rich.text import Text

        share = min(1.0, point.examples / spec.workload.facts.budget.horizon)
        filled = round(share * 40)
        elapsed = time.monotonic() - self._began
        left = f", at most {text.seconds(elapsed * (1 - share) / share)} left" if share > 0.02 and elapsed > 1 else ""
        clock = text.seconds(point.scored(spec.clock))
        bar = ("━" * filled, "green"), ("━" * (40 - filled), "bright_black")
        return Text.assemble(*bar, f" {share:.0%} of the budget"), Text(f"{clock} on the clock{left}")


class Several:
    """Passes everything on to several watchers."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        for watcher in self._watchers:
            watcher.started(spec, resumed)

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        for watcher in self._watchers:
            watcher.evaluated(spec, point)

    def warned(self, spec: RunSpec, message: str) -> None:
        for watcher in self._watchers:
            watcher.warned(spec, message)

    def finished(self, record: Record) -> None:
        for watcher in self._watchers:
            watcher.finished(record)

    def kept(self, record: Record) -> None:
        for watcher in self._watchers:
            watcher.kept(record)


def _title(spec: RunSpec) -> str:
    set_by_hand = " ".join(f"{name}={spec.hparams[name]}" for name in spec.overridden if name in spec.hparams)
    study = f" study {spec.study}" if spec.study else ""
    trial = f" trial {spec.trial}" if spec.trial else ""
    return (
        f"{spec.submission.name} on {spec.workload.facts.name}{study}{trial}{' ' + set_by_hand if set_by_hand else ''}"
    )


def _target(spec: RunSpec, stage: int) -> Target:
    stages = spec.workload.facts.stages
    return stages[stage].targets[0] if stages else spec.workload.facts.targets[0]


def _goal(target: Target) -> str:
    return f"{'≤' if target.goal == 'min' else '≥'} {text.number(target.value)}"


def _progress_line(spec: RunSpec, point: Point) -> str:
    target = _target(spec, point.stage)
    value = point.metrics.get(target.metric, float("nan"))
    stage = f" stage {point.stage + 1}/{len(spec.workload.facts.stages)}" if spec.workload.facts.stages else ""
    horizon = spec.workload.facts.budget.horizon
    return (
        f"{point.examples:>9,}/{horizon:,} examples {point.steps:>6,} steps{stage}  "
        f"{target.metric} {value:.4f} (target {_goal(target)})  {point.scored(spec.clock):7.2f} s"
    )


def _outcome(record: Record) -> str:
    if record.hit is not None:
        hit = record.points[record.hit]
        spent = f"{hit.scored(record.spec.clock):.2f} {record.spec.clock} seconds"
        return f"reached its target in {spent}, {hit.cost:,} examples, {hit.steps:,} steps"
    return f"{record.status}: {record.reason}" if record.reason else record.status


def _escape(line: str) -> str:
    from rich.markup import escape

    return escape(line)
