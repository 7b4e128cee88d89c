"""Image files for tests: small generated ones in the real formats, and the real ones where they are."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from workloads import datasets

SOURCE = os.environ.get("BENCH_DATA_SOURCE")
FASHION_FILES = [file.name for file in datasets.FASHION_MNIST.files]


def as_idx(array: np.ndarray) -> bytes:
    """A uint8 array as a gzipped idx file."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes(), compresslevel=1)


def write_fashion(folder: Path, train: int = 600, test: int = 200) -> Path:
    """Four idx files of noise with one row lit per class, as many of every class."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", train), ("t10k", test)):
        labels = np.arange(n) % 10
        images = rng.integers(0, 64, (n, 28, 28))
        images[np.arange(n), 2 * labels + 4] = 255
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(as_idx(images))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(as_idx(labels))
    return folder


def write_cifar(folder: Path, per_file: int = 200) -> Path:
    """Five training batches and one of test images, too small for the check of the dataset but right in format."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        records = rng.integers(0, 256, (per_file, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(per_file) % 10
        (folder / name).write_bytes(records.tobytes())
    return folder


def write_tree(folder: Path, train: int = 100, val: int = 3, classes: int = 2) -> Path:
    """A tree of PNG files of 12x10 pixels, a folder per class below train and val."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: no images can be written")
    rng = np.random.default_rng(0)
    for part, n in (("train", train), ("val", val)):
        for label in range(classes):
            place = folder / part / f"n{label:08d}"
            place.mkdir(parents=True)
            for k in range(n):
                pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                image.fromarray(pixels).save(place / f"{k:04d}.png")
    return folder
