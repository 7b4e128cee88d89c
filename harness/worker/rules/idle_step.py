"""A step draws examples or makes a forward pass.

Forbidden: a `step()` that neither draws nor calls the model.

Why: the model is evaluated after every `eval_every` examples, and budgets are checked then. A run that made only such
steps would never reach an evaluation. A step with forward passes alone is allowed, for example to measure a loss. It
draws nothing, so it does not bring the next evaluation nearer. A run that makes only such steps ends with the status
`timeout`, because its worker sends no event for too long.

Instead: draw a batch or make a pass in every step. Make computations without data within a step that also uses data.
"""

from __future__ import annotations

from harness.errors import RejectedError
from harness.worker.rule import Rule


class IdleStep(Rule):
    """Checks the counts of every step."""

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        if not drawn and not forward_examples:
            raise RejectedError(
                "step() drew no examples and made no forward pass",
                fix="in every step, draw a batch with work.draw() or make a pass",
            )
