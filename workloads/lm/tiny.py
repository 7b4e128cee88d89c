"""The workload `lm-tiny`: a two-layer GPT reads characters of a synthetic language whose entropy is known."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.api import Batch, BenchError, Kind, Split, TensorPool
from workloads.lm.facts import LM_TINY
from workloads.lm.language import Language, Tokens
from workloads.lm.model import GPTConfig, build, next_symbol_loss, parameter_kinds

LANGUAGE_SEED = 1
_LENGTH = LM_TINY.tokens_per_example + 1
_CONFIG: dict[str, Any] = {
    "layers": 2,
    "width": 64,
    "heads": 2,
    "context": LM_TINY.tokens_per_example,
    "vocabulary": Language.vocabulary,
    "norm": "layernorm",
    "activation": "relu2",
    "qk_norm": True,
}
#: Documents of each held-out split: `score` is read at every evaluation, `audit` once.
_DOCUMENTS: dict[Split, int] = {"feedback": 256, "score": 1024, "audit": 2048}
#: Documents per forward pass: activations stay in the cache, which halves the time.
_CHUNK = 64


class LmTiny:
    """Documents of 64 characters, each beginning at the start of a word, so that all of the past is in sight.

    The target metric `loss` is the model's cross-entropy on a split, corrected by how much harder or easier than
    expected the split's text is: the text's exact log-probability is known, and so is its expectation (a control
    variate). Its expectation is the cross-entropy itself; its error is smaller.
    """

    facts = LM_TINY

    def __init__(self) -> None:
        self._label_smoothing = 0.0

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """A fresh model; `label_smoothing` does not change it but is remembered for `loss`.

        Args:
            seed: of the initial weights.
            options: of `facts.model_options`.

        Raises:
            BenchError: an option that is not offered.
        """
        offered = self.facts.model_options
        unknown = sorted(set(options) - set(offered))
        if unknown:
            raise BenchError(
                f"{self.facts.name} has no model option {unknown[0]!r}", fix=f"known: {', '.join(offered)}"
            )
        self._label_smoothing = float(options.pop("label_smoothing", 0.0))
        return build(seed, GPTConfig(**(_CONFIG | options)))

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        return parameter_kinds(model)

    def train_data(self, seed: int) -> TensorPool:
        """Documents drawn from the seed, enough for twice the horizon, so that no budget sees one again.

        Field: `tokens_BT` (int64, (n, 65)); the model reads symbols 0 … 63 and predicts 1 … 64.
        """
        documents = _language().documents(2 * self.facts.budget.horizon, length=_LENGTH, stream_seed=f"train/{seed}")
        return TensorPool(tokens_BT=_tensor(documents))

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Cross-entropy in nats per token: the mean, or of each example, (n,)."""
        return next_symbol_loss(
            model, batch["tokens_BT"], per_example=per_example, label_smoothing=self._label_smoothing
        )

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits of the next symbol, shape (n, 64, 27)."""
        logits_BTV: Tensor = model(batch["tokens_BT"][:, :-1])
        return logits_BTV

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Nats per token: `loss`, its distance `excess` from the entropy, and the plain mean `cross_entropy`.

        Args:
            model: in eval mode.
            split: which held-out documents.
            stage: not used.
        """
        tokens_BT, nats_B = held_out(split)
        device = next(model.parameters()).device
        with torch.no_grad():
            loss_B = torch.cat(
                [
                    next_symbol_loss(model, part.to(device), per_example=True).cpu()
                    for part in torch.split(tokens_BT, _CHUNK)
                ]
            ).double()
        excess = float((loss_B - nats_B).mean())
        return {"loss": entropy() + excess, "excess": excess, "cross_entropy": float(loss_B.mean())}


@cache
def entropy() -> float:
    """Expected nats per token of a document: no model's loss is lower."""
    return _language().document_entropy(_LENGTH)


@cache
def held_out(split: Split) -> tuple[Tensor, Tensor]:
    """A split's documents, int64 (n, 65), and the exact nats per token of each, float64 (n,)."""
    documents = _language().documents(_DOCUMENTS[split], length=_LENGTH, stream_seed=f"held-out/{split}")
    return _tensor(documents), torch.from_numpy(-_language().log_probs(documents).mean(axis=1))


@cache
def _language() -> Language:
    return Language(LANGUAGE_SEED)


def _tensor(tokens: Tokens) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64))
