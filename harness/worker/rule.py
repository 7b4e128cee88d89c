"""A rule that a submission may not break, and the moments at which rules are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.contract.run import RunSpec

if TYPE_CHECKING:
    from torch import nn

    from harness.worker.distributed.collectives import ProcessGroup


class Rule:
    """One rule: a file in `harness/worker/rules/` that defines one subclass.

    The file's docstring says what is forbidden, why, and what to do instead; the documentation prints it. A subclass
    overrides the moments at which it looks and raises `RejectedError`, with a fix, where the rule is broken. Every rank
    of a run has an object of its own.

    Args:
        spec: the trial.
    """

    #: Whether a check communicates with the other ranks. Such rules are checked last, so that a rank that breaks
    #: another rule does not leave the others waiting.
    collective: ClassVar[bool] = False

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec

    @classmethod
    def applies(cls, spec: RunSpec) -> bool:
        """Whether a trial can break this rule at all; where it cannot, nothing is checked."""
        return True

    def before_import(self) -> None:
        """Before the submission is imported. Neither model nor data exist yet."""

    def after_import(self, process_seconds: float) -> None:
        """After the submission has been imported.

        Args:
            process_seconds: CPU seconds that the import took.
        """

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        """Before the submission is constructed: the place to remember what must stay as it is."""

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        """Whenever the clock stands still: after construction, and at every evaluation."""

    def on_draw(self, n: int, by_index: bool, drawn_in_step: int) -> None:
        """Before examples are drawn. This is on the clock.

        Args:
            n: examples of this draw.
            by_index: whether the submission chose them.
            drawn_in_step: examples of the step so far, those of this draw included.
        """

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        """At the end of a step. This is on the clock.

        Args:
            drawn: examples that the step drew.
            forward_examples: examples that it made a forward pass for.
        """


class RuleChecker:
    """Checks the rules that apply to a run.

    Args:
        rules: in the order of checking.

    Attributes:
        draw_checks: called as `Rule.on_draw`.
        step_checks: called as `Rule.on_step_end`.
    """

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = sorted(rules, key=lambda rule: rule.collective)
        # A step pays for the rules that look at it and for no others.
        self.draw_checks: tuple[Callable[[int, bool, int], None], ...] = tuple(
            rule.on_draw for rule in self._rules if type(rule).on_draw is not Rule.on_draw
        )
        self.step_checks: tuple[Callable[[int, int], None], ...] = tuple(
            rule.on_step_end for rule in self._rules if type(rule).on_step_end is not Rule.on_step_end
        )

    def before_import(self) -> None:
        for rule in self._rules:
            rule.before_import()

    def after_import(self, process_seconds: float) -> None:
        for rule in self._rules:
            rule.after_import(process_seconds)

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        """Remember what must stay as it is.

        Args:
            model: the run's model.
            group: the ranks of the run.
        """
        for rule in self._rules:
            rule.before_construction(model, group)

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        """Check what must stay as it is.

        Raises:
            RejectedError: a rule is broken; names it and the fix.
        """
        for rule in self._rules:
            rule.at_pause(model, group)
