"""A tree of images with a folder per class, as ImageNet users have it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.api import DataError

#: Left, upper, right and lower edge in pixels.
Box: TypeAlias = tuple[float, float, float, float]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp"})
#: How files of these formats begin; the others are left to the decoder.
_MAGIC = {".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".png": b"\x89PNG\r\n\x1a\n"}

#: Pillow's number for it, here because importing Pillow must wait.
_BILINEAR = 2


class ImageFolder(NamedTuple):
    """A scanned tree.

    Args:
        classes: folder names in order; the position is the label.
        samples: (path, label) of every image, by class and name.
    """

    classes: tuple[str, ...]
    samples: list[tuple[Path, int]]


def scan(root: Path, classes: int | None = None) -> ImageFolder:
    """List a tree; no image is opened. Hidden files and other suffixes are left out.

    Args:
        classes: how many class folders there must be; any number when None.

    Raises:
        DataError: there is no such folder, the number of classes is another one, or a class has no image.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; expected one folder per class in it")
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if not names or (classes is not None and len(names) != classes):
        raise DataError(f"{root} has {len(names):,} class folders, expected {f'{classes:,}' if classes else 'some'}")
    samples: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        images = sorted(entry.name for entry in os.scandir(root / name) if _is_image(entry.name))
        if not images:
            raise DataError(f"{root / name} has no image ({', '.join(sorted(SUFFIXES))})")
        samples += [(root / name / image, label) for image in images]
    return ImageFolder(tuple(names), samples)


def read_image(path: Path) -> NDArray[np.uint8]:
    """One image, decoded (uint8 RGB, shape (height, width, 3)).

    Raises:
        DataError: it is broken, or Pillow is not installed.
        FileNotFoundError: there is no such file.
    """
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


def read_part(path: Path, box: Callable[[int, int], Box], size: int) -> NDArray[np.uint8]:
    """A part of one image, decoded and scaled (uint8 RGB, shape (size, size, 3)).

    Args:
        box: from the image's width and height to the part's left, upper, right and lower edge.
        size: height and width of what is returned.

    Raises:
        DataError: it is broken, or Pillow is not installed.
        FileNotFoundError: there is no such file.
    """
    with _opened(path) as image:
        left, upper, right, lower = box(*image.size)
        width, height = image.size
        # A JPEG can be decoded at a fraction of its size for a fraction of the time; no less than what is wanted.
        scale = min((right - left) / size, (lower - upper) / size)
        if scale >= 2:
            image.draft("RGB", (int(width / scale), int(height / scale)))
        fx, fy = image.size[0] / width, image.size[1] / height
        inside = (left * fx, upper * fy, min(right * fx, image.size[0]), min(lower * fy, image.size[1]))
        return np.asarray(image.convert("RGB").resize((size, size), _BILINEAR, box=inside))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An image that Pillow opened; whatever goes wrong with it is a `DataError` that names the file."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"reading {path.name} needs Pillow", fix="pip install pillow") from None
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise
    # Decoders raise whatever they like on damaged files: OSError, SyntaxError, ValueError, struct.error …
    except Exception as error:
        raise DataError(f"{path} is a broken image: {error}") from None


def check(root: Path) -> None:
    """Raise DataError when a tree is not laid out by class, or an image is empty or begins like no image; names it.

    Only the first bytes of each file are read: decoding all of ImageNet takes hours.
    """
    for path, _ in scan(root).samples:
        magic = _MAGIC.get(path.suffix.lower(), b"")
        with open(path, "rb") as file:
            head = file.read(max(1, len(magic)))
        # ImageNet itself has PNG files named .JPEG.
        if not head or not (head == magic or head[:1] == _MAGIC[".png"][:1] or not magic):
            raise DataError(f"{path} is a broken image: it begins with {head.hex(' ') or 'nothing'}")


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
