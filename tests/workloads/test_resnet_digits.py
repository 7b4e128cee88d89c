"""The workload `resnet-digits`: its splits, its network and its evaluation."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.api import BenchError, DataError
from harness.worker.protocols import Workload
from workloads.resnet import digits_data
from workloads.resnet.digits import ResnetDigits
from workloads.resnet.model import ResnetConfig, build, parameter_kinds

FIRST_TRAIN = [2, 4, 5, 6, 8, 10, 18, 23]
SIZES = {"train": 808, "score": 542, "feedback": 178, "audit": 269}


def test_splits_are_disjoint_complete_and_stratified() -> None:
    parts = {part: digits_data.load(part) for part in digits_data.PARTS}
    everything = np.concatenate([p.indices_B for p in parts.values()])
    assert sorted(everything) == list(range(digits_data.IMAGES))
    per_class = sum(np.bincount(p.labels_B, minlength=10) for p in parts.values())
    for part, found in parts.items():
        shares = np.bincount(found.labels_B, minlength=10) / per_class
        assert np.abs(shares - digits_data.SHARES[part] / 100).max() < 0.01


def test_split_never_changes() -> None:
    assert digits_data.load("train").indices_B[:8].tolist() == FIRST_TRAIN
    assert {part: len(digits_data.load(part).labels_B) for part in digits_data.PARTS} == SIZES


def test_no_image_stands_in_two_parts() -> None:
    images, _ = digits_data.read(digits_data.data_file())
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == digits_data.IMAGES


def test_reading_does_not_import_sklearn() -> None:
    code = "import sys; from workloads.resnet import digits_data as d; d.load('train'); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_entries_import_nothing_heavy() -> None:
    code = (
        "import sys; import workloads.resnet.entries, workloads.continual.entries;"
        "print({'torch', 'numpy', 'scipy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"digits\.csv\.gz"):
        digits_data.read(tmp_path / "digits.csv.gz")
    (tmp_path / "digits.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"digits\.csv\.gz"):
        digits_data.read(tmp_path / "digits.csv.gz")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed"):
        digits_data.data_file()


def test_shifts_move_pixels() -> None:
    image = np.zeros((1, 3, 3), np.float32)
    image[0, 1, 1] = 1
    copies = digits_data.shifted(image)
    assert np.array_equal(copies[0], image)
    assert len(np.unique(copies.reshape(9, -1), axis=0)) == 9
    assert copies.sum() == 9


def test_facts_are_consistent() -> None:
    facts = ResnetDigits.facts
    assert isinstance(ResnetDigits(), Workload)
    assert all(facts.eval_every % size == 0 for size in facts.batch_sizes)
    assert facts.budget.horizon % facts.eval_every == 0


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize(("stem", "channels", "size"), [("conv3", 1, 28), ("conv3", 3, 32), ("conv7", 3, 64)])
def test_other_images_and_kinds(norm: str, stem: str, channels: int, size: int) -> None:
    config = ResnetConfig(channels=channels, widths=(8, 16), blocks=(1, 2), stem=stem, norm=norm)  # type: ignore[arg-type]
    model = build(config, seed=0)
    assert model(torch.randn(2, channels, size, size)).shape == (2, 10)
    kinds = parameter_kinds(model)
    assert list(kinds) == [name for name, _ in model.named_parameters()]
    assert kinds["head.weight"] == "head"
    assert [k for k, v in kinds.items() if v == "conv"] == [n for n, p in model.named_parameters() if p.ndim == 4]
    assert ("norm" in kinds.values()) == (norm != "none")


def test_zero_init_starts_blocks_as_the_identity() -> None:
    x = torch.rand(2, 8, 4, 4)
    for norm in ("batch", "group", "none"):
        config = ResnetConfig(widths=(8,), blocks=(1,), norm=norm)
        block = build(config, seed=0).blocks[0].eval()
        assert torch.equal(block(x), x)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(BenchError, match="'depth'"):
        ResnetDigits().build_model(0, depth=3)
    with pytest.raises(ValueError, match="activation 'tanh'"):
        ResnetDigits().build_model(0, activation="tanh")
    with pytest.raises(ValueError, match="same length"):
        ResnetConfig(widths=(8, 16), blocks=(1,))


def test_equal_seeds_give_equal_weights_and_leave_the_global_rng_alone() -> None:
    work = ResnetDigits()
    before = torch.get_rng_state()
    a, b, c = (work.build_model(seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["stem.weight"], c["stem.weight"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_of_its_examples(smoothing: float) -> None:
    work = ResnetDigits()
    model = work.build_model(0, label_smoothing=smoothing)
    batch = work.train_data(0).gather(torch.arange(32))
    each = work.loss(model, batch, per_example=True)
    assert each.shape == (32,)
    assert torch.allclose(each.mean(), work.loss(model, batch))
    assert math.isclose(work.loss(model, batch).item(), math.log(10), abs_tol=0.1)
    assert work.outputs(model, batch).shape == (32, 10)


def test_evaluation_is_repeatable_and_changes_nothing() -> None:
    work = ResnetDigits()
    model = work.build_model(0, label_smoothing=0.1, dropout=0.3).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    first = work.evaluate(model, "score")
    assert first == work.evaluate(model, "score")
    assert first != work.evaluate(model, "audit")
    assert math.isclose(first["cross_entropy"], math.log(10), abs_tol=0.1)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_pool_is_nine_copies_of_the_training_part() -> None:
    pool = ResnetDigits().train_data(0)
    count = len(digits_data.load("train").labels_B)
    assert len(pool) == 9 * count
    both = pool.gather(torch.tensor([5, 5 + count]))
    assert both["x_BCHW"].shape == (2, 1, 8, 8)
    assert both["labels_B"][0] == both["labels_B"][1]
    assert not torch.equal(both["x_BCHW"][0], both["x_BCHW"][1])


def test_a_few_steps_of_training_learn() -> None:
    work = ResnetDigits()
    model, pool = work.build_model(0), work.train_data(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        batch = pool.gather(torch.randint(len(pool), (32,), generator=generator))
        optimizer.zero_grad()
        work.loss(model, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert work.evaluate(model.eval(), "score")["cross_entropy"] < 2.0
