"""Hyperparameters that another part sets at every update: never searched, never overridden."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.contract import hyperparameters
from harness.contract.domains import Fixed
from harness.contract.entries import PartEntry
from harness.contract.schedule import Factors, Progress
from harness.errors import UsageError
from harness.planning import rulesets
from harness.planning.compose import compose
from harness.planning.resolve import resolve_submission
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry

REGISTRY = load_registry()
SCHEDULES = [part for part in REGISTRY.parts() if part.kind == "schedule"]


def sets_momentum(load: str, values: Mapping[str, object]) -> bool:
    """Whether a schedule returns a momentum at any of a few updates."""
    schedule = load_object(load)
    for step in (0, 10, 50, 99):
        progress = Progress(step=step, horizon=100, examples=step * 8, tokens=step * 8, batch_size=8)
        factors = schedule(progress, **values)
        if isinstance(factors, Factors) and factors.momentum is not None:
            return True
    return False


@pytest.mark.parametrize("part", SCHEDULES, ids=lambda part: part.name)
def test_a_schedule_that_sets_the_momentum_declares_it(part: PartEntry) -> None:
    values = {name: hyperparameters.default(domain) for name, domain in part.space.items()}
    declared = {"beta1", "momentum"} <= part.takes_over
    assert sets_momentum(part.load, values) == declared


@pytest.mark.parametrize(
    ("submission", "name"),
    [("one-cycle", "beta1"), ("one-cycle-sgd", "momentum"), ("nadamw+one-cycle", "beta1"), ("sgdw+1cycle", "momentum")],
)
def test_what_is_taken_over_is_neither_searched_nor_overridden(submission: str, name: str) -> None:
    entry = resolve_submission(submission, REGISTRY)
    composition = compose(entry, REGISTRY)
    assert isinstance(composition.space[name], Fixed)
    workload = REGISTRY.workload("resnet-digits")
    ruleset = rulesets.ruleset("external")
    specs = plan_trials(workload, entry, REGISTRY, PlanSettings(ruleset=ruleset))
    assert len({spec.hparams[name] for spec in specs}) == 1
    assert len({spec.hparams["lr"] for spec in specs}) > 1
    with pytest.raises(UsageError, match=f"{name} has no effect in .*: schedule:one-cycle sets it at every update"):
        plan_trials(workload, entry, REGISTRY, PlanSettings(ruleset=ruleset, overrides={name: 0.8}))


@pytest.mark.parametrize("submission", ["adamw-cosine", "sgd-nesterov"])
def test_without_such_a_part_it_is_searched(submission: str) -> None:
    composition = compose(resolve_submission(submission, REGISTRY), REGISTRY)
    name = "beta1" if "beta1" in composition.space else "momentum"
    assert composition.taken_over == {}
    assert not isinstance(composition.space[name], Fixed)
