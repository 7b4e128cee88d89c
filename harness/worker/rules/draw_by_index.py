"""Examples of a stream are not drawn by index.

Forbidden: `work.draw(indices=…)` on a stream.

Why: the workload determines the order of a stream. If a submission could choose examples, it could use examples of
later stages, or of a stage that has ended.

Instead: draw with `work.draw()`, and store examples for later steps in `work.replay`.
"""

from __future__ import annotations

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.rule import Rule


class DrawByIndex(Rule):
    """Checks every draw on a stream."""

    @classmethod
    def applies_to(cls, spec: RunSpec) -> bool:
        return spec.workload.facts.access == "stream"

    def on_draw(self, n: int, by_index: bool, drawn_in_step: int) -> None:
        if by_index:
            raise RejectedError(
                "draw(indices=…) was called on a stream, whose order the workload determines",
                fix="call draw() without indices, and store examples for later steps in work.replay",
            )
