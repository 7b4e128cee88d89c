"""The workload `continual-lm`: a small GPT is trained on one domain of a synthetic language, then on another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from harness.api import WHOLE, Shard, Split, StagedStream, TensorPool
from workloads.continual.lm_facts import CONTINUAL_LM, CONTINUAL_LM_NARROW
from workloads.lm.common import NextSymbol, corrected, sequence_losses
from workloads.lm.documents import document_entropy, documents, scored_documents
from workloads.lm.tiny import CHUNK, CONFIG, as_tensor
from workloads.redrawing import Redrawing

_LENGTH = CONTINUAL_LM.tokens_per_example + 1
#: Name of a variant → the facts of the variant, and the arguments of `GPTConfig` that the variant changes.
_VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "": (CONTINUAL_LM, {}),
    "narrow": (CONTINUAL_LM_NARROW, {"width": 48}),
}
#: Number of documents per domain in each held-out split.
_DOCUMENTS: dict[Split, int] = {"feedback": 128, "score": 384, "audit": 2048}


class ContinualLm(Redrawing, NextSymbol):
    """Two stages. Each stage trains on the documents of one domain of the language.

    Domains have the same words, but different word classes, frequencies and grammar. Examples do not name their domain.
    The metric `loss/<k>` is the cross-entropy on domain k, corrected as in `lm-tiny`. The metric `loss` is the mean of
    `loss/<k>` over the domains seen so far, and `se` is the standard error of `loss`.

    Args:
        variant: name of a variant, which changes a detail of the model; empty for the workload itself.
            `narrow` has three quarters of the width.
    """

    facts = CONTINUAL_LM

    def __init__(self, variant: str = "") -> None:
        facts, changes = _VARIANTS[variant]
        super().__init__(facts, CONFIG | changes)

    def train_data(self, seed: int) -> StagedStream:
        """Return the stream. The pool of a stage has twice as many documents as the stage's maximum number of examples.

        Field: `tokens_BT` (int64, (n, 65)).

        Args:
            seed: seed of the documents and of their order.
        """
        pools = [
            TensorPool(
                tokens_BT=as_tensor(
                    documents(
                        2 * stage.max_examples,
                        length=_LENGTH,
                        stream_seed=f"continual/train/{seed}",
                        domain=domain,
                    )
                )
            )
            for domain, stage in enumerate(self.facts.stages)
        ]
        return StagedStream(pools, seed)

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Return `loss/<k>` of every domain k seen so far, the mean `loss`, and their standard errors.

        The standard errors have the names `se/<k>` and `se`. All metrics are in nats per token.

        Args:
            model: in eval mode.
            split: name of the held-out split.
            stage: index of the current stage, from 0; None for both stages.
        """
        return self.metrics(self.measure(model, split, WHOLE, stage), split, stage)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """Return `nats/<k>` (float64) of every domain k seen so far: each document's loss in nats per token.

        Only a shard (part) of the split's documents is measured. The documents are drawn independently, so the first
        ones are a random sample.
        """
        measured = {}
        for k in range(len(self.facts.stages) if stage is None else stage + 1):
            tokens_BT = held_out(split, k, self.sample(split))[0]
            rows = shard.rows(len(tokens_BT), CHUNK)
            measured[f"nats/{k}"] = sequence_losses(model, tokens_BT[rows.start : rows.stop], CHUNK)
        return measured

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics of `evaluate`, computed from the values of `measure`."""
        sample = self.sample(split)
        domains = [
            corrected(measured[f"nats/{k}"], held_out(split, k, sample)[1], entropy(k)) for k in range(len(measured))
        ]
        loss = sum(domain["loss"] for domain in domains) / len(domains)
        se = sum(domain["se"] ** 2 for domain in domains) ** 0.5 / len(domains)
        metrics = {"loss": loss, "se": se}
        for k, domain in enumerate(domains):
            metrics |= {f"loss/{k}": domain["loss"], f"se/{k}": domain["se"]}
        return metrics

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return metric -> tensors with one value per document: one tensor per domain for `loss`, one for `loss/<k>`.

        The metric is the mean of the tensors' means.
        """
        domains = []
        for k in range(len(measured)):
            nats_B = held_out(split, k, self.sample(split))[1]
            rows = shard.rows(len(nats_B), CHUNK)
            domains.append(entropy(k) + measured[f"nats/{k}"] - nats_B[rows.start : rows.stop])
        return {"loss": tuple(domains), **{f"loss/{k}": (values_B,) for k, values_B in enumerate(domains)}}


@cache
def entropy(domain: int) -> float:
    """Return the entropy of a domain's documents in nats per token. No model has a lower expected loss."""
    return document_entropy(_LENGTH, domain)


@cache
def held_out(split: Split, domain: int, sample: str = "") -> tuple[Tensor, Tensor]:
    """Return a split's documents of a domain, int64 (n, 65), and their exact nats per token, float64 (n,).

    The nats are the negative log-likelihood of a document in the language.

    Args:
        split: name of the held-out split, which decides the number of documents.
        domain: index of the domain.
        sample: name of the sample (see `Redrawing.sample`); empty for the fixed sample of the split.
    """
    tokens_BT, nats_B = scored_documents(
        _DOCUMENTS[split], length=_LENGTH, stream_seed=f"continual/held-out/{sample or split}", domain=domain
    )
    return as_tensor(tokens_BT), torch.tensor(nats_B)
