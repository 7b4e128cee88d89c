"""The workload `resnet-digits`: a small residual network on scikit-learn's digits, to a held-out cross-entropy."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from harness.api import Batch, BenchError, Kind, Pool, Split, TensorPool
from workloads.resnet import digits_data
from workloads.resnet.facts import RESNET_DIGITS
from workloads.resnet.model import ResnetConfig, build, parameter_kinds

_WIDTHS = (32, 64)
_OPTIONS = ("activation", "dropout", "label_smoothing", "norm")


class ResnetDigits:
    """A part of the digits, each in nine copies moved by up to one pixel, as a pool; the rest is held out, unmoved.

    The copies are part of the pool, so no randomness is drawn while training, and held-out cross-entropy
    goes on falling where it would otherwise turn up after a few passes.
    """

    facts = RESNET_DIGITS

    def __init__(self) -> None:
        self._label_smoothing = 0.0

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """A fresh network; `label_smoothing` does not change it but is remembered for `loss`.

        Args:
            seed: of the initial weights.
            options: of `facts.model_options`.

        Raises:
            BenchError: an option that is not offered.
        """
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise BenchError(
                f"{self.facts.name} has no model option {unknown[0]!r}", fix=f"known: {', '.join(_OPTIONS)}"
            )
        options = dict(options)
        self._label_smoothing = float(options.pop("label_smoothing", 0.0))
        return build(ResnetConfig(widths=_WIDTHS, **options), seed)

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        return parameter_kinds(model)

    def train_data(self, seed: int) -> Pool:
        """The pool, the same for every seed: fields `x_BCHW` (float32, (n, 1, 8, 8)) and `labels_B` (int64, (n,))."""
        digits = digits_data.load("train")
        copies = digits_data.normalised(digits_data.shifted(digits.images_BHW))
        labels_B = torch.from_numpy(digits.labels_B).repeat(len(copies))
        return TensorPool(x_BCHW=torch.from_numpy(copies).reshape(-1, 1, 8, 8), labels_B=labels_B)

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Cross-entropy in nats with label smoothing where it was requested: the mean, or of each example, (n,)."""
        return nn.functional.cross_entropy(
            model(batch["x_BCHW"]),
            batch["labels_B"],
            reduction="none" if per_example else "mean",
            label_smoothing=self._label_smoothing,
        )

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits, shape (n, 10)."""
        logits_BK: Tensor = model(batch["x_BCHW"])
        return logits_BK

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """`cross_entropy` (nats, never smoothed) and `accuracy` on a held-out split."""
        device = next(model.parameters()).device
        x_BCHW, labels_B = (t.to(device) for t in _held_out(split))
        with torch.no_grad():
            logits_BK = model(x_BCHW).float()
        return {
            "cross_entropy": float(nn.functional.cross_entropy(logits_BK, labels_B)),
            "accuracy": float((logits_BK.argmax(1) == labels_B).double().mean()),
        }


@cache
def _held_out(split: Split) -> tuple[Tensor, Tensor]:
    digits = digits_data.load(split)
    x_BHW = torch.from_numpy(digits_data.normalised(digits.images_BHW))
    return x_BHW[:, None], torch.from_numpy(digits.labels_B)
