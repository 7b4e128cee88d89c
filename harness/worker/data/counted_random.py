"""Counter-based random numbers for augmentation: each number is a function of a seed and a counter.

Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, SplitMix64.
"""

from __future__ import annotations

import functools
import hashlib

import torch
from torch import Tensor

#: Number of random bits in each number. A float32 represents numbers with 24 bits exactly.
_BITS = 24


def _as_signed(bits: int) -> int:
    """Return the int64 with the same bits as an unsigned integer."""
    return bits - (1 << 64) if bits >> 63 else bits


# The constants of SplitMix64: the increment of the counter, and the two multipliers of the mixing function.
_INCREMENT = _as_signed(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = _as_signed(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = _as_signed(0x94D049BB133111EB)


def uniforms_at(seed: int, positions: Tensor, count: int) -> Tensor:
    """Return `count` random numbers in [0, 1) for every position.

    The numbers of a position depend only on the seed, the position and `count`. They do not depend on the device or on
    the other positions. No random generator is used, and the CPU does not wait for a GPU.

    Args:
        seed: the seed.
        positions: integers of type int64 and shape (n,).
        count: number of random numbers for each position.

    Returns:
        Multiples of 2⁻²⁴ of type float32 and shape (n, count), on the device of `positions`.
    """
    # Suffixes of shapes: N positions, K numbers for each position.
    counters_NK = positions[:, None] * count + torch.arange(1, count + 1, device=positions.device)
    x_NK = counters_NK * _INCREMENT + _key(seed)
    x_NK = (x_NK ^ _shift_right(x_NK, 30)) * _MULTIPLIER_1
    x_NK = (x_NK ^ _shift_right(x_NK, 27)) * _MULTIPLIER_2
    x_NK = x_NK ^ _shift_right(x_NK, 31)
    return _shift_right(x_NK, 64 - _BITS).float() * 2.0**-_BITS


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shift 64-bit integers to the right, and fill with zeros. torch has no such unsigned shift on a GPU."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


@functools.cache
def _key(seed: int) -> int:
    """Return a hash of the seed as an int64."""
    return _as_signed(int.from_bytes(hashlib.sha256(f"augmentation/{seed}".encode()).digest()[:8]))
