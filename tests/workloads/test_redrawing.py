"""Generated workloads draw other held-out data for other seeds, of the same language or the same classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.contract.workload import Split
from harness.datasets import generated
from harness.plugins.registry import load_registry
from workloads.continual.lm import ContinualLm
from workloads.curriculum.lm import CurriculumLm
from workloads.lm.shakespeare import LmShakespeare
from workloads.lm.tiny import LmTiny
from workloads.lm.web import Lm124mSynthetic
from workloads.resnet.synthetic import ResnetSynthetic

SPLITS: tuple[Split, ...] = ("feedback", "score", "audit")
SEEDS: dict[Split, str] = {"score": "5" * 64, "audit": "a" * 64}


@pytest.fixture(autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.getbasetemp() / "redrawing"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(folder))
        patch.setattr(generated, "_excluded_texts", set(SEEDS.values()))
        yield folder


class Uniform(nn.Module):
    """Equal logits for every symbol."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return self.weight.expand(*tokens_BT.shape, -1)


def is_redrawn(fresh: Any, usual: Any, vocabulary: int) -> None:
    """Check that other examples are drawn for the splits with seeds, and that other splits keep theirs."""
    fresh.draw_held_out(SEEDS)
    model = Uniform(vocabulary)
    stage = 1 if usual.facts.stages else None
    for split in SPLITS:
        (_, theirs), (_, ours) = (next(iter(w.measure(model, split, stage=stage).items())) for w in (usual, fresh))
        assert ours.shape == theirs.shape
        losses = [work.evaluate(model, split, stage)["loss"] for work in (usual, fresh)]
        # Equal logits give every document the same loss, so that only the correction by the text's own nats differs.
        assert (losses[0] == losses[1]) is (split not in SEEDS)
        assert losses[1] == pytest.approx(losses[0], abs=0.05)


@pytest.mark.parametrize("workload", [LmTiny, CurriculumLm, ContinualLm])
def test_other_documents_are_drawn(workload: Any) -> None:
    is_redrawn(workload(), workload(), 27)


def test_other_images_are_drawn() -> None:
    usual, fresh = ResnetSynthetic(), ResnetSynthetic()
    fresh.draw_held_out(SEEDS)
    for split in SPLITS:
        ours, theirs = (torch.cat([b["x_BCHW"] for b in w.held_out(split)]) for w in (fresh, usual))
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs) is (split not in SEEDS)


def test_documents_of_the_large_corpus_are_never_written(data: Path) -> None:
    usual, fresh = (Lm124mSynthetic(documents=5, held_out=2) for _ in range(2))
    fresh.draw_held_out(SEEDS)
    for split in SPLITS:
        ours, theirs = fresh.held_out_tokens(split), usual.held_out_tokens(split)
        assert ours.shape == theirs.shape == (2, 1025)
        assert torch.equal(ours, theirs) is (split not in SEEDS)
    written = {path.name.split("-")[0] for path in data.glob("synthetic-words/*/*.bin")}
    assert written == {"feedback", "score", "audit"}
    assert len(list(data.glob("synthetic-words/*/*.bin"))) == 3


def test_a_second_draw_replaces_the_documents_of_the_first() -> None:
    workload, again = (Lm124mSynthetic(documents=5, held_out=2) for _ in range(2))
    workload.correction("score")
    for seed in ("5" * 64, "a" * 64):
        workload.draw_held_out({"score": seed})
        again.draw_held_out({"score": seed})
        assert torch.equal(workload.held_out_tokens("score"), again.held_out_tokens("score"))
        assert torch.equal(workload.correction("score")[0], again.correction("score")[0])
        again = Lm124mSynthetic(documents=5, held_out=2)


def test_entries_say_which_workloads_redraw() -> None:
    names = {name.partition("@")[0] for name in load_registry().redrawing}
    assert names == {
        "lm-tiny", "lm-tiny+postnorm", "continual-lm", "continual-lm+narrow", "curriculum-lm",
        "curriculum-lm+wide-init", "lm-124m-synthetic", "resnet-synthetic", "resnet-synthetic+classes",
        "continual-synthetic", "continual-synthetic+classes",
    }  # fmt: skip
    assert not hasattr(LmShakespeare, "draw_held_out")
