"""The workload `resnet50-imagenet`: a ResNet-50 on ImageNet, with AlgoPerf's target accuracy.

Source: Dahl et al., Benchmarking Neural Network Training Algorithms (arXiv 2306.07179), the ImageNet ResNet workload.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from harness.api import WHOLE, Batch, Pool, Shard, Split, dataset_path, evaluation_rows
from workloads.datasets import IMAGENET
from workloads.formats import imagefolder
from workloads.resnet.classifier import ImageClassifier
from workloads.resnet.facts import RESNET50_IMAGENET
from workloads.resnet.model import ResnetConfig, build
from workloads.resnet.photos import PhotoPool, Photos
from workloads.resnet.splits import stratified

CLASSES = 1_000
#: Part -> its percentage of the training images of every class. `score` is the whole validation set.
SHARES = {"train": 97, "feedback": 1, "audit": 2}
_SPLIT_SEED = 4
#: Number of images per forward pass of an evaluation.
_CHUNK = 500


class Resnet50Imagenet(ImageClassifier):
    """Image classification on ImageNet. In training, images are cropped at random, resized to 224x224 and flipped.

    Evaluation uses the central crop.

    Args:
        classes, size: number of classes and image size, for runs on another folder of images. With values other than
            the defaults, a run is not a run of this workload.
    """

    def __init__(self, classes: int = CLASSES, size: int = 224) -> None:
        super().__init__(RESNET50_IMAGENET)
        self._classes = classes
        self._size = size

    def network(self, seed: int, **options: Any) -> nn.Module:
        config = ResnetConfig(
            channels=3,
            classes=self._classes,
            widths=(64, 128, 256, 512),
            blocks=(3, 4, 6, 3),
            block="bottleneck",
            stem="conv7",
            channels_last=True,
            **options,
        )
        return build(config, seed)

    def train_data(self, seed: int) -> Pool:
        """Return the pool, whose images are decoded when they are drawn. Only its augmentation depends on the seed.

        Raises:
            DataError: a folder is missing or does not contain one folder per class.
        """
        return PhotoPool(self._photos("train"), seed)

    def held_out(self, split: Split, shard: Shard = WHOLE) -> Iterator[Batch]:
        photos = self._photos(split)
        rows = evaluation_rows(shard, len(photos), _CHUNK).tolist()
        for start in range(0, len(rows), _CHUNK):
            yield photos.middles(rows[start : start + _CHUNK])

    def _photos(self, part: str) -> Photos:
        return Photos(_samples(dataset_path(IMAGENET), part, self._classes), self._size)


@cache
def _samples(folder: Path, part: str, classes: int) -> list[tuple[Path, int]]:
    """Return (path, label) of every image of a part.

    Raises:
        DataError: `train` or `val` does not contain one folder per class, or the classes of the two folders differ.
    """
    tree = imagefolder.scan(folder / ("val" if part == "score" else "train"), classes)
    imagefolder.require_same_classes(folder / "val", like=folder / "train")
    if part == "score":
        return tree.samples
    samples = tree.samples
    chosen = stratified(np.array([label for _, label in samples]), SHARES, _SPLIT_SEED)[part]
    return [samples[at] for at in chosen]
