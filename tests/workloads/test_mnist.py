"""The workloads on MNIST: their streams and pools, their evaluation, and runs that end as they should."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.api import Batch, BenchError, DataError, WorkloadEntry
from harness.plugins.registry import load_registry
from harness.worker.protocols import Workload
from tests.helpers import outcome, run_here, spec_of
from tests.worker.interrupt import interrupted_run
from tests.workloads import mnist_files
from tests.workloads.mnist_files import needs_source
from workloads import mnist
from workloads.continual import mnist_entries as continual_entries
from workloads.continual.mnist import ContinualMnist
from workloads.continual.mnist_facts import SCENARIOS
from workloads.curriculum import mnist_entries as curriculum_entries
from workloads.curriculum.mnist import CurriculumMnist, noise_rates, visible_quality
from workloads.curriculum.mnist_facts import CLEAN_SHARE, POOL, RELIABILITY

ENTRIES = {entry.name: entry for entry in (*continual_entries.ENTRIES, *curriculum_entries.ENTRIES)}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    folder = mnist_files.write(tmp_path)
    monkeypatch.setattr(mnist, "dataset_path", lambda entry: folder)
    return folder


def made(entry: WorkloadEntry) -> Workload:
    classes: dict[str, Any] = {"ContinualMnist": ContinualMnist, "CurriculumMnist": CurriculumMnist}
    workload: Workload = classes[entry.load.rpartition(":")[2]](**entry.arguments)
    return workload


# --- data ---------------------------------------------------------------------------------------


def test_parts_are_disjoint(tiny: Path) -> None:
    sizes = {part: len(mnist.load(part).labels_B) for part in ("train", "feedback", "score", "audit")}
    assert sizes == {"train": 500, "feedback": 20, "score": 80, "audit": 200}
    rows = torch.cat([mnist.load(part).x_BCHW.flatten(1) for part in ("train", "feedback", "score", "audit")])
    assert len(rows.unique(dim=0)) == 800  # type: ignore[no-untyped-call]


def test_the_parts_do_not_depend_on_the_order_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    other = mnist_files.write(tmp_path / "shuffled", shuffle=True)
    parts: tuple[mnist.Part, ...] = ("train", "feedback", "score", "audit")
    before = {part: mnist.load(part) for part in parts}
    assert not (tiny / "train-labels-idx1-ubyte.gz").samefile(other / "train-labels-idx1-ubyte.gz")
    monkeypatch.setattr(mnist, "dataset_path", lambda entry: other)
    for part, digits in before.items():
        again = mnist.load(part)
        assert torch.equal(again.x_BCHW, digits.x_BCHW)
        assert torch.equal(again.labels_B, digits.labels_B)
    digits_seen = before["score"].labels_B.unique()  # type: ignore[no-untyped-call]
    assert len(digits_seen) == 10, "a part is not a run of equal digits"


def test_cached_images_are_used_only_for_the_same_files(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mnist.load("train")
    mnist._load.cache_clear()
    mnist._read.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("workloads.formats.idx.read_pair", None)  # a call fails
        again = mnist.load("train")
    assert torch.equal(again.x_BCHW, first.x_BCHW)
    assert torch.equal(again.labels_B, first.labels_B)
    again.x_BCHW[0] = 0  # a copy, so the file of the cache does not change
    mnist_files.write(tiny, train=1_200)
    mnist._load.cache_clear()
    mnist._read.cache_clear()
    assert len(mnist.load("train").labels_B) == 1_000


def test_missing_data_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="bench data get mnist"):
        ContinualMnist().train_data(0)


def test_labels_are_replaced_at_their_rate() -> None:
    labels = torch.arange(10).repeat(2000)
    rates = torch.cat([torch.zeros(10_000), torch.full((10_000,), 0.4)])
    found = mnist.noisy(labels, rates, 10, torch.Generator().manual_seed(0)) != labels
    assert not found[:10_000].any()
    assert 0.37 < float(found[10_000:].double().mean()) < 0.43


# --- every entry --------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
class TestEntry:
    def test_it_is_a_workload_with_the_facts_of_its_entry(self, entry: WorkloadEntry) -> None:
        workload = made(entry)
        assert isinstance(workload, Workload)
        assert workload.facts == entry.facts
        assert all(entry.facts.eval_every % size == 0 for size in entry.facts.batch_sizes)
        model = workload.build_model(0)
        assert list(workload.parameter_kinds(model)) == [name for name, _ in model.named_parameters()]
        with pytest.raises(BenchError, match="'norm'"):
            workload.build_model(0, norm="batch")

    def test_loss_and_evaluation(self, entry: WorkloadEntry, tiny: Path) -> None:
        workload = made(entry)
        data = workload.train_data(5)
        model = workload.build_model(0, label_smoothing=0.1).eval()
        batch = data.draw(32) if entry.facts.stages else data.gather(torch.arange(32))  # type: ignore[union-attr]
        each = workload.loss(model, batch, per_example=True)
        assert each.shape == (32,)
        assert torch.allclose(each.mean(), workload.loss(model, batch))
        assert math.isclose(each.mean().item(), math.log(workload.outputs(model, batch).shape[1]), abs_tol=0.3)
        last = len(entry.facts.stages) - 1 if entry.facts.stages else None
        metrics = workload.evaluate(model, "score", last)
        assert metrics == workload.evaluate(model, "score", last)
        assert {target.metric for target in entry.facts.targets} <= set(metrics)

    def test_a_run_goes_on_as_if_it_never_stopped(self, entry: WorkloadEntry, tiny: Path, tmp_path: Path) -> None:
        spec = spec_of("rewarm-replay" if entry.facts.stages else "quality-ascending", entry, smoke=True)
        whole = run_here(spec, tmp_path / "whole")
        assert whole.status in ("exhausted", "reached"), whole.reason  # the small images are easy
        assert len(whole.points) > 2, "the run ends before it is interrupted"
        assert outcome(interrupted_run(spec, tmp_path / "broken", [2])) == outcome(whole)


def test_the_plain_name_is_class_incremental() -> None:
    registry = load_registry()
    assert registry.workload("continual-mnist:class") == registry.workload("continual-mnist")
    assert registry.workload("continual-mnist").arguments["scenario"] == "class"
    assert {f"continual-mnist:{s}" for s in SCENARIOS} - {"continual-mnist:class"} <= set(ENTRIES)


def test_unknown_scenarios_and_variants_are_refused() -> None:
    with pytest.raises(BenchError, match="rotated"):
        ContinualMnist("rotated")
    with pytest.raises(BenchError, match="deep"):
        CurriculumMnist("deep")


# --- continual ----------------------------------------------------------------------------------


def stages_of(work: ContinualMnist, seed: int, n: int = 100) -> list[Batch]:
    stream, batches = work.train_data(seed), []
    for stage in range(5):
        if stage:
            stream.advance()
        batches.append(stream.draw(n))
    return batches


def test_class_incremental_stages_show_their_pair_and_nothing_else(tiny: Path) -> None:
    work = ContinualMnist("class")
    batches = stages_of(work, 7)
    for stage, batch in enumerate(batches):
        assert set(batch["labels_B"].tolist()) == set(work.class_order[2 * stage : 2 * stage + 2])
    assert sorted(work.class_order) == list(range(10))
    order = work.class_order
    work.train_data(8)
    assert work.class_order != order


def test_domain_incremental_has_one_head_of_two(tiny: Path) -> None:
    work = ContinualMnist("domain")
    for batch in stages_of(work, 7):
        assert set(batch) == {"x_BCHW", "labels_B"}
        assert set(batch["labels_B"].tolist()) == {0, 1}
    assert work.outputs(work.build_model(0), batch).shape == (100, 2)


def test_task_incremental_lets_only_the_pair_compete(tiny: Path) -> None:
    work = ContinualMnist("task")
    batches = stages_of(work, 7)
    model = work.build_model(0)
    # Replayed examples carry their own pair.
    mixed = Batch.cat([batches[0], batches[3]])
    logits = work.outputs(model, mixed)
    full = model(mnist.normalised(mixed["x_BCHW"]))
    assert logits.shape == (200, 2)
    assert torch.equal(logits[150], full[150, list(work.class_order[6:8])])
    work.loss(model, batches[0]).backward()  # type: ignore[no-untyped-call]
    gradient = model.get_parameter("head.bias").grad
    assert gradient is not None
    assert set(gradient.nonzero().flatten().tolist()) == set(work.class_order[:2])


def test_permuted_tasks_are_reorderings_of_different_images(tiny: Path) -> None:
    work = ContinualMnist("permuted")
    batches = stages_of(work, 7, 200)
    original = {tuple(row.sort().values.tolist()) for row in mnist.load("train").x_BCHW.flatten(1)}
    seen: list[set[tuple[int, ...]]] = []
    for batch in batches:
        assert set(batch["labels_B"].tolist()) == set(range(10))
        rows = {tuple(row.sort().values.tolist()) for row in batch["x_BCHW"].flatten(1)}
        assert rows <= original
        assert all(not rows & others for others in seen)
        seen.append(rows)
    assert len(work._permutations_TP.unique(dim=0)) == 5  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_evaluation_covers_the_tasks_seen(scenario: str, tiny: Path) -> None:
    work = ContinualMnist(scenario)
    work.train_data(5)
    model = work.build_model(0).eval()
    for stage in range(5):
        metrics = work.evaluate(model, "audit", stage)
        tasks = [metrics[f"accuracy/{k}"] for k in range(stage + 1)]
        assert len(metrics) == 2 * (len(tasks) + 1)  # each with its error
        assert math.isclose(metrics["avg_seen"], sum(tasks) / len(tasks))
    assert work.evaluate(model, "audit") == metrics


# --- curriculum ---------------------------------------------------------------------------------


def test_visible_quality_is_as_reliable_as_stated() -> None:
    generator = torch.Generator().manual_seed(0)
    rates = noise_rates(20_000, generator)
    quality = visible_quality(rates, generator)
    assert float((rates == 0).double().mean()) == pytest.approx(CLEAN_SHARE)
    assert quality.min() == 0
    assert quality.max() == 1
    correlation = float(torch.corrcoef(torch.stack([1 - rates, quality]))[0, 1])
    assert correlation**2 == pytest.approx(RELIABILITY, abs=0.05)
    # Taking the best-looking fifth does not give the clean part.
    best = rates[quality >= 1 - CLEAN_SHARE]
    assert 0.1 < float((best > 0).double().mean()) < 0.6


def test_the_clean_part_is_at_most_a_quarter_of_the_horizon() -> None:
    for entry in curriculum_entries.ENTRIES:
        assert entry.facts.budget.horizon / 4 >= CLEAN_SHARE * POOL


def test_the_pool_comes_from_the_seed(tiny: Path) -> None:
    work = CurriculumMnist()
    one, same, other = (work.train_data(seed) for seed in (3, 3, 4))
    everything = torch.arange(len(one))
    assert torch.equal(one.gather(everything)["labels_B"], same.gather(everything)["labels_B"])
    assert torch.equal(one.scores["quality"], same.scores["quality"])
    assert not torch.equal(one.scores["quality"], other.scores["quality"])


# --- the real files -----------------------------------------------------------------------------


@pytest.mark.slow
@needs_source
def test_real_mnist_is_learnt_and_replay_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist_files.take_over(tmp_path / "data", monkeypatch)
    entry = ENTRIES["continual-mnist"]
    record = run_here(spec_of("replay", entry), tmp_path / "runs")
    assert record.status == "reached", record.reason
    assert len(record.stage_hits) == 5
    naive = run_here(spec_of("adamw-constant", entry), tmp_path / "runs")
    assert naive.status == "exhausted"
    assert len(naive.stage_hits) <= 2
