"""MNIST's images and labels in four disjoint parts, for the workloads that train on them.

Source: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition (1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.api import DataError, dataset_path
from workloads.datasets import MNIST
from workloads.formats import idx

Part: TypeAlias = Literal["train", "score", "feedback", "audit"]
CLASSES = 10
PIXELS = 784
#: Of the pixels in [0, 1] over the training file; constants, so that no part has an influence on another.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081
#: Shares of the training file, in sixtieths and in this order; `audit` is the test file, which no run ever sees.
#: Which image is in which part depends on its content and not on its place: copies in another order are as good.
_SHARES: dict[Part, int] = {"train": 50, "feedback": 2, "score": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Images and labels of one part.

    Args:
        x_BCHW: uint8, shape (n, 1, 28, 28).
        labels_B: int64, the digit, shape (n,).
    """

    x_BCHW: Tensor
    labels_B: Tensor


def load(part: Part) -> Digits:
    """One of the four disjoint parts; the same images in every run. Do not write to the tensors.

    Raises:
        DataError: the dataset is not here, or a file of it is damaged.
    """
    # The folder is looked up at every call: it may be another one than at the last.
    folder = str(dataset_path(MNIST))
    if part == "audit":
        return _read(folder, "t10k")
    everything = _read(folder, "train")
    size, start = len(everything.labels_B), 0
    for name, share in _SHARES.items():
        end = start + size * share // 60
        if name == part:
            return Digits(x_BCHW=everything.x_BCHW[start:end], labels_B=everything.labels_B[start:end])
        start = end
    raise DataError(f"MNIST has no part {part!r}")


@cache
def _read(folder: str, prefix: str) -> Digits:
    images, labels = (f"{folder}/{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    x_NHW, y_N = idx.read_pair(Path(images), Path(labels))
    if x_NHW.shape[1:] != (28, 28):
        raise DataError(f"{images} holds images of {x_NHW.shape[1]}x{x_NHW.shape[2]}, expected 28x28")
    order_N = _by_content(x_NHW, y_N)
    return Digits(x_BCHW=torch.tensor(x_NHW[order_N])[:, None], labels_B=torch.tensor(y_N[order_N]).long())


def _by_content(x_NHW: NDArray[Any], y_N: NDArray[Any]) -> NDArray[np.int64]:
    """Positions in the order of a hash of image and label: the same images, whatever order the files have them in."""
    rows = np.concatenate([x_NHW.reshape(len(x_NHW), -1), y_N[:, None]], axis=1)
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.argsort(np.frombuffer(digests, dtype=">u8"), kind="stable")


def normalised(x: Tensor) -> Tensor:
    """Pixels (uint8) as float32 of about zero mean and unit variance, same shape.

    >>> normalised(torch.zeros(1, dtype=torch.uint8)).item() < 0
    True
    """
    return (x.float() / 255.0 - PIXEL_MEAN) / PIXEL_STD


def noisy(labels_B: Tensor, rates_B: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Labels of which each is replaced, with the probability in `rates_B`, by another class at random.

    Args:
        labels_B: int64, shape (n,), below `classes`.
        rates_B: probabilities, shape (n,).
        generator: the source of randomness.
    """
    wrong_B = torch.rand(len(labels_B), generator=generator) < rates_B
    shift_B = torch.randint(1, classes, labels_B.shape, generator=generator)
    return torch.where(wrong_B, (labels_B + shift_B) % classes, labels_B)
