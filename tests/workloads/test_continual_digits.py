"""The workload `continual-digits`: its stream, its evaluation by stage, and that it needs a memory."""

from __future__ import annotations

import math

import pytest
import torch

from harness.api import Batch, BenchError, ReplayBuffer
from harness.plugins.registry import load_registry
from harness.worker.evaluator import Evaluator
from harness.worker.protocols import Workload
from tests.helpers import spec_of
from workloads.continual.digits import ContinualDigits
from workloads.resnet import digits_data

STAGES = ContinualDigits.facts.stages


def test_facts_are_consistent() -> None:
    facts = ContinualDigits.facts
    assert isinstance(ContinualDigits(), Workload)
    assert facts.budget.horizon == sum(stage.max_examples for stage in STAGES)
    assert all(stage.max_examples % facts.eval_every == 0 for stage in STAGES)
    assert all(facts.eval_every % size == 0 for size in facts.batch_sizes)
    assert facts.targets == STAGES[-1].targets
    assert [floor.metric for floor in STAGES[-1].floors] == [f"accuracy/{k}" for k in range(4)]


def test_stream_shows_only_the_classes_of_its_stage() -> None:
    work = ContinualDigits()
    stream = work.train_data(7)
    seen: list[int] = []
    for stage in range(len(STAGES)):
        if stage:
            stream.advance()
        labels = set(stream.draw(400)["labels_B"].tolist())
        assert labels == set(work.class_order[2 * stage : 2 * stage + 2])
        seen += labels
    assert sorted(seen) == list(range(10))


def test_class_order_comes_from_the_seed() -> None:
    work = ContinualDigits()
    assert work.class_order == tuple(range(10))
    first = work.train_data(1).draw(64)
    order = work.class_order
    again = work.train_data(1).draw(64)
    assert work.class_order == order
    assert torch.equal(first["x_BCHW"], again["x_BCHW"])
    work.train_data(2)
    assert work.class_order != order


def test_stream_goes_on_from_its_state() -> None:
    stream = ContinualDigits().train_data(3)
    stream.draw(100)
    stream.advance()
    stream.draw(100)
    other = ContinualDigits().train_data(3)
    state = {k: dict(v) if isinstance(v, dict) else v for k, v in stream.state_dict().items()}
    expected = stream.draw(500)["x_BCHW"]
    other.load_state_dict(state)
    assert torch.equal(other.draw(500)["x_BCHW"], expected)


def test_kinds_cover_every_parameter() -> None:
    work = ContinualDigits()
    model = work.build_model(0)
    kinds = work.parameter_kinds(model)
    assert list(kinds) == [name for name, _ in model.named_parameters()]
    assert sorted(set(kinds.values())) == ["bias", "head", "matrix"]
    with pytest.raises(BenchError, match="'norm'"):
        work.build_model(0, norm="batch")


