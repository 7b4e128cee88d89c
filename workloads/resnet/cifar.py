"""The workloads `resnet9-cifar10` and `resnet-cifar10`: a wide ResNet-9 and a ResNet-18 with accuracy targets."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.api import WHOLE, Batch, Pool, Shard, Split, dataset_path
from workloads.datasets import CIFAR10
from workloads.formats import cifar
from workloads.resnet import model, resnet9
from workloads.resnet.augment import AugmentedPool, normalised
from workloads.resnet.classifier import ImageClassifier, pieces
from workloads.resnet.facts import RESNET9_CIFAR10, RESNET_CIFAR10
from workloads.resnet.model import ResnetConfig
from workloads.resnet.splits import stratified

#: Part of the 50,000 training images -> its size in percent. A part contains this percentage of the images of every
#: class. The split `score` is the whole test set.
SHARES = {"train": 94, "feedback": 2, "audit": 4}
#: Mean and standard deviation per channel of the pixels in [0, 1] over the 50,000 training images.
PIXEL_MEAN, PIXEL_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_SPLIT_SEED = 3
#: Maximum shift of an image in pixels.
_REACH = 4
#: Number of images per forward pass of an evaluation.
_CHUNK = 1_000


class _Cifar(ImageClassifier):
    """Image classification on CIFAR-10. When images are drawn, they are padded by reflection, cropped and flipped.

    The pool does this on the device of the model.
    """

    _model: weakref.ref[nn.Module] | None = None

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        network = super().build_model(seed, **options)
        self._model = weakref.ref(network)
        return network

    def train_data(self, seed: int) -> Pool:
        """Return the pool, which is kept on the model's device. Only its augmentation depends on the seed.

        Raises:
            DataError: a file is missing or damaged.
        """
        images_BHWC, labels_B = _part(dataset_path(CIFAR10), "train")
        return AugmentedPool(
            images_BHWC, labels_B, mean=PIXEL_MEAN, std=PIXEL_STD, reach=_REACH, seed=seed, device=self._device()
        )

    def held_out(self, split: Split, shard: Shard = WHOLE) -> Iterator[Batch]:
        for piece in pieces(_held_out(dataset_path(CIFAR10), split, self._device()), _CHUNK, shard):
            x_BCHW = normalised(piece["pixels_BHWC"], PIXEL_MEAN, PIXEL_STD)
            yield Batch(x_BCHW=x_BCHW, labels_B=piece["labels_B"])

    def _device(self) -> torch.device:
        """Return the device of the model that was built last, or the CPU if this model no longer exists."""
        network = self._model() if self._model is not None else None
        return next(network.parameters()).device if network is not None else torch.device("cpu")


class Resnet9Cifar10(_Cifar):
    """The workload `resnet9-cifar10`, with a ResNet-9."""

    def __init__(self) -> None:
        super().__init__(RESNET9_CIFAR10)

    def network(self, seed: int, **options: Any) -> nn.Module:
        config = ResnetConfig(
            channels=3, widths=(64, 128, 256, 512), blocks=(1, 1, 1, 1), channels_last=True, **options
        )
        return resnet9.build(config, seed)


class ResnetCifar10(_Cifar):
    """The workload `resnet-cifar10`, with a ResNet-18 that has a 3x3 stem."""

    def __init__(self) -> None:
        super().__init__(RESNET_CIFAR10)

    def network(self, seed: int, **options: Any) -> nn.Module:
        config = ResnetConfig(
            channels=3, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2), channels_last=True, **options
        )
        return model.build(config, seed)


@cache
def _held_out(folder: Path, split: Split, device: torch.device) -> Batch:
    pixels_BHWC, labels_B = _part(folder, split)
    return Batch(pixels_BHWC=pixels_BHWC, labels_B=labels_B).to(device)


def _part(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return images (uint8, shape (n, 32, 32, 3)) and labels (int64, shape (n,)) of one part."""
    if part == "score":
        return _tensors(*cifar.read(folder / "test_batch.bin"))
    images_BCHW, labels_B = cifar.read_files([folder / f"data_batch_{k}.bin" for k in range(1, 6)])
    chosen = stratified(labels_B, SHARES, _SPLIT_SEED)[part]
    return _tensors(images_BCHW[chosen], labels_B[chosen])


def _tensors(images_BCHW: NDArray[np.uint8], labels_B: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    images_BHWC = np.ascontiguousarray(images_BCHW.transpose(0, 2, 3, 1))
    return torch.from_numpy(images_BHWC), torch.from_numpy(labels_B.astype(np.int64))
