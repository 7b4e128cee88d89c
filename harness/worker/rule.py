"""The base class of rules for submissions, and the object that checks the rules of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.contract.run import RunSpec

if TYPE_CHECKING:
    from torch import nn

    from harness.worker.distributed.collectives import ProcessGroup


class Rule:
    """Base class of the rules. Every file in `harness/worker/rules/` defines one subclass.

    The file's docstring says what is forbidden, why, and what to do instead; docs/rules.md includes it. A subclass
    overrides one or more of the methods below. If the rule is broken, the method raises `RejectedError` with a fix.
    Every rank of a run constructs its own objects of the rules.

    Args:
        spec: the specification of the trial.
    """

    #: Whether the check communicates with the other ranks. Such rules are checked last, after the rules that each rank
    #: checks alone.
    collective: ClassVar[bool] = False

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        #: The workload, and the harness's objects that the submission can reach.
        self.objects: tuple[object, ...] = ()

    @classmethod
    def applies_to(cls, spec: RunSpec) -> bool:
        """Return whether a trial can break this rule. If the trial cannot, the rule is not checked."""
        return True

    def before_import(self) -> None:
        """Called before the submission is imported. The model and the data do not exist yet."""

    def after_import(self, process_seconds: float) -> None:
        """Called after the submission was imported.

        Args:
            process_seconds: CPU seconds of the import.
        """

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        """Called before the submission is constructed. The rule saves the state that must not change."""

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        """Called while the clock is stopped: after the submission is constructed, and at every evaluation."""

    def at_evaluation(self, model: nn.Module) -> None:
        """Called at every evaluation, when the model has the weights to evaluate and the clock is stopped."""

    def on_pass(self) -> None:
        """Called within and after counted passes, while the clock runs. It must take at most a few microseconds."""

    def on_forward(self, n: int) -> None:
        """Called when a forward pass over `n` examples is counted, while the clock runs."""

    def on_backward(self, n: int) -> None:
        """Called when a backward pass over `n` examples is counted, while the clock runs."""

    def on_draw(self, n: int, by_index: bool, drawn_in_step: int) -> None:
        """Called before examples are drawn, while the clock runs.

        Args:
            n: number of examples of this draw.
            by_index: whether the submission chose the examples by index.
            drawn_in_step: number of examples drawn in this step so far, including this draw.
        """

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        """Called at the end of a step, while the clock runs.

        Args:
            drawn: number of examples that the step drew.
            forward_examples: number of examples per forward pass, summed over the forward passes of the step.
        """


class RuleChecker:
    """Checks the rules of a run.

    Args:
        rules: the rules that apply to the run. They are checked in this order, but collective rules are checked last.

    Attributes:
        draw_checks: the `on_draw` methods of the rules that define one.
        step_checks: the `on_step_end` methods of the rules that define one.
        pass_checks: the `on_pass` methods of the rules that define one.
        forward_checks: the `on_forward` methods of the rules that define one.
        backward_checks: the `on_backward` methods of the rules that define one.
    """

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = sorted(rules, key=lambda rule: rule.collective)
        # Only overridden methods are called, since the clock runs during these calls.
        self.draw_checks: tuple[Callable[[int, bool, int], None], ...] = tuple(
            rule.on_draw for rule in self._rules if type(rule).on_draw is not Rule.on_draw
        )
        self.step_checks: tuple[Callable[[int, int], None], ...] = tuple(
            rule.on_step_end for rule in self._rules if type(rule).on_step_end is not Rule.on_step_end
        )

        self.pass_checks: tuple[Callable[[], None], ...] = tuple(
            rule.on_pass for rule in self._rules if type(rule).on_pass is not Rule.on_pass
        )
        self.forward_checks: tuple[Callable[[int], None], ...] = tuple(
            rule.on_forward for rule in self._rules if type(rule).on_forward is not Rule.on_forward
        )
        self.backward_checks: tuple[Callable[[int], None], ...] = tuple(
            rule.on_backward for rule in self._rules if type(rule).on_backward is not Rule.on_backward
        )

    def guard(self, *objects: object) -> None:
        """Make the workload and objects of the harness known to the rules (`Rule.objects`)."""
        for rule in self._rules:
            rule.objects = (*rule.objects, *objects)

    def at_evaluation(self, model: nn.Module) -> None:
        """Check the weights to evaluate.

        Raises:
            RejectedError: the submission broke a rule.
        """
        for rule in self._rules:
            rule.at_evaluation(model)

    def before_import(self) -> None:
        """Call `before_import` of every rule."""
        for rule in self._rules:
            rule.before_import()

    def after_import(self, process_seconds: float) -> None:
        """Call `after_import` of every rule."""
        for rule in self._rules:
            rule.after_import(process_seconds)

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        """Save the state that must not change.

        Args:
            model: the run's model.
            group: the ranks of the run.
        """
        for rule in self._rules:
            rule.before_construction(model, group)

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        """Check the state that must not change.

        Raises:
            RejectedError: the submission broke a rule. The message says what was changed and what to do instead.
        """
        for rule in self._rules:
            rule.at_pause(model, group)
