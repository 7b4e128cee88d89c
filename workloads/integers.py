"""Random 64-bit integers from a key and a counter. They are the same on every machine.

Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, SplitMix64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

UInts: TypeAlias = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_CHUNK = 1 << 14


def key(*parts: int | str) -> int:
    """Return a 64-bit key that depends on all `parts`. Different parts give independent keys.

    >>> key("train", 1) != key("train", 2)
    True
    """
    # A numpy integer and an equal Python integer have different reprs.
    plain = tuple(p if isinstance(p, str) else int(p) for p in parts)
    return int.from_bytes(hashlib.sha256(repr(plain).encode()).digest()[:8], "little")


def randoms(of: int, start: int, n: int) -> UInts:
    """Return the random numbers at the indices `start` … `start + n - 1` of the key `of`, uint64, shape (n,)."""
    counter = np.arange(start + 1, start + n + 1, dtype=np.uint64)
    x = np.array([of], dtype=np.uint64) + counter * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInts = x ^ (x >> np.uint64(31))
    return mixed


def endless(of: int, bits: int) -> Iterator[int]:
    """Yield the highest `bits` bits of each random number of the key `of`, as Python integers."""
    start = 0
    while True:
        yield from (randoms(of, start, _CHUNK) >> np.uint64(64 - bits)).tolist()
        start += _CHUNK


def permutation(of: int, n: int) -> list[int]:
    """Return the integers below `n` in a random order, drawn from the key `of`."""
    order: list[int] = np.argsort(randoms(of, 0, n), kind="stable").tolist()
    return order


def shares(weights: list[int], total: int) -> list[int]:
    """Return positive integers that are about proportional to `weights` and sum to `total` exactly.

    Where rounding down gives 0, the integer is 1. The largest integer absorbs the rounding errors.

    >>> shares([2, 1, 1], 16)
    [8, 4, 4]

    Raises:
        ValueError: `total` is too small for the number of weights.
    """
    whole = sum(weights)
    parts = [max(1, w * total // whole) for w in weights]
    largest = parts.index(max(parts))
    parts[largest] += total - sum(parts)
    if parts[largest] < 1:
        raise ValueError(f"{len(weights)} positive integers cannot sum to {total}")
    return parts
