"""The workload `lm-tiny`: a two-layer GPT reads characters of a synthetic language whose entropy is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from harness.api import Split, TensorPool
from workloads.lm.common import HeldOutSymbols, corrected
from workloads.lm.documents import document_entropy, documents, scored_documents
from workloads.lm.facts import LM_TINY, LM_TINY_POSTNORM
from workloads.lm.language import Language, Tokens

_LENGTH = LM_TINY.tokens_per_example + 1
CONFIG: dict[str, Any] = {
    "layers": 2,
    "width": 64,
    "heads": 2,
    "context": LM_TINY.tokens_per_example,
    "vocabulary": Language.vocabulary,
    "norm": "layernorm",
    "activation": "relu2",
    "qk_norm": True,
}
#: What each variant is, and what it changes.
_VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "": (LM_TINY, {}),
    "postnorm": (LM_TINY_POSTNORM, {"placement": "post"}),
}
#: Documents of each held-out split: `score` is read at every evaluation, `audit` once.
_DOCUMENTS: dict[Split, int] = {"feedback": 256, "score": 1792, "audit": 2048}
#: Documents per forward pass: activations stay in the cache, which halves the time.
CHUNK = 64


class LmTiny(HeldOutSymbols):
    """Documents of 64 characters, each beginning at the start of a word, so that all of the past is in sight.

    The target metric `loss` is the model's cross-entropy on a split, corrected by how much harder or easier than
    expected the split's text is.

    Args:
        variant: a detail of the model that is changed: `postnorm`.
        eval_every: examples between evaluations, where a study needs fewer than the workload has; such runs are
            of no use to the tables.
    """

    facts = LM_TINY
    chunk = CHUNK

    def __init__(self, variant: str = "", eval_every: int | None = None) -> None:
        facts, changes = _VARIANTS[variant]
        if eval_every is not None:
            facts = msgspec.structs.replace(facts, eval_every=eval_every)
        super().__init__(facts, CONFIG | changes)

    def train_data(self, seed: int) -> TensorPool:
        """Documents drawn from the seed, enough for twice the horizon, so that no budget sees one again.

        Field: `tokens_BT` (int64, (n, 65)); the model reads symbols 0 … 63 and predicts 1 … 64.
        """
        n = 2 * self.facts.budget.horizon
        return TensorPool(tokens_BT=as_tensor(documents(n, length=_LENGTH, stream_seed=f"train/{seed}")))

    def held_out_tokens(self, split: Split) -> Tensor:
        return held_out(split)[0]

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Nats per token: `loss`, its distance `excess` from the entropy, and the plain mean `cross_entropy`."""
        return corrected(measured["nats_B"], held_out(split)[1], entropy())


@cache
def entropy() -> float:
    """Expected nats per token of a document: no model's loss is lower."""
    return document_entropy(_LENGTH)


@cache
def held_out(split: Split) -> tuple[Tensor, Tensor]:
    """A split's documents, int64 (n, 65), and the exact nats per token of each, float64 (n,)."""
    tokens_BT, nats_B = scored_documents(_DOCUMENTS[split], length=_LENGTH, stream_seed=f"held-out/{split}")
    return as_tensor(tokens_BT), torch.tensor(nats_B)


def as_tensor(tokens: Tokens) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64))
