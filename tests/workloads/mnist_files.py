"""Tiny files in MNIST's format, for tests without the dataset; and the real one, where it can be had."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import manage
from workloads.datasets import MNIST

SOURCE = os.environ.get("BENCH_DATA_SOURCE")
needs_source = pytest.mark.skipif(not SOURCE, reason="BENCH_DATA_SOURCE is not set: no real MNIST")


def write(folder: Path, *, train: int = 600, shuffle: bool = False) -> Path:
    """Some training and 200 test images, each with a bright square whose place is its class.

    Args:
        folder: where.
        train: number of training images.
        shuffle: the same images in another order.
    """
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for prefix, n in (("train", train), ("t10k", 200)):
        labels = random.permutation(np.tile(np.arange(10, dtype=np.uint8), n // 10))
        images = random.integers(0, 60, (n, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[7 * row : 7 * row + 7, 7 * column : 7 * column + 7] += 180
        if shuffle:
            order = np.random.default_rng(1).permutation(n)
            images, labels = images[order], labels[order]
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    return folder


def take_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the real dataset in `folder`, linked from the source."""
    assert SOURCE
    monkeypatch.setenv("BENCH_DATA", str(folder))
    manage.import_folder(MNIST, Path(SOURCE) / "mnist", accept_checksum=True)
