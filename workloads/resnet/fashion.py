"""The workload `resnet-fashion`: a small residual network on Fashion-MNIST, with a target cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.api import WHOLE, Batch, Pool, Shard, Split, TensorPool, dataset_path
from workloads.datasets import FASHION_MNIST
from workloads.formats import idx
from workloads.resnet.classifier import ImageClassifier, pieces
from workloads.resnet.facts import FASHION_VARIANTS
from workloads.resnet.model import ResnetConfig, build
from workloads.resnet.splits import stratified

#: Part -> its percentage of each class of the 10,000 test images. `score` is read at every evaluation, `audit` only
#: once.
SHARES = {"score": 40, "feedback": 10, "audit": 50}
#: Mean and standard deviation of the pixels in [0, 1] over the 60,000 training images.
PIXEL_MEAN, PIXEL_STD = 0.2860, 0.3530
#: The first of the seeds 1 to 30 with which the three parts are about equally hard: a trained model has cross-entropies
#: of 0.264, 0.257 and 0.259. With other seeds, its cross-entropies on `audit` and `score` differ by up to 0.03 (three
#: standard errors).
_SPLIT_SEED = 1
#: Number of images per forward pass of an evaluation. With this number, the activations fit into the cache.
_CHUNK = 250
_DETAILS: dict[str, dict[str, Any]] = {
    "": {},
    # The residual branches are active from the start. In the workload itself, blocks start as the identity.
    "unit-init": {"zero_init": False},
}


class ResnetFashion(ImageClassifier):
    """Classification of Fashion-MNIST. The pool has all 60,000 training images, without augmentation.

    The held-out splits are parts of the test images. The budget is about one and a half passes over the pool, during
    which the held-out cross-entropy keeps falling.

    Args:
        variant: name of a variant in `FASHION_VARIANTS`; empty for the workload itself.
    """

    def __init__(self, variant: str = "") -> None:
        super().__init__(FASHION_VARIANTS[variant])
        self._details = _DETAILS[variant]

    def network(self, seed: int, **options: Any) -> nn.Module:
        config: dict[str, Any] = {
            "widths": (16, 32, 64),
            "blocks": (1, 1, 1),
            "stem": "conv3-half",
            "channels_last": True,
        }
        return build(ResnetConfig(**(config | self._details | options)), seed)

    def train_data(self, seed: int) -> Pool:
        """Return the pool, which does not depend on the seed.

        Fields: `x_BCHW` (float32, (n, 1, 28, 28)) and `labels_B` (int64, (n,)).

        Raises:
            DataError: a file is missing or damaged.
        """
        whole = _batch(*_read(_folder(), "train"))
        return TensorPool(x_BCHW=whole["x_BCHW"], labels_B=whole["labels_B"])

    def held_out(self, split: Split, shard: Shard = WHOLE) -> Iterator[Batch]:
        return pieces(_held_out(_folder(), split), _CHUNK, shard)


def _folder() -> Path:
    return dataset_path(FASHION_MNIST)


def _read(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return idx.read_pair(folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz")


@cache
def _held_out(folder: Path, split: Split) -> Batch:
    images_BHW, labels_B = _read(folder, "t10k")
    chosen = stratified(labels_B, SHARES, _SPLIT_SEED)[split]
    return _batch(images_BHW[chosen], labels_B[chosen])


def _batch(images_BHW: NDArray[np.uint8], labels_B: NDArray[np.uint8]) -> Batch:
    # The arithmetic is in place, because each copy of the training images takes 190 MB as float32.
    x_BHW: Tensor = torch.from_numpy(images_BHW.astype(np.float32))
    x_BHW.div_(255.0 * PIXEL_STD).sub_(PIXEL_MEAN / PIXEL_STD)
    return Batch(x_BCHW=x_BHW[:, None], labels_B=torch.from_numpy(labels_B.astype(np.int64)))
