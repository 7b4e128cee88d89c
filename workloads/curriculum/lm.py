"""The workload `curriculum-lm`: documents of known quality to train on, clean text to be judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.api import Split, TensorPool
from workloads.curriculum.lm_facts import CURRICULUM_LM, CURRICULUM_LM_WIDE_INIT
from workloads.lm.common import HeldOutSymbols, corrected
from workloads.lm.documents import documents
from workloads.lm.integers import key, randoms
from workloads.lm.tiny import CHUNK, CONFIG, as_tensor, entropy, held_out

_LENGTH = CURRICULUM_LM.tokens_per_example + 1
#: What each variant is, and what it changes.
_VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "": (CURRICULUM_LM, {}),
    "wide-init": (CURRICULUM_LM_WIDE_INIT, {"init_scale": 2.0}),
}
#: Far fewer than the horizon: whoever keeps only what looks best reads it many times over.
DOCUMENTS = 4_096
#: The first so many of the held-out documents of `lm-tiny`.
_HELD_OUT: dict[Split, int] = {"feedback": 256, "score": 1024, "audit": 2048}
#: They are clean, or each symbol is replaced with a probability of 3 %, 6 %, … 21 %: an eighth of each kind.
GRADES = 8
_STEP = 0.03
#: The visible score adds two dice of so many sides to 16 per grade: 0.70 of its variance is the grade's.
_DICE = 59
_PER_GRADE = 16


class CurriculumLm(HeldOutSymbols):
    """A sixth as many documents as the horizon; an eighth of them are clean, so filtering alone runs dry.

    `scores["quality"]` is what a cheap classifier would say of a document: right on the whole, not of each.

    Args:
        variant: a detail of the model that is changed: `wide-init` doubles the spread of its initial weights.
    """

    facts = CURRICULUM_LM
    chunk = CHUNK

    def __init__(self, variant: str = "") -> None:
        facts, changes = _VARIANTS[variant]
        super().__init__(facts, CONFIG | changes)

    def train_data(self, seed: int) -> TensorPool:
        """The documents drawn from the seed.

        Field: `tokens_BT` (int64, (n, 65)); score: `quality`, in [0, 1], high is good.
        """
        grades_N = grades(DOCUMENTS, seed)
        quality_N = np.asarray(1.0 - _STEP * (GRADES - 1 - grades_N), dtype=np.float64)
        tokens_BT = documents(DOCUMENTS, length=_LENGTH, stream_seed=f"curriculum/{seed}", quality_N=quality_N)
        quality = torch.from_numpy(visible(grades_N, seed)).float()
        return TensorPool(tokens_BT=as_tensor(tokens_BT), scores={"quality": quality})

    def held_out_tokens(self, split: Split) -> Tensor:
        """The first of those of `lm-tiny`: clean text."""
        return held_out(split)[0][: _HELD_OUT[split]]

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Nats per token: `loss`, its distance `excess` from the entropy, and the plain mean `cross_entropy`."""
        return corrected(measured["nats_B"], held_out(split)[1][: _HELD_OUT[split]], entropy())


def grades(n: int, seed: int) -> npt.NDArray[np.int64]:
    """The true quality of each document, int64 (n,): 7 is clean, 0 the worst; all are equally likely."""
    return (randoms(key("grade", seed), 0, n) >> np.uint64(61)).astype(np.int64)


def visible(grades_N: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    """The quality as a submission sees it, float64 (n,) in [0, 1]."""
    dice_N2 = randoms(key("visible quality", seed), 0, 2 * len(grades_N)).reshape(-1, 2) % np.uint64(_DICE)
    points_N = _PER_GRADE * grades_N + dice_N2.sum(axis=1).astype(np.int64)
    most = _PER_GRADE * (GRADES - 1) + 2 * (_DICE - 1)
    return np.asarray(points_N / most, dtype=np.float64)
