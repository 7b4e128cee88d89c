"""Compute the factors of a schedule at given updates of a planned run, without training and without torch."""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from harness.contract import hyperparameters
from harness.contract.domains import HParams, Scalar
from harness.contract.entries import PartEntry
from harness.contract.schedule import Factors, Progress, planned_updates
from harness.errors import PluginError
from harness.plugins import loading
from harness.plugins.loading import select_keywords

#: A schedule: a function of the progress and of hyperparameters. It returns `Factors`, or the learning-rate factor.
Schedule: TypeAlias = Callable[..., "Factors | float"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The run for which a schedule is planned.

    Args:
        updates: number of updates in the budget.
        fraction: fraction of these updates that the schedule covers (`horizon_fraction`).
        batch_size: number of examples per update.
        tokens_per_example: number of tokens per example.
        tasks: for a stream with visible task boundaries, the number of updates in the budget of each task; otherwise
            empty.
        holds: whether the factors stay constant after the planned updates. They do for schedules with the need
            `horizon`.
    """

    updates: int
    fraction: float = 1.0
    batch_size: int = 1
    tokens_per_example: int = 1
    tasks: tuple[int, ...] = ()
    holds: bool = True

    @property
    def planned(self) -> int:
        """The number of planned updates: `updates` × `fraction`, rounded.

        >>> Plan(updates=1000, fraction=0.75).planned
        750
        """
        return self._planned_updates(self.updates)

    @property
    def shortest_task(self) -> int | None:
        """Number of updates planned for the shortest task; None without tasks."""
        return self._planned_updates(min(self.tasks)) if self.tasks else None

    def progress(self, step: int) -> Progress:
        """Return the progress of a run before the update `step`. Every task is assumed to use its whole budget."""
        task_index = task_step = task_horizon = None
        if self.tasks:
            begins = [0, *accumulate(self.tasks)]
            task_index = min(bisect_right(begins, step) - 1, len(self.tasks) - 1)
            task_horizon = self._planned_updates(self.tasks[task_index])
            task_step = min(step - begins[task_index], task_horizon)
        return Progress(
            step=min(step, self.planned) if self.holds else step,
            horizon=self.planned,
            examples=step * self.batch_size,
            tokens=step * self.batch_size * self.tokens_per_example,
            batch_size=self.batch_size,
            task_index=task_index,
            task_step=task_step,
            task_horizon=task_horizon,
        )

    def _planned_updates(self, updates: int) -> int:
        return planned_updates(updates * self.batch_size, self.fraction, self.batch_size)


def curve(schedule: Schedule, hparams: Mapping[str, Scalar], plan: Plan, steps: Iterable[int]) -> list[Factors]:
    """Return the factors of a schedule at given updates.

    Args:
        schedule: the schedule.
        hparams: hyperparameters by name. Hyperparameters that are not arguments of the schedule are ignored.
        plan: the run for which the schedule is planned.
        steps: the updates, counted from 0.

    Raises:
        PluginError: the schedule raises an exception.

    >>> curve(lambda p: p.step / p.horizon, {}, Plan(updates=4), [1, 4, 9])[1].lr
    1.0
    """
    keywords = select_keywords(schedule, hparams)
    factors_at_steps = []
    for step in steps:
        try:
            factors = schedule(plan.progress(step), **keywords)
        except Exception as error:
            problem = f"the schedule raises at update {step}: {loading.format_error(error)}"
            raise PluginError(problem, fix="make the schedule return a factor for every update") from error
        factors_at_steps.append(factors if isinstance(factors, Factors) else Factors(float(factors)))
    return factors_at_steps


def default_hparams(part: PartEntry, function: Callable[..., Any]) -> HParams:
    """Return the default hyperparameters of a part.

    A default in the signature of the part's function takes precedence over the default in the search space.
    """
    function_defaults = {
        name: p.default for name, p in inspect.signature(function).parameters.items() if p.default is not p.empty
    }
    return {name: function_defaults.get(name, hyperparameters.default(domain)) for name, domain in part.space.items()}
