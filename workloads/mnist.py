"""The images and labels of MNIST in four disjoint parts, for the workloads that train on MNIST.

Source: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition (1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.api import DataError, cached_arrays, dataset_path
from workloads.datasets import MNIST
from workloads.formats import idx

Part: TypeAlias = Literal["train", "score", "feedback", "audit"]
CLASSES = 10
PIXELS = 784
#: Mean and standard deviation of the pixels in [0, 1] over the training file. All parts are normalised with them.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081
#: Sizes of the parts of the training file, in sixtieths of the file. The part `audit` is the test file, from which no
#: other part is taken. The part of an image depends on its content and not on its position. Copies of the dataset in
#: another order therefore give the same parts.
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
    """Return one of the four disjoint parts. A part has the same images in every run.

    The tensors are shared by all callers and must not be changed.

    Raises:
        DataError: the dataset is missing, or one of its files is damaged.
    """
    # The folder is looked up at every call, because the setting BENCH_DATA may change between calls.
    return _load(str(dataset_path(MNIST)), part)


@cache
def _load(folder: str, part: Part) -> Digits:
    """Return a part of the dataset in `folder`; see `load`."""
    if part == "audit":
        return _copy(_read(folder, "t10k"))
    whole = _read(folder, "train")
    size, start = len(whole["labels_N"]), 0
    for name, share in _SHARES.items():
        end = start + size * share // 60
        if name == part:
            return _copy(whole, start, end)
        start = end
    raise DataError(f"MNIST has no part {part!r}; expected train, score, feedback or audit")


def _copy(arrays: dict[str, NDArray[Any]], start: int = 0, end: int | None = None) -> Digits:
    """Return some of the images and labels. They are copied, because arrays from the cache are read-only."""
    x_BHW, y_B = arrays["x_NHW"][start:end].copy(), arrays["labels_N"][start:end].copy()
    return Digits(x_BCHW=torch.from_numpy(x_BHW)[:, None], labels_B=torch.from_numpy(y_B))


@cache
def _read(folder: str, prefix: str) -> dict[str, NDArray[Any]]:
    """Return `x_NHW` (uint8, (n, 28, 28)) and `labels_N` (int64, (n,)) of a pair of files, sorted by content.

    They are cached, because decompressing and sorting them takes longer than many a short run trains.

    Raises:
        DataError: a file is damaged.
    """
    images, labels = (Path(f"{folder}/{prefix}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))

    def make() -> dict[str, NDArray[Any]]:
        x_NHW, y_N = idx.read_pair(images, labels)
        if x_NHW.shape[1:] != (28, 28):
            raise DataError(f"{images} holds images of {x_NHW.shape[1]}x{x_NHW.shape[2]}, expected 28x28")
        order_N = _order_by_content(x_NHW, y_N)
        return {"x_NHW": x_NHW[order_N], "labels_N": y_N[order_N].astype(np.int64)}

    digests = [sha256(path.read_bytes()).hexdigest() for path in (images, labels)]
    return cached_arrays(f"mnist {' '.join(digests)}", make)


def _order_by_content(x_NHW: NDArray[Any], y_N: NDArray[Any]) -> NDArray[np.int64]:
    """Return the images' positions, sorted by a hash of image and label.

    The order in the file therefore has no effect.
    """
    rows = np.concatenate([x_NHW.reshape(len(x_NHW), -1), y_N[:, None]], axis=1)
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.argsort(np.frombuffer(digests, dtype=">u8"), kind="stable")


def normalised(x: Tensor) -> Tensor:
    """Normalise pixels (uint8) to about zero mean and unit variance (float32, same shape).

    >>> normalised(torch.zeros(1, dtype=torch.uint8)).item() < 0
    True
    """
    return (x.float() / 255.0 - PIXEL_MEAN) / PIXEL_STD


def noisy(labels_B: Tensor, rates_B: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Return the labels with noise: each label is replaced by a random other class with a given probability.

    Args:
        labels_B: the labels, int64, shape (n,), from 0 to `classes` - 1.
        rates_B: the probability that each label is replaced, shape (n,).
        classes: number of classes.
        generator: random number generator.
    """
    wrong_B = torch.rand(len(labels_B), generator=generator) < rates_B
    shift_B = torch.randint(1, classes, labels_B.shape, generator=generator)
    return torch.where(wrong_B, (labels_B + shift_B) % classes, labels_B)
