"""Random numbers that are a function of a seed and a counter, for augmentation.

Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, SplitMix64.
"""

from __future__ import annotations

import functools
import hashlib

import torch
from torch import Tensor

#: Number of random bits per returned number. A float32 can represent all of them.
_BITS = 24


def _as_signed(bits: int) -> int:
    """Return the int64 with the same bits as an unsigned integer."""
    return bits - (1 << 64) if bits >> 63 else bits


_GOLDEN = _as_signed(0x9E3779B97F4A7C15)
_FIRST = _as_signed(0xBF58476D1CE4E5B9)
_SECOND = _as_signed(0x94D049BB133111EB)


def uniforms_at(seed: int, positions: Tensor, count: int) -> Tensor:
    """Return `count` numbers in [0, 1) for every position.

    The numbers depend on the seed and the position alone, and not on the device, the other positions or any generator.
    The call changes the state of no generator, and does not wait for a GPU.

    Args:
        seed: the seed.
        positions: the positions (int64, shape (n,)).
        count: how many numbers to return for each position.

    Returns:
        Multiples of 2⁻²⁴ (float32, shape (n, count)), on the device of `positions`.
    """
    counters_NK = positions[:, None] * count + torch.arange(1, count + 1, device=positions.device)
    x_NK = counters_NK * _GOLDEN + _key(seed)
    x_NK = (x_NK ^ _shift_right(x_NK, 30)) * _FIRST
    x_NK = (x_NK ^ _shift_right(x_NK, 27)) * _SECOND
    x_NK = x_NK ^ _shift_right(x_NK, 31)
    return _shift_right(x_NK, 64 - _BITS).float() * 2.0**-_BITS


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shift 64-bit integers to the right, filling with zeros. torch has no unsigned shift on a GPU."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


@functools.cache
def _key(seed: int) -> int:
    return _as_signed(int.from_bytes(hashlib.sha256(f"augmentation/{seed}".encode()).digest()[:8]))
