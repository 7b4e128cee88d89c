"""Read and write token shards: files of tokens in the format of the GPT-2 speed runs (modded-nanogpt).

A shard has a header of 256 int32 and then uint16 tokens, little-endian. The header contains the magic number 20240520,
the version 1, the number of tokens, and zeros. Every document begins with the token 50256. A document may continue in
the next shard.
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.api import DataError

MAGIC = 20240520
VERSION = 1
HEADER_BYTES = 1024
EOT = 50256
VOCABULARY = 50257
_LLAMA3_MAGIC = 20240801
_TOKEN = np.dtype("<u2")
#: Number of tokens that are checked at once.
_BLOCK = 1 << 22


def read_header(path: Path) -> int:
    """Check the header and the size of a shard, and return its number of tokens.

    Raises:
        DataError: the magic number, the version or the size is wrong.
        FileNotFoundError: the file does not exist.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise DataError(f"{path} has {size:,} bytes, too few for a header of {HEADER_BYTES:,}")
    magic, version, tokens = (int(x) for x in np.frombuffer(raw, "<i4", 3))
    if magic != MAGIC:
        what = {_LLAMA3_MAGIC: "a Llama-3 shard of 32-bit tokens"}.get(magic, "not a token shard, or has no header")
        raise DataError(f"{path} is {what}: its magic is {magic}, expected {MAGIC}")
    if version != VERSION:
        raise DataError(f"{path} has version {version}, expected {VERSION}")
    expected = HEADER_BYTES + _TOKEN.itemsize * tokens
    if tokens < 0 or size != expected:
        raise DataError(f"{path} has {size:,} bytes, expected {expected:,} for the {tokens:,} tokens in its header")
    return tokens


def open_shard(path: Path) -> NDArray[np.uint16]:
    """Return the tokens of one shard (uint16, shape (n,)) as a read-only memory map.

    Raises:
        DataError: see `read_header`.
    """
    tokens = read_header(path)
    if tokens == 0:
        # A file range of length 0 cannot be memory-mapped.
        return np.empty(0, _TOKEN)
    return np.memmap(path, dtype=_TOKEN, mode="r", offset=HEADER_BYTES, shape=(tokens,))


class Shards:
    """Several memory-mapped shards as one array of tokens (uint16, shape (n,)).

    Args:
        paths: the shards in their order.
        vocabulary: size of the vocabulary. A token that is not below this size raises an error when it is read. None
            turns off this check.

    Raises:
        DataError: a shard is damaged.
        FileNotFoundError: a shard does not exist.
        ValueError: `paths` is empty.
    """

    def __init__(self, paths: Sequence[Path], vocabulary: int | None = None) -> None:
        if not paths:
            raise ValueError("paths is empty; expected at least one shard")
        self.paths = tuple(paths)
        self.dtype = np.dtype(np.uint16)
        self._vocabulary = vocabulary
        self._parts = [open_shard(path) for path in paths]
        self._starts = [0, *itertools.accumulate(map(len, self._parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def shape(self) -> tuple[int]:
        """The shape (number of tokens,)."""
        return (len(self),)

    def __getitem__(self, index: Any) -> Any:
        """Return one token, or the tokens of a slice (uint16).

        The tokens of a slice are a view of the file if one shard contains the whole slice.

        Raises:
            IndexError: the index is out of range.
            ValueError: the step of the slice is not 1.
            DataError: a token is not in the vocabulary. The message names the file and the position.
        """
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError(f"a slice of shards must have step 1, got {step}")
            return self.read(start, max(start, stop))
        position = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= position < len(self):
            raise IndexError(f"token {index} is out of range for {len(self):,} tokens")
        return self.read(position, position + 1)[0]

    def read(self, start: int, stop: int) -> NDArray[np.uint16]:
        """Return the tokens `start` to `stop` - 1 (uint16, shape (stop - start,)). The tokens may be in several shards.

        Raises:
            IndexError: `start` or `stop` is out of range, or `stop` is below `start`.
            DataError: a token is not in the vocabulary. The message names the file and the position.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens {start} to {stop} are out of range for {len(self):,} tokens")
        pieces = []
        shard = bisect.bisect_right(self._starts, start) - 1
        while start < stop:
            offset = start - self._starts[shard]
            piece = self._parts[shard][offset : offset + stop - start]
            if self._vocabulary is not None:
                _require_in_vocabulary(piece, self._vocabulary, self.paths[shard], offset)
            pieces.append(piece)
            start += len(piece)
            shard += 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint16)


def check_shard(path: Path, vocabulary: int = VOCABULARY) -> None:
    """Read a whole shard and check its header, its size and every token.

    Raises:
        DataError: the header or the size is wrong, or a token is not below `vocabulary`.
    """
    tokens = open_shard(path)
    for start in range(0, len(tokens), _BLOCK):
        _require_in_vocabulary(tokens[start : start + _BLOCK], vocabulary, path, start)


def check(path: Path) -> None:
    """Raise DataError if a file is not a complete shard of GPT-2 tokens."""
    check_shard(path)


def write_shard(path: Path, tokens: ArrayLike | Iterator[ArrayLike]) -> int:
    """Write a shard and return its number of tokens.

    The file has a temporary name until it is complete.

    Args:
        path: the file.
        tokens: an array of integers in [0, 65535], shape (n,), or an iterator of such arrays. The arrays of an iterator
            may together exceed the memory.

    Raises:
        ValueError: a value is out of range or not an integer, an array is not one-dimensional, or there are more than
            2³¹ - 1 tokens.
    """
    pieces: Iterable[ArrayLike] = tokens if isinstance(tokens, Iterator) else [tokens]
    part = path.with_name(f".{path.name}.part")
    total = 0
    try:
        with open(part, "wb") as file:
            file.write(bytes(HEADER_BYTES))
            for piece in pieces:
                array = _as_tokens(piece)
                array.tofile(file)
                total += len(array)
            header = np.zeros(HEADER_BYTES // 4, "<i4")
            if total > np.iinfo(np.int32).max:
                raise ValueError(f"a shard has at most 2³¹ - 1 tokens, got {total:,}")
            header[:3] = MAGIC, VERSION, total
            file.seek(0)
            file.write(header.tobytes())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return total


def _as_tokens(piece: ArrayLike) -> NDArray[np.uint16]:
    array = np.asarray(piece)
    if array.size == 0:
        return np.empty(0, _TOKEN)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"tokens must be a one-dimensional array of integers, got {array.dtype} of shape {array.shape}"
        )
    if array.min() < 0 or array.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"tokens must be in [0, 65535], got {array.min()} to {array.max()}")
    return array.astype(_TOKEN)


def _require_in_vocabulary(tokens: NDArray[np.uint16], vocabulary: int, path: Path, offset: int) -> None:
    if len(tokens) and int(tokens.max()) >= vocabulary:
        index = int(np.argmax(tokens >= vocabulary))
        raise DataError(
            f"{path}: token {offset + index:,} is {tokens[index]}, expected below the vocabulary size {vocabulary:,}"
        )
