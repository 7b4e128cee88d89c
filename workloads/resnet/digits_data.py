"""The digits of scikit-learn (1,797 handwritten 8x8 images), read from its data file, with a fixed split.

Source: the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.api import DataError
from workloads.resnet.splits import stratified

Part: TypeAlias = Literal["train", "score", "feedback", "audit"]
PARTS: tuple[Part, ...] = ("train", "score", "feedback", "audit")
#: Part -> the percentage of every class that it gets. `train` gets less than half, so that `score` has many images.
SHARES: dict[str, int] = {"train": 45, "score": 30, "feedback": 10, "audit": 15}
CLASSES = 10
IMAGES = 1797
#: Mean and standard deviation of the pixels in [0, 1] over all images. All parts are normalised with them.
PIXEL_MEAN, PIXEL_STD = 0.305, 0.376
_SPLIT_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Images and labels of one part.

    Args:
        images_BHW: float32, pixels in [0, 1], shape (n, 8, 8).
        labels_B: int64, the digit, shape (n,).
        indices_B: int64, positions in the data file, shape (n,).
    """

    images_BHW: NDArray[np.float32]
    labels_B: NDArray[np.int64]
    indices_B: NDArray[np.int64]


def data_file() -> Path:
    """Return the path of scikit-learn's data file without importing scikit-learn, which would take seconds.

    Raises:
        DataError: scikit-learn is not installed, or its data file is missing.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the digits are read from scikit-learn, which is not installed", fix="pip install scikit-learn")
    path = Path(next(iter(spec.submodule_search_locations)), "datasets", "data", "digits.csv.gz")
    if not path.is_file():
        raise DataError(f"{path} is missing", fix="pip install --force-reinstall scikit-learn")
    return path


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read all images (float32 in [0, 1], shape (1797, 8, 8)) and labels (int64, shape (1797,)) of a data file.

    Raises:
        DataError: the file is missing or damaged, or its table has another shape.
    """
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}", fix="pip install --force-reinstall scikit-learn") from error
    if table.shape != (IMAGES, 65):
        raise DataError(f"{path} holds a table of shape {table.shape}, expected ({IMAGES}, 65)")
    return table[:, :64].reshape(-1, 8, 8) / np.float32(16.0), table[:, 64].astype(np.int64)


@cache
def load(part: Part) -> Digits:
    """Return one of the four disjoint parts. A part is the same on every machine.

    The arrays are shared by all callers and must not be changed.

    Raises:
        DataError: the data file is missing or damaged.
    """
    images, labels = _read_installed()
    indices = stratified(labels, SHARES, _SPLIT_SEED)[part]
    return Digits(images_BHW=images[indices], labels_B=labels[indices], indices_B=indices)


@cache
def _read_installed() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return read(data_file())


def normalised(images_BHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise pixels in [0, 1] to about zero mean and unit variance. The shape stays the same."""
    return (images_BHW - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)


def shifted(images_BHW: NDArray[np.float32], reach: int = 1) -> NDArray[np.float32]:
    """Return k copies of the images, one for each shift by up to `reach` pixels, shape (k, B, H, W).

    k is (2·reach + 1)². The first copy is not shifted. Edges are filled with black.

    >>> shifted(np.ones((3, 8, 8), np.float32)).shape
    (9, 3, 8, 8)
    """
    height, width = images_BHW.shape[1:]
    padded = np.pad(images_BHW, ((0, 0), (reach, reach), (reach, reach)))
    moves = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    moves.sort(key=lambda move: (abs(move[0]) + abs(move[1]), move))
    return np.stack([padded[:, reach + dy :, reach + dx :][:, :height, :width] for dy, dx in moves])
