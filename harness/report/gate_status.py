"""What is seen of a gate's runs while they train: one line that is redrawn on a terminal, almost nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec
from harness.storage.layout import run_id


class GateStatus:
    """A watcher of a few runs.

    Args:
        label: what they are for; when empty their ends are not printed, since a line follows each pair.
        total: how many there are.
        lively: whether the line is redrawn.
        stream: where it goes.
    """

    def __init__(self, label: str, total: int, lively: bool, stream: TextIO | None = None) -> None:
        self._label, self._total, self._lively = label, total, lively
        self._stream = stream or sys.stderr
        self._shares: dict[str, float] = {}
        self._ended = 0

    def __enter__(self) -> GateStatus:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._shares[run_id(spec)] = 0.0
        self._redraw(spec)

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._shares[run_id(spec)] = min(1.0, point.examples / spec.workload.facts.budget.horizon)
        self._redraw(spec)

    def warned(self, spec: RunSpec, message: str) -> None:
        self._print(f"warning: {spec.submission.name} on {spec.workload.facts.name}: {message}")

    def finished(self, record: Record) -> None:
        self._end(record.run_id)

    def kept(self, summary: TrialSummary) -> None:
        self._end(summary.run_id)

    def _end(self, identity: str) -> None:
        self._shares[identity] = 1.0
        self._ended += 1
        if self._label and not self._lively:
            self._print(f"{self._label}: {self._ended} of {self._total} runs have ended")

    def _redraw(self, spec: RunSpec) -> None:
        share = sum(self._shares.values()) / self._total
        label = self._label or f"running {spec.submission.name} on {spec.workload.facts.name}"
        self._draw(f"{label}: {self._ended} of {self._total} runs ended, {share:.0%} of the examples")

    def _draw(self, line: str) -> None:
        if self._lively:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(f"\r\x1b[K{line}")
                self._stream.flush()

    def _print(self, line: str) -> None:
        self._draw("")
        with contextlib.suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)
