"""Shows the progress of a gate's runs.

On a terminal, one line is redrawn. To other streams, only warnings and the number of ended runs are printed.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from harness.contract.record import Record, TrialSummary, is_retryable
from harness.contract.run import Point, RunSpec
from harness.report.progress import describe_ending, describe_kept
from harness.storage.layout import run_id


class GateStatus:
    """A watcher that shows how many runs have ended and how many of their examples have been drawn.

    Args:
        label: purpose of the runs; empty if the caller prints each pair.
        total: number of runs.
        is_terminal: whether the stream is a terminal. On a terminal, one line is redrawn. On another stream, a line is
            printed at the end of each run, unless the label is empty.
        stream: stream to print to; None for stderr.
    """

    def __init__(self, label: str, total: int, is_terminal: bool, stream: TextIO | None = None) -> None:
        self._label, self._total, self._is_terminal = label, total, is_terminal
        self._stream = stream or sys.stderr
        self._fractions: dict[str, float] = {}
        self._ended = 0

    def __enter__(self) -> GateStatus:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._fractions[run_id(spec)] = 0.0
        self._redraw(spec)

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._fractions[run_id(spec)] = min(1.0, point.examples / spec.workload.facts.budget.horizon)
        self._redraw(spec)

    def warned(self, spec: RunSpec, message: str) -> None:
        self._print(f"warning: {spec.submission.name} on {spec.workload.facts.name}: {message}")

    def finished(self, record: Record) -> None:
        self._end(record.run_id)

    def kept(self, summary: TrialSummary) -> None:
        if is_retryable(summary.status):
            self.warned(summary.spec, f"{describe_ending(summary)} ({describe_kept([summary])})")
        self._end(summary.run_id)

    def _end(self, identity: str) -> None:
        self._fractions[identity] = 1.0
        self._ended += 1
        if self._label and not self._is_terminal:
            self._print(f"{self._label}: {self._ended} of {self._total} runs have ended")

    def _redraw(self, spec: RunSpec) -> None:
        fraction = sum(self._fractions.values()) / self._total
        label = self._label or f"running {spec.submission.name} on {spec.workload.facts.name}"
        self._draw(f"{label}: {self._ended} of {self._total} runs ended, {fraction:.0%} of the examples")

    def _draw(self, line: str) -> None:
        if self._is_terminal:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(f"\r\x1b[K{line}")
                self._stream.flush()

    def _print(self, line: str) -> None:
        self._draw("")
        with contextlib.suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)
