"""The image workloads beyond the digits: data, augmentation, networks at full size, and what is said of bad files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from harness.contract.entries import WorkloadEntry
from harness.datasets import manage
from harness.errors import BenchError, DataError
from harness.execution.state import Interrupted
from harness.plugins import loading
from harness.plugins.registry import load_registry
from harness.testing.workloads import WorkloadCase
from harness.worker.data.pools import Pool, positional_gather
from harness.worker.data.prefetch import Prefetch, prefetchable
from harness.worker.data.source import PoolSource
from harness.worker.protocols import Workload
from tests.helpers import Remember, outcome, run_here, spec_of
from tests.test_contract import TestWorkload as Contract
from tests.workloads import images
from tests.workloads.images import SOURCE
from workloads import datasets
from workloads.formats import cifar, imagefolder
from workloads.resnet import cifar as cifar_workloads
from workloads.resnet import digits, fashion, imagenet, photos
from workloads.resnet.augment import AugmentedPool, framed, normalised
from workloads.resnet.classifier import ImageClassifier
from workloads.resnet.entries import ENTRIES
from workloads.resnet.model import ResnetConfig, build
from workloads.resnet.resnet9 import Resnet9
from workloads.resnet.resnet9 import build as build_resnet9
from workloads.resnet.splits import stratified

BY_NAME = {entry.name: entry for entry in ENTRIES}
FASHION = [entry for entry in ENTRIES if "fashion-mnist" in entry.needs_data]
#: Labels of the first images of the split `score`.
FIRST_SCORED = [1, 6, 1, 4, 5, 8, 9, 0, 8, 3, 3, 7]
LARGE = {"resnet9-cifar10": 6_573_120, "resnet-cifar10": 11_173_962, "resnet50-imagenet": 25_557_032}


def make(entry: WorkloadEntry) -> Workload:
    workload: Workload = loading.load_object(entry.load)(**entry.arguments)
    return workload


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def two_steps(workload: Workload, pool: Pool, n: int = 4) -> list[float]:
    """Losses of two updates at a tiny batch, in the workload's precision; the weights must have moved."""
    model = workload.build_model(0, label_smoothing=0.1).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for k in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = workload.loss(model, pool.gather(torch.arange(k * n, k * n + n)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert loss.dtype == torch.float32
        losses.append(loss.item())
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters() if p.ndim == 4)
    return losses


# --- entries ------------------------------------------------------------------------------------


def test_every_row_is_there_and_names_its_sibling_and_its_data() -> None:
    registered = {entry.name for entry in load_registry().workloads()}
    assert set(BY_NAME) <= registered
    known = {dataset.name for dataset in datasets.DATASETS}
    rungs = ["cpu", "gpu", "cluster"]
    for entry in ENTRIES:
        assert set(entry.needs_data) <= known
        assert (entry.sibling is None) == (entry.facts.tier == "cpu")
        if entry.sibling is not None:
            assert rungs.index(BY_NAME[entry.sibling].facts.tier) == rungs.index(entry.facts.tier) - 1
        assert make(entry).facts == entry.facts


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_budget_leaves_room_for_fifty_evaluations(entry: WorkloadEntry) -> None:
    """The short budgets of three workloads have 16, 32 and 60 evaluations (ADR 24, 27), so these are coarse."""
    facts = entry.facts
    if entry.name.partition("+")[0] in ("resnet-digits", "resnet-synthetic", "resnet-fashion"):
        assert facts.coarse
    else:
        assert 0.5 * facts.budget.horizon / facts.eval_every >= 45
    assert (facts.precision.dtype == "float32") == (facts.tier == "cpu")


def test_a_variant_changes_one_detail_and_no_other() -> None:
    base, variant = BY_NAME["resnet-digits"].facts, BY_NAME["resnet-digits+gelu"].facts
    assert "activation" in base.model_options
    assert "activation" not in variant.model_options
    # What calibrations found of each, and the one detail.
    changed = {f for f in base.__struct_fields__ if getattr(base, f) != getattr(variant, f)}
    assert changed == {"name", "model_options", "targets", "levels", "resolution", "reference"}
    plain, gelu = digits.ResnetDigits(), digits.ResnetDigits("gelu")
    one, other = plain.build_model(3), gelu.build_model(3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    pixels = torch.rand(2, 1, 8, 8)
    assert not torch.equal(one(pixels), other(pixels))
    assert torch.equal(plain.build_model(3, activation="gelu")(pixels), other(pixels))
    with pytest.raises(BenchError, match=r"resnet-digits\+gelu has no model option 'activation'"):
        gelu.build_model(0, activation="relu")


def test_the_variant_of_fashion_starts_with_both_branches() -> None:
    base, variant = fashion.ResnetFashion().build_model(0), fashion.ResnetFashion("unit-init").build_model(0)
    assert parameters(base) == parameters(variant)
    last = "blocks.0.norm2.weight"
    assert base.state_dict()[last].eq(0).all()
    assert variant.state_dict()[last].eq(1).all()


# --- splits -------------------------------------------------------------------------------------


def test_splits_are_complete_and_disjoint_whatever_the_shares() -> None:
    labels = np.random.default_rng(0).integers(0, 7, 500)
    found = stratified(labels, {"a": 94, "b": 2, "c": 4}, seed=5)
    assert sorted(np.concatenate(list(found.values()))) == list(range(500))
    assert not np.array_equal(found["b"], stratified(labels, {"a": 94, "b": 2, "c": 4}, seed=6)["b"])
    with pytest.raises(ValueError, match="add up to 99"):
        stratified(labels, {"a": 99}, seed=0)


def test_no_share_is_used_twice() -> None:
    assert sum(fashion.SHARES.values()) == sum(cifar_workloads.SHARES.values()) == sum(imagenet.SHARES.values()) == 100
    labels = np.repeat(np.arange(10), 5_000)
    sizes = {part: len(at) for part, at in stratified(labels, cifar_workloads.SHARES, 3).items()}
    assert sizes == {"train": 47_000, "feedback": 1_000, "audit": 2_000}


# --- Fashion-MNIST ------------------------------------------------------------------------------


@pytest.fixture
def small_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with generated files in it; returns the folder of the dataset."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "home"))
    source = images.write_fashion(tmp_path / "source" / "fashion-mnist")
    manage.import_folder(datasets.FASHION_MNIST, source, copy=True, accept_checksum=True)
    return manage.dataset_path(datasets.FASHION_MNIST)


def test_generated_fashion_is_trained_on_and_split(small_fashion: Path) -> None:
    work = fashion.ResnetFashion()
    pool = work.train_data(0)
    assert len(pool) == 600
    batch = pool.gather(torch.tensor([0, 13]))
    assert batch["x_BCHW"].shape == (2, 1, 28, 28)
    assert batch["labels_B"].tolist() == [0, 3]
    parts = {split: torch.cat([b["x_BCHW"] for b in work.held_out(split)]) for split in ("score", "feedback", "audit")}
    assert {split: len(x) for split, x in parts.items()} == {"score": 80, "feedback": 20, "audit": 100}
    assert len(torch.unique(torch.cat(list(parts.values())).flatten(1), dim=0)) == 200


@pytest.mark.slow
def test_small_images_are_learnt(small_fashion: Path) -> None:
    work = fashion.ResnetFashion()
    model, pool = work.build_model(0), work.train_data(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for k in range(27):
        optimizer.zero_grad()
        work.loss(model, pool.gather(torch.arange(k % 9 * 64, k % 9 * 64 + 64))).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    first, second = (work.evaluate(model.eval(), "score") for _ in range(2))
    assert first == second
    assert first["cross_entropy"] < 2.0


def test_channels_innermost_change_the_layout_and_nothing_else() -> None:
    sizes: dict[str, Any] = {"widths": (8, 16), "blocks": (1, 1), "stem": "conv3-half"}
    plain = build(ResnetConfig(**sizes), 0)
    other = build(ResnetConfig(**sizes, channels_last=True), 0)
    pixels = torch.randn(2, 1, 28, 28)
    assert torch.allclose(plain(pixels), other(pixels), atol=1e-5)
    assert all(p.is_contiguous() for p in other.parameters())


@pytest.mark.parametrize("name", images.FASHION_FILES)
def test_a_truncated_idx_file_is_named(small_fashion: Path, name: str) -> None:
    path = small_fashion / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(DataError, match=rf"{name} has [\d,]+ bytes, expected [\d,]+"):
        fashion.ResnetFashion().train_data(0)
    # Of the same size and yet broken: the loader itself finds it.
    half = len(whole) // 2
    path.write_bytes(whole[:half] + bytes(len(whole) - half))
    with pytest.raises(DataError, match=rf"{name} is (truncated|too long|a damaged)"):
        fashion._read(small_fashion, name.partition("-")[0])


@pytest.mark.parametrize("name", ["resnet-fashion", "resnet-cifar10", "resnet50-imagenet"])
def test_missing_data_names_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match=rf"dataset {BY_NAME[name].needs_data[0]}: .*bench data (get|import)"):
        make(BY_NAME[name]).train_data(0)
    with pytest.raises(DataError, match="bench data"):
        make(BY_NAME[name]).evaluate(torch.nn.Linear(1, 1), "score")


def test_a_trial_without_its_data_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "home"))
    spec = spec_of("adamw-cosine", BY_NAME["resnet-fashion"], load_registry(), smoke=True)
    record = run_here(spec, tmp_path / "runs")
    assert record.status == "crashed"
    assert "bench data get fashion-mnist" in record.reason


