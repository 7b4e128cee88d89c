"""The workload `curriculum-lm`: training documents with a quality score, and evaluation on clean text."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.api import Split, TensorPool
from workloads.curriculum.lm_facts import CURRICULUM_LM, CURRICULUM_LM_WIDE_INIT
from workloads.integers import key, randoms
from workloads.lm.common import HeldOutSymbols
from workloads.lm.documents import documents
from workloads.lm.tiny import CHUNK, CONFIG, as_tensor, entropy, held_out
from workloads.redrawing import Redrawing

_LENGTH = CURRICULUM_LM.tokens_per_example + 1
#: Name of a variant → the facts of the variant, and the arguments of `GPTConfig` that the variant changes.
_VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "": (CURRICULUM_LM, {}),
    "wide-init": (CURRICULUM_LM_WIDE_INIT, {"init_scale": 2.0}),
}
#: Number of training documents. The horizon is much larger, so a run on only the best documents repeats them.
DOCUMENTS = 5_120
#: Number of documents per held-out split. They are the first documents of the same split of `lm-tiny`.
_HELD_OUT: dict[Split, int] = {"feedback": 256, "score": 1152, "audit": 512}
#: Number of quality grades, which are equally likely. In a document of grade g, each symbol is replaced by a random
#: symbol with probability (7 − g)·3 %: 0 % for grade 7 (clean), 21 % for grade 0.
GRADES = 8
_STEP = 0.03
#: The visible quality score is a sum of points, divided by the largest possible sum. A document gets 16 points per
#: grade, plus two random integers, each uniform on 0 … `_DICE` − 1. The grade explains 70 % of the score's variance.
_DICE = 59
_PER_GRADE = 16


class CurriculumLm(Redrawing, HeldOutSymbols):
    """A pool of documents of eight quality grades.

    The horizon is six times the number of documents in the pool, and an eighth of the documents is clean. A submission
    that keeps only clean documents therefore repeats each of them 48 times. `scores["quality"]` is like the output of a
    cheap classifier: the score correlates with the true grade, but may misjudge a single document.

    Args:
        variant: name of a variant, which changes a detail of the model; empty for the workload itself.
            `wide-init` doubles the standard deviation of the initial weights.
    """

    facts = CURRICULUM_LM
    chunk = CHUNK

    def __init__(self, variant: str = "") -> None:
        facts, changes = _VARIANTS[variant]
        super().__init__(facts, CONFIG | changes)

    def train_data(self, seed: int) -> TensorPool:
        """Return the training documents, which are drawn from the seed.

        Field: `tokens_BT` (int64, (n, 65)). Score: `quality`, in [0, 1]; higher is better.
        """
        grades_N = grades(DOCUMENTS, seed)
        quality_N = np.asarray(1.0 - _STEP * (GRADES - 1 - grades_N), dtype=np.float64)
        tokens_BT = documents(DOCUMENTS, length=_LENGTH, stream_seed=f"curriculum/{seed}", quality_N=quality_N)
        quality = torch.from_numpy(visible(grades_N, seed)).float()
        return TensorPool(tokens_BT=as_tensor(tokens_BT), scores={"quality": quality})

    def held_out_tokens(self, split: Split) -> Tensor:
        """Return the first documents of the split of `lm-tiny`, which are clean text."""
        return held_out(split, self.sample(split))[0][: _HELD_OUT[split]]

    def correction(self, split: Split) -> tuple[Tensor, float]:
        return held_out(split, self.sample(split))[1][: _HELD_OUT[split]], entropy()


def grades(n: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the true grades of n documents, int64 (n,). They are uniform on 0 (worst) … 7 (clean)."""
    return (randoms(key("grade", seed), 0, n) >> np.uint64(61)).astype(np.int64)


def visible(grades_N: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    """Return the quality score that a submission sees, float64 (n,), in [0, 1]."""
    dice_N2 = randoms(key("visible quality", seed), 0, 2 * len(grades_N)).reshape(-1, 2) % np.uint64(_DICE)
    points_N = _PER_GRADE * grades_N + dice_N2.sum(axis=1).astype(np.int64)
    most = _PER_GRADE * (GRADES - 1) + 2 * (_DICE - 1)
    return np.asarray(points_N / most, dtype=np.float64)
