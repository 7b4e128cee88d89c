"""The workload `continual-synthetic`: its tasks, the best possible accuracy, and that it needs a memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.api import BenchError, Shard
from harness.worker.protocols import Workload
from workloads.continual.synthetic import BAYES_ACCURACY, ContinualSynthetic
from workloads.synthetic_images import ImageSource

STAGES = ContinualSynthetic.facts.stages
SEED = 5


class Exact(torch.nn.Module):
    """The exact classifier of one task."""

    def __init__(self, work: ContinualSynthetic, task: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.source = work.source
        generator = torch.Generator().manual_seed(SEED)
        order = [torch.randperm(64, generator=generator) for _ in STAGES][task]
        self.inverse = order.argsort()

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x_BHW = x_BCHW.flatten(1)[:, self.inverse].reshape(-1, 8, 8)
        return torch.from_numpy(self.source.log_probs(x_BHW.to(torch.int8).numpy()))


def test_facts_are_consistent() -> None:
    facts = ContinualSynthetic.facts
    assert isinstance(ContinualSynthetic(), Workload)
    assert facts.budget.horizon == sum(stage.max_examples for stage in STAGES)
    assert all(stage.max_examples % facts.eval_every == 0 for stage in STAGES)
    assert all(facts.eval_every % size == 0 for size in facts.batch_sizes)
    with pytest.raises(BenchError, match="no variant 'wide'"):
        ContinualSynthetic("wide")


@pytest.mark.parametrize("variant", ["", "classes"])
def test_stored_bayes_accuracy(variant: str) -> None:
    assert BAYES_ACCURACY[variant] == pytest.approx(ContinualSynthetic(variant).source.bayes_accuracy, abs=1e-5)


def test_the_exact_classifier_of_a_task_solves_this_task_only() -> None:
    work = ContinualSynthetic()
    work.prepare_evaluation(SEED)
    found = work.evaluate(Exact(work, 2).eval(), "score")
    # With three errors in 10,000 images, more than four in 1,024 are a chance of one in 20,000.
    assert found["accuracy/2"] > 1 - 4 / 1_024
    assert all(found[f"accuracy/{k}"] < 0.3 for k in (0, 1, 3, 4))
    assert found["gap"] == pytest.approx(0.99974 - found["avg_seen"])


def test_every_stage_has_images_of_its_task() -> None:
    work = ContinualSynthetic()
    stream = work.train_data(SEED)
    images = []
    for task in range(len(STAGES)):
        if task:
            stream.advance()
        batch = stream.draw(500)
        assert batch["x_BCHW"].shape == (500, 1, 8, 8)
        assert set(torch.unique(batch["x_BCHW"]).tolist()) == {-1.0, 1.0}
        predicted = Exact(work, task)(batch["x_BCHW"]).argmax(1)
        assert (predicted == batch["labels_B"]).double().mean() > 0.99
        images.append(batch["x_BCHW"].flatten(1).sort(dim=1).values)
    assert not torch.equal(images[0], images[1])


def test_seeds_draw_other_permutations_and_images() -> None:
    first, again, other = (ContinualSynthetic().train_data(seed).draw(64)["x_BCHW"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_evaluation_covers_the_tasks_seen_and_parts_are_parts() -> None:
    work = ContinualSynthetic()
    work.prepare_evaluation(SEED)
    model = work.build_model(0).eval()
    found = work.evaluate(model, "score", stage=1)
    assert {name for name in found if name.startswith("accuracy/")} == {"accuracy/0", "accuracy/1"}
    whole = work.measure(model, "score", stage=1)
    assert [len(values) for values in whole.values()] == [1_024, 1_024]
    halves = [work.measure(model, "score", Shard(index=k, count=2), 1) for k in range(2)]
    for name, values in whole.items():
        assert torch.equal(torch.cat([half[name] for half in halves]), values)
    part = work.example_values(work.measure(model, "score", Shard(stop=64), 1), "score", Shard(stop=64), 1)
    assert set(part) == {"avg_seen", "accuracy/0", "accuracy/1", "gap"}
    gaps = [float(task.double().mean()) for task in work.example_values(whole, "score", stage=1)["gap"]]
    assert found["gap"] == pytest.approx(np.mean(gaps))


def test_without_a_memory_earlier_tasks_are_forgotten() -> None:
    work = ContinualSynthetic()
    stream = work.train_data(SEED)
    model = work.build_model(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for task, stage in enumerate(STAGES):
        if task:
            stream.advance()
        for _ in range(stage.max_examples // 32):
            optimizer.zero_grad()
            work.loss(model, stream.draw(32)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    found = work.evaluate(model.eval(), "score")
    assert found["accuracy/4"] > 0.8
    assert found["accuracy/0"] < found["accuracy/4"] - 0.2


def test_noise_is_a_multiple_of_the_random_unit() -> None:
    assert ImageSource(1, 2.0**-16).noise == 2.0**-16
    for noise in (0.0, 0.5, 0.1, -0.25):
        with pytest.raises(ValueError, match="expected a multiple"):
            ImageSource(1, noise)