@pytest.fixture(scope="module")
def fashion_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with the real Fashion-MNIST in it, which BENCH_DATA names."""
    if not SOURCE:
        pytest.skip("BENCH_DATA_SOURCE is not set: no real data files")
    home = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(home))
        manage.import_folder(datasets.FASHION_MNIST, Path(SOURCE))
        yield home


@pytest.fixture(scope="module", params=FASHION, ids=lambda entry: entry.name)
def made(request: pytest.FixtureRequest, fashion_home: Path) -> tuple[WorkloadEntry, Workload, Any]:
    """A workload on real data with its entry and its pool."""
    workload = make(request.param)
    return request.param, workload, workload.train_data(7)


@pytest.fixture(scope="module")
def case(made: tuple[WorkloadEntry, Workload, Any], tmp_path_factory: pytest.TempPathFactory) -> WorkloadCase:
    """What the contract is tested on."""
    return WorkloadCase(made[0], load_registry(), tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
class TestRealFashion(Contract):
    """The workload contract on the real files."""

    def test_sizes_and_statistics(self, made: tuple[WorkloadEntry, Workload, Any]) -> None:
        _, workload, pool = made
        assert isinstance(workload, ImageClassifier)
        assert len(pool) == 60_000
        sizes = {split: sum(b.n for b in workload.held_out(split)) for split in ("score", "feedback", "audit")}
        assert sizes == {"score": 4_000, "feedback": 1_000, "audit": 5_000}
        pixels = pool.gather(torch.arange(5_000))["x_BCHW"]
        assert abs(pixels.mean()) < 0.02
        assert abs(pixels.std() - 1) < 0.02

    def test_the_split_never_changes(self, made: tuple[WorkloadEntry, Workload, Any]) -> None:
        _, workload, _ = made
        assert isinstance(workload, ImageClassifier)
        labels = torch.cat([b["labels_B"] for b in workload.held_out("score")])
        assert labels[:12].tolist() == FIRST_SCORED


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw-cosine", "wsd"])
def test_a_trial_on_small_fashion_resumes_to_the_same_end(name: str, small_fashion: Path, tmp_path: Path) -> None:
    from harness.execution.trial import run_trial
    from tests.worker.interrupt import StopAt

    spec = spec_of(name, BY_NAME["resnet-fashion"], load_registry(), smoke=True)
    whole = run_here(spec, tmp_path / "whole")
    assert whole.status == "exhausted", whole.reason
    with pytest.raises(Interrupted):
        run_trial(spec, tmp_path / "broken", Remember(), transport=StopAt(2))
    torch.manual_seed(99)
    assert outcome(run_here(spec, tmp_path / "broken")) == outcome(whole)


# --- augmentation -------------------------------------------------------------------------------


def test_a_frame_is_what_numpy_reflects() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
    wanted = np.pad(pixels, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    assert np.array_equal(framed(torch.from_numpy(pixels), 4).numpy(), wanted)


def augmented(n: int = 64, reach: int = 2, seed: int = 0) -> tuple[AugmentedPool, torch.Tensor]:
    pixels = torch.randint(256, (n, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pool = AugmentedPool(
        pixels, torch.arange(n), mean=(0.0,) * 3, std=(1.0,) * 3, reach=reach, seed=seed, device=torch.device("cpu")
    )
    return pool, pixels


def test_each_drawn_image_is_one_of_the_moved_and_mirrored_ones() -> None:
    pool, pixels = augmented()
    batch = pool.gather_at(torch.arange(64), 128)
    assert batch["labels_B"].tolist() == list(range(64))
    assert batch["x_BCHW"].is_contiguous(memory_format=torch.channels_last)
    frames = framed(pixels, 2)
    seen = set()
    for k in range(64):
        places = [
            (dy, dx, mirror)
            for dy in range(5)
            for dx in range(5)
            for mirror in (False, True)
            if torch.equal(batch["x_BCHW"][k], _view(frames[k], dy, dx, mirror))
        ]
        assert len(places) == 1
        seen.add(places[0])
    # 64 draws of 50 equally likely places: about 36 different ones.
    assert len(seen) > 25
    assert {mirror for _, _, mirror in seen} == {False, True}


def _view(frame_HWC: torch.Tensor, dy: int, dx: int, mirror: bool) -> torch.Tensor:
    part = frame_HWC[dy : dy + 8, dx : dx + 8]
    return normalised((part.flip(1) if mirror else part)[None], (0.0,) * 3, (1.0,) * 3)[0]


def test_augmentation_depends_on_seed_and_position_alone() -> None:
    """However the draws are cut, and whatever else is drawn; no generator moves."""
    pool, _ = augmented()
    state = torch.get_rng_state()
    first, other = pool.gather_at(torch.arange(8), 0), pool.gather_at(torch.arange(8), 8)
    assert not torch.equal(first["x_BCHW"], other["x_BCHW"])
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    parts = [augmented()[0].gather_at(torch.arange(*ends), ends[0])["x_BCHW"] for ends in ((0, 3), (3, 8))]
    assert torch.equal(torch.cat(parts), first["x_BCHW"])
    assert not torch.equal(augmented(seed=1)[0].gather_at(torch.arange(8), 0)["x_BCHW"], first["x_BCHW"])
    # Outside of the run's draws each image has an augmentation of its own.
    twice = pool.gather(torch.tensor([5, 5]))["x_BCHW"]
    assert torch.equal(twice[0], twice[1])


# --- CIFAR-10 -----------------------------------------------------------------------------------


@pytest.fixture
def small_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = images.write_cifar(tmp_path / "cifar10")
    # The dataset's own check would refuse files of another size than CIFAR-10's.
    monkeypatch.setattr(cifar_workloads, "dataset_path", lambda entry: folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet9-cifar10", "resnet-cifar10"])
def test_cifar_networks_at_full_size_take_two_steps(name: str, small_cifar: Path) -> None:
    workload = make(BY_NAME[name])
    assert isinstance(workload, cifar_workloads._Cifar)
    model = workload.build_model(0)
    assert parameters(model) == LARGE[name]
    assert set(workload.parameter_kinds(model)) == {name for name, _ in model.named_parameters()}
    pool = workload.train_data(0)
    assert len(pool) == 940
    losses = two_steps(workload, pool)
    assert abs(losses[0] - math.log(10)) < 1.5
    metrics = workload.evaluate(model.eval(), "feedback")
    assert metrics == workload.evaluate(model.eval(), "feedback")
    assert set(metrics) == {"cross_entropy", "se", "accuracy"}
    assert sum(piece.n for piece in workload.held_out("score")) == 200


@pytest.mark.parametrize(("name", "metric"), [("resnet9-cifar10", "accuracy"), ("resnet-digits", "cross_entropy")])
def test_the_standard_error_is_that_of_the_targets_metric(name: str, metric: str) -> None:
    class Bare(ImageClassifier):
        network = train_data = held_out = None  # type: ignore[assignment]

    facts = load_registry().workload(name).facts
    assert facts.targets[0].metric == metric
    nats_B, correct_B = torch.tensor([0.5, 1.0, 3.0, 0.1]), torch.tensor([True, False, False, True])
    found = Bare(facts).metrics({"nats_B": nats_B, "correct_B": correct_B}, "score")
    expected = {"accuracy": (0.25 / 3) ** 0.5, "cross_entropy": float(nats_B.std()) / 2}[metric]
    assert found["se"] == pytest.approx(expected)
    assert found["accuracy"] == 0.5
    assert found["cross_entropy"] == pytest.approx(1.15)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet9-cifar10", "resnet-cifar10"])
def test_their_options_build(name: str) -> None:
    workload = make(BY_NAME[name])
    for options in ({"norm": "group"}, {"activation": "silu"}, {"dropout": 0.2}):
        assert workload.build_model(0, **options)(torch.randn(1, 3, 32, 32)).shape == (1, 10)
    with pytest.raises(BenchError, match="no model option 'depth'"):
        workload.build_model(0, depth=2)


def test_evaluation_draws_nothing_and_is_not_augmented(small_cifar: Path) -> None:
    workload = cifar_workloads.ResnetCifar10()
    state = torch.get_rng_state()
    (first,), (second,) = (list(workload.held_out("audit")) for _ in range(2))
    assert torch.equal(first["x_BCHW"], second["x_BCHW"])
    assert torch.equal(torch.get_rng_state(), state)
    (scored,) = workload.held_out("score")
    plain, _ = cifar.read(small_cifar / "test_batch.bin")
    wanted = normalised(
        torch.from_numpy(plain).permute(0, 2, 3, 1), cifar_workloads.PIXEL_MEAN, cifar_workloads.PIXEL_STD
    )
    assert torch.equal(scored["x_BCHW"], wanted)


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
def test_a_truncated_cifar_file_is_named(small_cifar: Path, name: str) -> None:
    path = small_cifar / name
    path.write_bytes(path.read_bytes()[:-1])
    workload = cifar_workloads.ResnetCifar10()
    with pytest.raises(DataError, match=rf"{name} has 614,599 bytes, expected a multiple of 3,073"):
        next(workload.held_out("score")) if name.startswith("test") else workload.train_data(0)


def test_data_goes_where_the_model_lives() -> None:
    workload = cifar_workloads.ResnetCifar10()
    assert workload._device() == torch.device("cpu")
    model = workload.build_model(0).to("meta")
    assert workload._device() == torch.device("meta")
    del model


def test_a_resnet9_has_four_widths() -> None:
    with pytest.raises(ValueError, match="a ResNet-9 has four"):
        build_resnet9(ResnetConfig(), 0)


# --- ImageNet -----------------------------------------------------------------------------------


@pytest.fixture
def small_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = images.write_tree(tmp_path / "source")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "home"))
    manage.import_folder(datasets.IMAGENET, source)
    return source


def test_resnet50_at_full_size_has_the_parameters_it_should() -> None:
    workload = imagenet.Resnet50Imagenet()
    model = workload.build_model(0)
    assert parameters(model) == LARGE["resnet50-imagenet"]
    assert set(workload.parameter_kinds(model)) == {name for name, _ in model.named_parameters()}


@pytest.mark.slow
def test_resnet50_trains_on_a_tree(small_tree: Path) -> None:
    workload = imagenet.Resnet50Imagenet(classes=2, size=32)
    pool = workload.train_data(0)
    assert len(pool) == 2 * 97
    assert all(math.isfinite(loss) for loss in two_steps(workload, pool))
    sizes = {split: sum(b.n for b in workload.held_out(split)) for split in ("score", "feedback", "audit")}
    assert sizes == {"score": 6, "feedback": 2, "audit": 4}
    metrics = workload.evaluate(workload.build_model(0).eval(), "score")
    assert set(metrics) == {"cross_entropy", "se", "accuracy"}


def test_photographs_depend_on_seed_and_position_alone(small_tree: Path) -> None:
    """Also when they are read ahead, and however the draws are cut; no generator moves."""
    workload = imagenet.Resnet50Imagenet(classes=2, size=8)
    state = torch.get_rng_state()
    whole = drawn_images(workload.train_data(0), (16, 16))
    assert whole.shape == (32, 3, 8, 8)
    assert not torch.equal(whole[:16], whole[16:])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn_images(workload.train_data(0), (4, 4, 20, 4)), whole)
    assert torch.equal(drawn_images(workload.train_data(0), (4, 4, 20, 4), ahead=True), whole)
    assert not torch.equal(drawn_images(workload.train_data(1), (16, 16)), whole)


def drawn_images(pool: Pool, sizes: tuple[int, ...], ahead: bool = False) -> torch.Tensor:
    """Images drawn in the order of seed 0 by draws of these sizes, in the harness's way."""
    source = PoolSource(pool, 0, torch.device("cpu"))
    if ahead:
        assert prefetchable(pool)
        source._prefetch = Prefetch(positional_gather(pool), source._order, torch.device("cpu"))
    return torch.cat([source.draw(n, None)["x_BCHW"] for n in sizes])


