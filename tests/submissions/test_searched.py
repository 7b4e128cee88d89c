"""Every hyperparameter that a shipped submission searches changes the run: a dead one would use up tuning trials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, Scalar, Uniform
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import RunSpec
from harness.contract.workload import WorkloadFacts
from harness.planning import compose, rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import load_registry
from harness.worker import rng
from harness.worker.loading import load_submission
from harness.worker.snapshot import Snapshots
from harness.worker.task import build_task
from tests import micro
from tests.worker.build import CPU, work_of

REGISTRY = load_registry()
#: Updates of a run. Warmup, decay and averages are fractions of the planned updates, so all of them have begun by then.
UPDATES = 200
BATCH_SIZE = 16


def shortened(facts: WorkloadFacts) -> WorkloadFacts:
    horizon = UPDATES * BATCH_SIZE
    stages = tuple(msgspec.structs.replace(s, max_examples=horizon // len(facts.stages)) for s in facts.stages)
    budget = msgspec.structs.replace(facts.budget, horizon=horizon, gradient_examples=4 * horizon)
    # So many tokens that schedules in tokens reach their decay, too.
    return msgspec.structs.replace(facts, budget=budget, stages=stages, tokens_per_example=64)


class Wide:
    """A model with a matrix that is large enough for a low rank."""

    def build_model(self, seed: int, dropout: float = 0.0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


class WidePool(Wide, micro.Micro):
    facts = shortened(micro.FACTS)


class WideStream(Wide, micro.MicroStream):
    facts = shortened(micro.STREAM_FACTS)


PLACES: tuple[tuple[WorkloadEntry, Any], ...] = tuple(
    (msgspec.structs.replace(entry, facts=workload.facts), workload)
    for entry, workload in ((micro.ENTRY, WidePool()), (micro.STREAM_ENTRY, WideStream()))
)


class Trainer:
    """Trains one submission with several settings, without evaluations, files and the clock."""

    def __init__(self, entry: SubmissionEntry) -> None:
        ruleset = rulesets.ruleset("quick")
        composition = compose.compose(entry, REGISTRY)
        place, self.workload = next(
            (place, workload)
            for place, workload in PLACES
            if not compose.find_ineligibility(composition, place.facts, ruleset)
        )
        (self.spec,) = plan_trials(place, entry, REGISTRY, PlanSettings(ruleset=ruleset))
        self.searched = {n: d for n, d in composition.space.items() if not isinstance(d, Fixed) and n != "batch_size"}
        self.construct = load_submission(self.spec.submission)
        self.references: dict[str, list[bytes]] = {}

    def trajectory(self, hparams: HParams) -> Iterator[bytes]:
        """Yield the trained weights after each update of a run, and then the evaluated weights."""
        spec: RunSpec = msgspec.structs.replace(self.spec, hparams=hparams)
        model = self.workload.build_model(3)
        work = work_of(spec, self.workload, model, self.workload.train_data(0))
        task = build_task(spec, self.workload, model, work._source.pool, CPU, Snapshots(model))
        rng.seed_everything(7)
        submission = self.construct(model, task, dict(hparams))
        for update in range(UPDATES):
            if update == UPDATES // 2 and spec.workload.facts.stages:
                work.advance()
                task.task_index, task.task_began = 1, work.examples
            work.begin_step()
            submission.step(work)
            work.end_step()
            yield _bytes(model)
        with submission.eval_weights():
            yield _bytes(model)

    def is_dead(self, name: str, base: HParams) -> bool:
        """Whether no value of a hyperparameter changes a run with the other hyperparameters of `base`.

        A run ends at its first difference, which most hyperparameters make in the first updates.
        """
        key = str(base)
        if key not in self.references:
            self.references[key] = list(self.trajectory(base))
        reference = self.references[key]
        variants = (self.trajectory({**base, name: value}) for value in other_values(self.searched[name], base[name]))
        return all(all(a == b for a, b in zip(reference, variant, strict=True)) for variant in variants)


def _bytes(model: nn.Module) -> bytes:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().tobytes()


def other_values(domain: Domain, default: Scalar) -> Iterator[Scalar]:
    """The values to compare with the default: the ends of a range, or all choices."""
    assert not isinstance(domain, Fixed)
    values = domain.values if isinstance(domain, Choice) else (domain.low, domain.high)
    yield from (value for value in values if value != default)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def moved(domain: Domain, default: Scalar) -> Scalar:
    """A value that is neither the default nor an end of the range."""
    if isinstance(domain, Choice):
        return domain.values[-1]
    assert not isinstance(domain, Fixed)
    middle = (float(default) + domain.high) / 2
    return round(middle) if isinstance(domain, Integer) else middle


@pytest.mark.parametrize("entry", REGISTRY.submissions(), ids=lambda entry: entry.name)
def test_every_searched_hyperparameter_changes_the_run(entry: SubmissionEntry) -> None:
    trainer = Trainer(entry)
    base = trainer.spec.hparams
    # Some act only if others have not their defaults: what Prodigy does with the learning rate, if it is 1.
    others = {**base, **{name: moved(domain, base[name]) for name, domain in trainer.searched.items()}}
    dead = [name for name in trainer.searched if trainer.is_dead(name, base) and trainer.is_dead(name, others)]
    assert not dead


def test_equal_settings_give_equal_runs() -> None:
    """Without this, a dead hyperparameter would seem to act."""
    trainer = Trainer(REGISTRY.submission("wsd-ema"))
    assert list(trainer.trajectory(trainer.spec.hparams)) == list(trainer.trajectory(trainer.spec.hparams))


def test_a_dead_hyperparameter_is_found() -> None:
    """`beta1`, which the schedule of this submission sets at every update, with its range put back."""
    trainer = Trainer(REGISTRY.submission("one-cycle"))
    trainer.searched["beta1"] = Uniform(0.8, 0.98, default=0.9)
    base = trainer.spec.hparams
    assert trainer.is_dead("beta1", base)
    assert not trainer.is_dead("beta2", base)
