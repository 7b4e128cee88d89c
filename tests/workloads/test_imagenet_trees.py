"""ImageNet's two trees, which must have the same classes: labels are positions in the list of folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets import manage
from harness.errors import DataError
from workloads import datasets
from workloads.resnet import imagenet
from workloads.resnet.imagenet import Resnet50Imagenet

SAYS = r"val lacks n2 and also has n4; expected the class folders of .*train"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As many classes in both trees, but not the same; no image is opened here."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "home"))
    for place in ("train/n1", "train/n2", "val/n1", "val/n4"):
        (tmp_path / "mine" / place).mkdir(parents=True)
        for k in range(100 if place.startswith("train") else 1):
            (tmp_path / "mine" / place / f"{k}.jpg").write_bytes(b"\xff\xd8")
    return tmp_path / "mine"


def test_trees_of_other_classes_are_not_taken_over(mine: Path) -> None:
    with pytest.raises(DataError, match=SAYS):
        manage.import_folder(datasets.IMAGENET, mine)
    (mine / "val" / "n4").rename(mine / "val" / "n2")
    manage.import_folder(datasets.IMAGENET, mine)
    (mine / "val" / "n2").rename(mine / "val" / "n4")
    states = {state.name: state for state in manage.verify(datasets.IMAGENET)}
    assert states["train"].state == "unverified"
    assert states["val"].state == "damaged"


def test_trees_of_other_classes_are_not_trained_on(mine: Path) -> None:
    (mine / "val" / "n4").rename(mine / "val" / "n2")
    manage.import_folder(datasets.IMAGENET, mine)
    assert len(Resnet50Imagenet(classes=2, size=8).train_data(0)) == 2 * 97
    (mine / "val" / "n2").rename(mine / "val" / "n4")
    work = Resnet50Imagenet(classes=2, size=16)
    # What was found in a folder is kept for the life of the process; another process looks again.
    imagenet._samples.cache_clear()
    with pytest.raises(DataError, match=SAYS):
        work.train_data(0)
    with pytest.raises(DataError, match=SAYS):
        next(work.held_out("score"))
