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
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
#: How files of these formats begin; the others are left to the decoder. ImageNet itself has PNG files named .JPEG.
_MAGIC = {".jpg": (_JPEG, _PNG), ".jpeg": (_JPEG, _PNG), ".png": (_PNG,)}
#: Names of the two trees of a dataset, which must agree in their classes.
_TRAIN, _VALIDATION = "train", "val"
#: Class folders that a message names.
_NAMED = 3

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
    names = _class_names(root)
    if not names or (classes is not None and len(names) != classes):
        raise DataError(f"{root} has {len(names):,} class folders, expected {f'{classes:,}' if classes else 'some'}")
    samples: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        images = sorted(entry.name for entry in os.scandir(root / name) if _is_image(entry.name))
        if not images:
            raise DataError(f"{root / name} has no image ({', '.join(sorted(SUFFIXES))})")
        samples += [(root / name / image, label) for image in images]
    return ImageFolder(tuple(names), samples)


def require_same_classes(root: Path, like: Path) -> None:
    """Compare the class folders of two trees: labels are positions, so one folder more or less would shift them.

    Args:
        root: the tree that is wrong when they differ.
        like: the tree that has the classes there should be.

    Raises:
        DataError: they differ, or one is no folder; names the first class folders that are missing or too many.
    """
    found, expected = set(_class_names(root)), set(_class_names(like))
    compared = {"lacks": expected - found, "also has": found - expected}
    differ = [f"{what} {_some(names)}" for what, names in compared.items() if names]
    if differ:
        raise DataError(f"{root} {' and '.join(differ)}; expected the class folders of {like}")


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

    A tree `val` must have the classes of the tree `train` beside it, where there is one. Only the first bytes of each
    file are read: decoding all of ImageNet takes hours.
    """
    like = root.with_name(_TRAIN)
    if root.name == _VALIDATION and like.is_dir():
        require_same_classes(root, like)
    for path, _ in scan(root).samples:
        magics = _MAGIC.get(path.suffix.lower(), (b"",))
        with open(path, "rb") as file:
            head = file.read(len(_PNG))
        if not head:
            raise DataError(f"{path} is a broken image: it is empty")
        if not head.startswith(magics):
            expected = " or ".join(magic.hex(" ") for magic in magics)
            raise DataError(f"{path} is a broken image: it begins with {head.hex(' ')}, expected {expected}")


def _class_names(root: Path) -> list[str]:
    """The class folders of a tree in the order of their labels.

    Raises:
        DataError: there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; expected one folder per class in it")
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def _some(names: set[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
