"""Read a tree of images with one folder per class, the common layout of ImageNet."""

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
#: Possible first bytes of a file by suffix; other suffixes are not checked. ImageNet has PNG files named .JPEG.
_MAGIC = {".jpg": (_JPEG, _PNG), ".jpeg": (_JPEG, _PNG), ".png": (_PNG,)}
#: Names of the two trees of a dataset, which must have the same classes.
_TRAIN, _VALIDATION = "train", "val"
#: Maximum number of class folders that an error message names.
_NAMED = 3

#: Pillow's code for bilinear resampling. The number is copied here, because Pillow is imported only when an image is
#: read.
_BILINEAR = 2


class ImageFolder(NamedTuple):
    """The classes and the images of a tree.

    Args:
        classes: sorted folder names. The index of a name is the label.
        samples: (path, label) of every image, sorted by class and name.
    """

    classes: tuple[str, ...]
    samples: list[tuple[Path, int]]


def scan(root: Path, classes: int | None = None) -> ImageFolder:
    """List a tree without opening images. Hidden files and files with other suffixes are ignored.

    Args:
        classes: required number of class folders; any number if None.

    Raises:
        DataError: the folder does not exist, the number of classes is wrong, or a class has no image.
    """
    names = _class_names(root)
    if not names or (classes is not None and len(names) != classes):
        raise DataError(
            f"{root} has {len(names):,} class folders, expected {f'{classes:,}' if classes else 'at least one'}"
        )
    samples: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        images = sorted(entry.name for entry in os.scandir(root / name) if _is_image(entry.name))
        if not images:
            raise DataError(f"{root / name} has no image ({', '.join(sorted(SUFFIXES))})")
        samples += [(root / name / image, label) for image in images]
    return ImageFolder(tuple(names), samples)


def require_same_classes(root: Path, like: Path) -> None:
    """Require that two trees have the same class folders.

    A folder in only one tree would shift the labels of that tree.

    Args:
        root: the tree that is checked.
        like: the tree with the expected classes.

    Raises:
        DataError: the class folders differ, or one of the trees is not a folder.
    """
    found, expected = set(_class_names(root)), set(_class_names(like))
    compared = {"lacks": expected - found, "also has": found - expected}
    differ = [f"{what} {_join_first(names)}" for what, names in compared.items() if names]
    if differ:
        raise DataError(f"{root} {' and '.join(differ)}; expected the class folders of {like}")


def read_part(path: Path, box: Callable[[int, int], Box], size: int) -> NDArray[np.uint8]:
    """Decode, crop and resize one image (uint8 RGB, shape (size, size, 3)).

    Args:
        box: function from the image's width and height to the crop's left, upper, right and lower edge.
        size: height and width of the result in pixels.

    Raises:
        DataError: the image is damaged, or Pillow is not installed.
        FileNotFoundError: the file does not exist.
    """
    with _open_image(path) as image:
        left, upper, right, lower = box(*image.size)
        width, height = image.size
        # Decoding a JPEG at a fraction of its size saves time. The crop must keep at least `size` pixels per side.
        scale = min((right - left) / size, (lower - upper) / size)
        if scale >= 2:
            image.draft("RGB", (int(width / scale), int(height / scale)))
        fx, fy = image.size[0] / width, image.size[1] / height
        inside = (left * fx, upper * fy, min(right * fx, image.size[0]), min(lower * fy, image.size[1]))
        return np.asarray(image.convert("RGB").resize((size, size), _BILINEAR, box=inside))


@contextmanager
def _open_image(path: Path) -> Iterator[Any]:
    """Open an image with Pillow. An error of Pillow is raised as a `DataError` that names the file."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"reading {path.name} needs Pillow", fix="pip install pillow") from None
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise
    # For damaged files, decoders raise many types of errors: OSError, SyntaxError, ValueError, struct.error …
    except Exception as error:
        raise DataError(f"{path} is a broken image: {error}") from None


def check(root: Path) -> None:
    """Raise DataError if a tree has no class folders, or if a file is empty or has wrong first bytes (see `_MAGIC`).

    If the tree is `val`, and a tree `train` is beside it, the two trees must have the same classes. Only the first
    bytes of each file are read, because decoding all of ImageNet takes hours.
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
    """Return the class folders of a tree in the order of their labels.

    Raises:
        DataError: the folder does not exist.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; expected one folder per class in it")
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def _join_first(names: set[str]) -> str:
    """Return the first few names and the number of the remaining ones, as text."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
