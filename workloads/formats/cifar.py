"""Read the binary format of CIFAR-10. A record has a label byte, then 3,072 bytes of red, green and blue planes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.api import DataError

RECORD = 1 + 3 * 32 * 32
CLASSES = 10


def read(path: Path, records: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one batch file: images (uint8, shape (n, 3, 32, 32)) and labels (uint8, shape (n,)).

    Args:
        records: required number of records; any number if None.

    Raises:
        DataError: the file is empty, its size is not a multiple of the record size, the number of records is wrong, or
            a label is greater than 9.
        FileNotFoundError: the file does not exist.
    """
    size = path.stat().st_size
    if size == 0 or size % RECORD:
        raise DataError(
            f"{path} has {size:,} bytes, expected a multiple of {RECORD:,} (one label byte and 3×32×32 pixels)"
        )
    if records is not None and size != records * RECORD:
        raise DataError(f"{path} has {size // RECORD:,} records, expected {records:,}")
    raw = np.fromfile(path, np.uint8).reshape(-1, RECORD)
    labels = raw[:, 0].copy()
    if labels.max() >= CLASSES:
        index = int(np.argmax(labels >= CLASSES))
        raise DataError(f"{path}: the label of record {index} is {labels[index]}, expected 0 to {CLASSES - 1}")
    return raw[:, 1:].reshape(-1, 3, 32, 32), labels


def read_files(paths: Sequence[Path], records: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read several batch files and concatenate them.

    Args:
        records: required number of records of each file.

    Raises:
        DataError: see `read`.
    """
    parts = [read(path, records) for path in paths]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def check(path: Path) -> None:
    """Raise DataError if a file is not a complete batch of 10,000 records."""
    read(path, records=10_000)
