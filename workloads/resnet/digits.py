"""The workload `resnet-digits`: a small residual network on scikit-learn's digits, with a target cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import nn

from harness.api import WHOLE, Batch, Pool, Shard, Split, TensorPool
from workloads.resnet import digits_data
from workloads.resnet.classifier import ImageClassifier, pieces
from workloads.resnet.facts import DIGITS_VARIANTS
from workloads.resnet.model import ResnetConfig, build

#: Number of images per forward pass of an evaluation. With more images per pass, the activations do not fit into the
#: cache of a core.
_CHUNK = 128
_DETAILS: dict[str, dict[str, Any]] = {"": {}, "gelu": {"activation": "gelu"}}


class ResnetDigits(ImageClassifier):
    """Classification of scikit-learn's digits. The pool has nine copies of each image, shifted by up to one pixel.

    Held-out images are not shifted. The copies are made when the pool is built, so that training draws no random
    numbers for augmentation. With the copies, the held-out cross-entropy keeps falling. Without them, it would rise
    after a few passes.

    Args:
        variant: name of a variant in `DIGITS_VARIANTS`; empty for the workload itself.
    """

    facts = DIGITS_VARIANTS[""]

    def __init__(self, variant: str = "") -> None:
        super().__init__(DIGITS_VARIANTS[variant])
        self._details = _DETAILS[variant]

    def network(self, seed: int, **options: Any) -> nn.Module:
        return build(ResnetConfig(widths=(32, 64), **(self._details | options)), seed)

    def train_data(self, seed: int) -> Pool:
        """Return the pool, which is the same for every seed.

        Fields: `x_BCHW` (float32, (n, 1, 8, 8)) and `labels_B` (int64, (n,)).
        """
        digits = digits_data.load("train")
        copies = digits_data.normalised(digits_data.shifted(digits.images_BHW))
        labels_B = torch.from_numpy(digits.labels_B).repeat(len(copies))
        return TensorPool(x_BCHW=torch.from_numpy(copies).reshape(-1, 1, 8, 8), labels_B=labels_B)

    def held_out(self, split: Split, shard: Shard = WHOLE) -> Iterator[Batch]:
        images = _held_out(split)
        return pieces(images, _CHUNK, shard)


@cache
def _held_out(split: Split) -> Batch:
    digits = digits_data.load(split)
    x_BHW = torch.from_numpy(digits_data.normalised(digits.images_BHW))
    return Batch(x_BCHW=x_BHW[:, None], labels_B=torch.from_numpy(digits.labels_B))
