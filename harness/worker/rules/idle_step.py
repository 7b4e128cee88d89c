"""A step draws examples or makes a pass.

Forbidden: a `step()` that neither draws nor calls the model.

Why: budgets and evaluations are counted in examples. A run with such steps only would never end.

Instead: draw a batch or make a pass in every step. A computation without data belongs in a step that also uses data.
"""

from __future__ import annotations

from harness.errors import RejectedError
from harness.worker.rule import Rule


class IdleStep(Rule):
    """Checks the counts of every step."""

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        if not drawn and not forward_examples:
            raise RejectedError(
                "step() drew no data and made no pass",
                fix="draw a batch with work.draw(), or make a pass, in every step",
            )