def test_a_tree_of_other_classes_is_named(small_tree: Path) -> None:
    with pytest.raises(DataError, match=r"train has 2 class folders, expected 1,000"):
        imagenet.Resnet50Imagenet().train_data(0)


def test_one_broken_image_in_a_tree_is_named(small_tree: Path) -> None:
    workload = imagenet.Resnet50Imagenet(classes=2, size=8)
    pool = workload.train_data(0)
    for path in (small_tree / "train" / "n00000000").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"n00000000.\d{4}\.png is a broken image"):
        pool.gather(torch.arange(3))
    broken = small_tree / "val" / "n00000001" / "0002.png"
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=r"0002\.png is a broken image"):
        next(workload.held_out("score"))


def test_random_parts_lie_inside() -> None:
    rng = np.random.default_rng(0)
    for numbers in rng.random((200, 4)):
        left, upper, right, lower = photos.random_part(50, 20, *map(float, numbers))
        assert 0 <= left < right <= 50 + 1e-9
        assert 0 <= upper < lower <= 20 + 1e-9
        assert (right - left) * (lower - upper) <= 1001


def test_a_part_is_the_same_at_a_fraction_of_the_size(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: no images can be written")
    ramp = np.linspace(0, 255, 256)
    pixels = np.stack([ramp[None, :].repeat(192, 0)] * 3, axis=2).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    image.fromarray(pixels).save(tmp_path / "a.png")
    box = (64.0, 0.0, 192.0, 128.0)
    small, exact = (
        imagefolder.read_part(tmp_path / name, lambda w, h: box, 16).astype(int) for name in ("a.jpg", "a.png")
    )
    assert small.shape == (16, 16, 3)
    assert np.abs(small - exact).max() <= 4
    assert exact[0, 0, 0] == pytest.approx(68, abs=4)
    assert exact[0, -1, 0] == pytest.approx(188, abs=4)


def test_facts_survive_the_wire() -> None:
    for entry in ENTRIES:
        assert msgspec.json.decode(msgspec.json.encode(entry), type=WorkloadEntry) == entry


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize(
    "network",
    [
        lambda: build(ResnetConfig(channels=3, widths=(8, 16), blocks=(1, 1), channels_last=True), 0),
        lambda: Resnet9(ResnetConfig(channels=3, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), channels_last=True)),
    ],
    ids=["resnet", "resnet9"],
)
def test_the_large_networks_are_one_graph(network: Callable[[], torch.nn.Module]) -> None:
    """What a GPU runs compiled, at toy size: the same loss, and running statistics that move alike."""
    torch.manual_seed(0)
    model = network().train()
    twin = copy.deepcopy(model)
    x_BCHW, labels_B = torch.randn(4, 3, 16, 16), torch.arange(4)

    def loss(model: torch.nn.Module) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(x_BCHW), labels_B)

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=False, backend="aot_eager")(model)
    torch._dynamo.reset()
    torch.testing.assert_close(compiled, loss(twin), rtol=1e-5, atol=1e-6)
    for (name, a), b in zip(model.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)
