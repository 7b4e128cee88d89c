"""A step draws examples or makes a pass over some.

Forbidden: a `step()` that neither draws nor calls the model.

Why: budgets and evaluations are counted in examples. A run whose steps count nothing would never end.

Instead: draw a batch or make a pass in every step. What needs time without data belongs in a step that has data too.
"""

from __future__ import annotations

from harness.errors import RejectedError
from harness.worker.rule import Rule


class IdleStep(Rule):
    """Looks at the counts of every step."""

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        if not drawn and not forward_examples:
            raise RejectedError(
                "step() drew no data and made no pass over any",
                fix="draw a batch with work.draw(), or make a pass, in every step",
            )
