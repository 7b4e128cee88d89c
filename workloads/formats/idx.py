"""Read the idx format of MNIST and similar datasets, plain or gzipped.

Layout: two zero bytes, a type byte, the number of dimensions, each dimension as a big-endian uint32, then the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.api import DataError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


def read(path: Path) -> NDArray[Any]:
    """Return the array in an idx file. The array may have any type and shape, and is read-only.

    Raises:
        DataError: the magic number is wrong, the file is too short or too long, or the gzip stream is damaged.
        FileNotFoundError: the file does not exist.
    """
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    try:
        with _open(path, packed) as stream:
            try:
                return _parse(stream, path)
            except DataError:
                # The cause may be a damaged gzip stream. To find out, read up to the checksum at the end of the stream.
                # If the stream is damaged, this read raises an error.
                while stream.read(_CHUNK):
                    pass
                raise
    except EOFError:
        raise DataError(f"{path} is truncated: the gzip stream stops before its end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file: {error}") from None


def read_images(path: Path) -> NDArray[np.uint8]:
    """Read greyscale images (uint8, shape (n, height, width)).

    Raises:
        DataError: the file is damaged (see `read`), or its array is not uint8 with three dimensions.
    """
    return _require_rank(read(path), 3, "images", path)


def read_labels(path: Path, classes: int = 10) -> NDArray[np.uint8]:
    """Read labels (uint8, shape (n,)), each below `classes`.

    Raises:
        DataError: the file is damaged (see `read`), its array is not uint8 with one dimension, or a label is out of
            range.
    """
    labels = _require_rank(read(path), 1, "labels", path)
    if len(labels) and labels.max() >= classes:
        index = int(np.argmax(labels >= classes))
        raise DataError(f"{path}: label {index} is {labels[index]}, expected 0 to {classes - 1}")
    return labels


def read_pair(images: Path, labels: Path, classes: int = 10) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read images (n, height, width) and their labels (n,).

    Raises:
        DataError: one of the files is wrong (see `read_images` and `read_labels`), or their lengths differ.
    """
    x_NHW, y_N = read_images(images), read_labels(labels, classes)
    if len(x_NHW) != len(y_N):
        raise DataError(
            f"{images} has {len(x_NHW):,} images and {labels} has {len(y_N):,} labels; expected equal numbers"
        )
    return x_NHW, y_N


def check(path: Path) -> None:
    """Raise DataError if a file is not a complete idx file of images or labels."""
    array = read(path)
    if array.ndim == 1:
        read_labels(path)
    else:
        _require_rank(array, 3, "images", path)


def _open(path: Path, packed: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if packed else open(path, "rb")


def _parse(stream: IO[bytes], path: Path) -> NDArray[Any]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise DataError(
            f"{path} is not an idx file: it begins with {head.hex(' ') or 'nothing'}, expected 00 00 08 01…"
        )
    dtype, rank = np.dtype(_TYPES[head[2]]), head[3]
    dims = stream.read(4 * rank)
    if len(dims) < 4 * rank:
        raise DataError(f"{path} is truncated: expected {rank} dimensions, found {len(dims) // 4}")
    shape = struct.unpack(f">{rank}I", dims)
    expected = math.prod(shape) * dtype.itemsize
    data = _read_at_most(stream, expected + 1)
    if len(data) != expected:
        found = f"{len(data):,}" if len(data) < expected else "more"
        kind = "truncated" if len(data) < expected else "too long"
        raise DataError(
            f"{path} is {kind}: its header says {'×'.join(map(str, shape))}, {expected:,} bytes, found {found}"
        )
    return np.frombuffer(bytes(data), dtype).reshape(shape)


def _read_at_most(stream: IO[bytes], limit: int) -> bytearray:
    # The data are read in pieces, because the size in a damaged header may exceed the memory.
    data = bytearray()
    while len(data) < limit and (chunk := stream.read(min(_CHUNK, limit - len(data)))):
        data += chunk
    return data


def _require_rank(array: NDArray[Any], rank: int, what: str, path: Path) -> NDArray[np.uint8]:
    if array.ndim != rank or array.dtype != np.uint8:
        raise DataError(
            f"{path} holds {array.dtype.name} in {array.ndim} dimensions, expected {what}: uint8 in {rank} dimensions"
        )
    return array