def test_equal_seeds_give_equal_weights() -> None:
    work = ContinualDigits()
    a, b, c = (work.build_model(seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_of_its_examples(smoothing: float) -> None:
    work = ContinualDigits()
    model, batch = work.build_model(0, label_smoothing=smoothing), work.train_data(0).draw(32)
    each = work.loss(model, batch, per_example=True)
    assert torch.allclose(each.mean(), work.loss(model, batch))
    assert math.isclose(work.loss(model, batch).item(), math.log(10), abs_tol=0.3)
    assert work.outputs(model, batch).shape == (32, 10)


def test_evaluation_covers_the_stages_seen_and_changes_nothing() -> None:
    work = ContinualDigits()
    work.train_data(5)
    model = work.build_model(0, dropout=0.3).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for stage in range(len(STAGES)):
        metrics = work.evaluate(model, "score", stage)
        assert metrics == work.evaluate(model, "score", stage)
        tasks = [metrics[f"accuracy/{k}"] for k in range(stage + 1)]
        assert len(metrics) == 2 * (len(tasks) + 1)  # each with its error
        assert math.isclose(metrics["avg_seen"], sum(tasks) / len(tasks))
    assert work.evaluate(model, "score") == metrics
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_one_answer_for_everything_scores_half_of_its_own_task() -> None:
    work = ContinualDigits()
    work.train_data(5)
    model = work.build_model(0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.get_parameter("head.bias")[work.class_order[2]] = 1.0
    metrics = work.evaluate(model, "audit", 2)
    assert metrics["accuracy/0"] == metrics["accuracy/2"] == 0.0
    assert 0.4 < metrics["accuracy/1"] < 0.6


def accuracies(seed: int, *, memory: bool, stages: int) -> dict[str, float]:
    """The accuracies after the first stages, when AdamW has used the examples of each, with or without replay."""
    work = ContinualDigits()
    model, stream = work.build_model(seed), work.train_data(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    replay = ReplayBuffer(work.facts.replay_capacity, seed)
    for stage in range(stages):
        if stage:
            stream.advance()
        for _ in range(0, STAGES[stage].max_examples, 32):
            fresh = stream.draw(32)
            batch = Batch.cat([fresh, replay.sample(32)]) if memory and len(replay) else fresh
            replay.add(fresh)
            optimizer.zero_grad()
            work.loss(model, batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return dict(work.evaluate(model, "score", stages - 1))


@pytest.mark.slow
def test_replay_keeps_the_first_task_and_naive_training_forgets_it() -> None:
    kept, forgotten = (accuracies(0, memory=memory, stages=2) for memory in (True, False))
    assert kept["avg_seen"] > 0.8
    assert forgotten["accuracy/0"] < 0.1 < 0.9 < forgotten["accuracy/1"]


def test_noise_swaps_the_labels_of_a_stage_and_nothing_else() -> None:
    plain, noisy = ContinualDigits(), ContinualDigits(label_noise=0.1)
    assert noisy.facts.name == "continual-digits+noise"
    one, other = plain.train_data(7), noisy.train_data(7)
    assert plain.class_order == noisy.class_order
    wrong = 0.0
    for stage in range(len(STAGES)):
        if stage:
            one.advance()
            other.advance()
        clean, swapped = one.draw(1000), other.draw(1000)
        assert torch.equal(clean["x_BCHW"], swapped["x_BCHW"])
        assert set(swapped["labels_B"].tolist()) == set(noisy.class_order[2 * stage : 2 * stage + 2])
        wrong += float((clean["labels_B"] != swapped["labels_B"]).double().mean()) / len(STAGES)
    assert 0.06 < wrong < 0.14
    model = plain.build_model(0).eval()
    assert plain.evaluate(model, "score") == noisy.evaluate(model, "score")
    with pytest.raises(BenchError, match=r"0\.3"):
        ContinualDigits(label_noise=0.3)


class Knows(torch.nn.Module):
    """It knows the digit of every held-out image, and says it for some of them."""

    def __init__(self) -> None:
        super().__init__()
        digits = digits_data.load("score")
        x_BHW = digits_data.normalised(digits.images_BHW)
        self.known = {x.tobytes(): int(label) for x, label in zip(x_BHW, digits.labels_B, strict=True)}
        self.weight = torch.nn.Parameter(torch.zeros(1))
        #: It errs on one image in `every`; 0 if it never errs.
        self.every = 0

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        labels = [self.known[x.tobytes()] for x in x_BCHW[:, 0].numpy()]
        errs = [bool(self.every) and int(x.abs().sum() * 1000) % self.every == 0 for x in x_BCHW]
        said = [(label + 1) % 10 if wrong else label for label, wrong in zip(labels, errs, strict=True)]
        return torch.nn.functional.one_hot(torch.tensor(said), 10) * (1 + 0 * self.weight)


@pytest.mark.parametrize("seed", range(12))
def test_a_faultless_first_stage_is_followed_by_others(seed: int) -> None:
    """The tasks have 99 to 113 images. A position in one task need not exist in another task."""
    work, registry = ContinualDigits(), load_registry()
    spec = spec_of("replay", registry.workload("continual-digits"), registry)
    evaluator = Evaluator(spec, work)
    work.prepare_evaluation(seed)
    model = Knows()
    assert evaluator.evaluate(model, stage=0).metrics["avg_seen"] == 1.0
    for stage in range(1, len(STAGES)):
        model.every = 5 + stage
        with torch.no_grad():
            model.weight.add_(1.0)
        found = evaluator.evaluate(model, stage=stage)
        assert found.metrics == pytest.approx(work.evaluate(model, "score", stage), abs=1e-6)
