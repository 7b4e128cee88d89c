"""The workload `lm-tiny`: a two-layer GPT on the characters of a synthetic language of known entropy."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from harness.api import Split, TensorPool
from workloads.lm.common import HeldOutSymbols
from workloads.lm.documents import document_entropy, documents, scored_documents
from workloads.lm.facts import LM_TINY, LM_TINY_POSTNORM
from workloads.lm.language import Language, Tokens
from workloads.redrawing import Redrawing

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
#: Name of a variant → the facts of the variant, and the arguments of `GPTConfig` that the variant changes.
_VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "": (LM_TINY, {}),
    "postnorm": (LM_TINY_POSTNORM, {"placement": "post"}),
}
#: Number of documents per held-out split. `score` is read at every evaluation, `audit` only once.
_DOCUMENTS: dict[Split, int] = {"feedback": 256, "score": 1792, "audit": 1024}
#: Number of documents per forward pass. With this number, the activations fit into the cache, which halves the time.
CHUNK = 32


class LmTiny(Redrawing, HeldOutSymbols):
    """Language modelling on documents of 64 characters.

    Each document begins with a new word, so that the model sees everything on which the next character depends. The
    target metric `loss` is the cross-entropy on a split, corrected for text that is harder or easier than expected (see
    `corrected`).

    Args:
        variant: name of a variant, which changes a detail of the model; empty for the workload itself.
            `postnorm` normalises after each residual addition.
        eval_every: number of examples between evaluations, for studies that need more evaluations than usual. Such runs
            are not comparable with other runs of the workload.
    """

    facts = LM_TINY
    chunk = CHUNK

    def __init__(self, variant: str = "", eval_every: int | None = None) -> None:
        facts, changes = _VARIANTS[variant]
        if eval_every is not None:
            facts = msgspec.structs.replace(facts, eval_every=eval_every)
        super().__init__(facts, CONFIG | changes)

    def train_data(self, seed: int) -> TensorPool:
        """Return documents that are drawn from the seed.

        The pool has twice as many documents as a run may draw, so no document has to be repeated.

        Field: `tokens_BT` (int64, (n, 65)); the model reads symbols 0 … 63 and predicts 1 … 64.
        """
        n = 2 * self.facts.budget.horizon
        return TensorPool(tokens_BT=as_tensor(documents(n, length=_LENGTH, stream_seed=f"train/{seed}")))

    def held_out_tokens(self, split: Split) -> Tensor:
        return held_out(split, self.sample(split))[0]

    def correction(self, split: Split) -> tuple[Tensor, float]:
        return held_out(split, self.sample(split))[1], entropy()


@cache
def entropy() -> float:
    """Return the entropy of the documents in nats per token. No model has a lower expected loss."""
    return document_entropy(_LENGTH)


@cache
def held_out(split: Split, sample: str = "") -> tuple[Tensor, Tensor]:
    """Return a split's documents, int64 (n, 65), and their exact negative log-likelihoods per token, float64 (n,).

    Args:
        split: name of the held-out split, which decides the number of documents.
        sample: name of the sample (see `Redrawing.sample`); empty for the fixed sample of the split.
    """
    tokens_BT, nats_B = scored_documents(_DOCUMENTS[split], length=_LENGTH, stream_seed=f"held-out/{sample or split}")
    return as_tensor(tokens_BT), torch.tensor(nats_B)


def as_tensor(tokens: Tokens) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64))
