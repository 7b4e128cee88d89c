"""The common base of language-model workloads: model options, loss, and evaluation of sequences.

Symbol and token mean the same here: a character or a GPT-2 token, for example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from harness.api import WHOLE, Batch, BenchError, Kind, Shard, Split, WorkloadFacts, evaluation_rows
from workloads.lm.model import GPTConfig, build, next_symbol_loss, parameter_kinds


class NextSymbol:
    """Base class of workloads in which a GPT predicts each symbol of `tokens_BT` from the previous symbols.

    Args:
        facts: the facts of the workload.
        config: arguments of `GPTConfig`. Values of model options replace them.
    """

    def __init__(self, facts: WorkloadFacts, config: dict[str, Any]) -> None:
        self.facts = facts
        self._config = config
        self._label_smoothing = 0.0

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """Build a new model. `label_smoothing` does not change the model; it is stored and used by `loss`.

        Args:
            seed: seed of the initial weights.
            options: values of options in `facts.model_options`.

        Raises:
            BenchError: an option is not in `facts.model_options`.
        """
        offered = self.facts.model_options
        unknown = sorted(set(options) - set(offered))
        if unknown:
            raise BenchError(
                f"{self.facts.name} has no model option {unknown[0]!r}", fix=f"known: {', '.join(offered)}"
            )
        self._label_smoothing = float(options.pop("label_smoothing", 0.0))
        return build(seed, GPTConfig(**(self._config | options)))

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        return parameter_kinds(model)

    def prepare_evaluation(self, seed: int) -> None:
        """Do nothing: the metrics do not depend on the training data."""

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the cross-entropy in nats per symbol: the mean over examples, or with `per_example` all n values."""
        return next_symbol_loss(
            model, batch["tokens_BT"], per_example=per_example, label_smoothing=self._label_smoothing
        )

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits of the next symbols, shape (n, symbols per example, vocabulary)."""
        logits_BTV: Tensor = model(batch["tokens_BT"][:, :-1])
        return logits_BTV


class HeldOutSymbols(NextSymbol, ABC):
    """Base class of language workloads that are evaluated on held-out sequences.

    Several ranks can divide an evaluation among them.
    """

    #: Number of sequences per forward pass of an evaluation.
    chunk: int
    #: Data type of autocast in an evaluation; no autocast if None.
    dtype: torch.dtype | None = None

    @abstractmethod
    def held_out_tokens(self, split: Split) -> Tensor:
        """Return the sequences of a split, int64 (n, symbols per example + 1)."""

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics of `corrected` if the workload has a correction, and of `mean_loss` if it has none."""
        correction = self.correction(split)
        return mean_loss(measured["nats_B"]) if correction is None else corrected(measured["nats_B"], *correction)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """Return `nats_B` (float64), the cross-entropy of each sequence of a shard (a part of the split).

        The unit is nats per symbol.
        """
        tokens_BT = self.held_out_tokens(split)
        if shard.windowed:
            tokens_BT = tokens_BT[evaluation_rows(shard, len(tokens_BT))]
        else:
            rows = shard.rows(len(tokens_BT), self.chunk)
            tokens_BT = tokens_BT[rows.start : rows.stop]
        return {"nats_B": sequence_losses(model, tokens_BT, self.chunk, self.dtype)}

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return metric -> one value per sequence. The mean of these values is the metric."""
        loss_B, correction = measured["nats_B"], self.correction(split)
        if correction is None:
            return {"loss": (loss_B,)}
        nats_B, entropy = correction
        excess_B = loss_B - nats_B[evaluation_rows(shard, len(nats_B), self.chunk)]
        return {"loss": (entropy + excess_B,), "excess": (excess_B,), "cross_entropy": (loss_B,)}

    def correction(self, split: Split) -> tuple[Tensor, float] | None:
        """Return each sequence's exact negative log-probability per symbol, and the expectation of these values.

        The language of the workload gives both. Return None if they are not known.
        """
        return None

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics on a split; see `metrics`.

        Args:
            model: in eval mode.
            split: name of the held-out split.
            stage: not used.
        """
        return self.metrics(self.measure(model, split), split)


def sequence_losses(model: nn.Module, tokens_BT: Tensor, chunk: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return the cross-entropy of each sequence in nats per symbol, float64 (B,), on the CPU and without gradients.

    Args:
        model: in eval mode.
        tokens_BT: the sequences, int64, (B, T + 1).
        chunk: number of sequences per forward pass. The cache or the memory of the device limits it.
        dtype: data type of autocast; no autocast if None.
    """
    if not len(tokens_BT):
        return torch.empty(0, dtype=torch.float64)
    device = next(model.parameters()).device
    autocast = nullcontext() if dtype is None else torch.autocast(device.type, dtype)
    with torch.no_grad(), autocast:
        parts = [
            next_symbol_loss(model, part.to(device), per_example=True).float() for part in torch.split(tokens_BT, chunk)
        ]
        # The results are copied all at once, because the host waits for the device at every copy.
        return torch.cat(parts).cpu().double()


def mean_loss(nats_B: Tensor) -> dict[str, float]:
    """Return `loss`, the mean in nats per symbol, and `se`, its standard error over sequences."""
    return {"loss": float(nats_B.mean()), "se": float(nats_B.std() / len(nats_B) ** 0.5)}


def corrected(loss_B: Tensor, nats_B: Tensor, entropy: float) -> dict[str, float]:
    """Return `loss`, its standard error `se`, `excess` (loss − entropy) and the plain mean `cross_entropy`.

    All metrics are in nats per symbol. `cross_entropy` is the mean of `loss_B`. `loss` corrects it for text that is
    easier or harder than expected: loss = cross_entropy − (mean of `nats_B` − `entropy`). The correction is a control
    variate: the expectation stays the same, and the standard error becomes smaller.

    Args:
        loss_B: cross-entropy of each sequence in nats per symbol.
        nats_B: minus the exact log-probability per symbol of each sequence.
        entropy: the expectation of `nats_B`.
    """
    excess_B = loss_B - nats_B
    excess = float(excess_B.mean())
    # The divisor of the variance is n, so that tests can use a single sequence.
    se = float(excess_B.std(correction=0) / len(excess_B) ** 0.5)
    return {"loss": entropy + excess, "se": se, "excess": excess, "cross_entropy": float(loss_B.mean())}
