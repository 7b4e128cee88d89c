"""A draw returns at least one example, and a step draws at most `eval_every` examples.

Forbidden: `work.draw(n)` with n < 1, and drawing more than `eval_every` examples in one step or in one call
of `eval_weights`.

Why: the model is evaluated after every `eval_every` examples. A larger step would skip evaluations, at which targets
and budgets are checked.

Instead: draw fewer examples per step and make more steps. A step may make several passes over the drawn examples.
"""

from __future__ import annotations

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.rule import Rule


class DrawSize(Rule):
    """Checks the size of every draw, and the number of examples drawn in a step."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._limit = spec.workload.facts.eval_every

    def on_draw(self, n: int, by_index: bool, drawn_in_step: int) -> None:
        if n < 1:
            raise RejectedError(
                f"draw({n}) was called, but a draw must return at least one example", fix="call draw(n) with n ≥ 1"
            )
        if drawn_in_step > self._limit:
            raise RejectedError(
                f"{drawn_in_step} examples were drawn in one step or in one call of eval_weights; the limit is "
                f"{self._limit}, the number of examples between two evaluations",
                fix=f"draw at most {self._limit} examples in each step and in each call of eval_weights",
            )
