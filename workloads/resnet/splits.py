"""Fixed stratified splits of labelled images, computed from labels and positions with integer arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def stratified(labels_B: NDArray[np.integer], shares: Mapping[str, int], seed: int) -> dict[str, NDArray[np.int64]]:
    """Return the ascending positions of each part's examples. Each part gets a given percentage of each class.

    The parts are disjoint and contain all examples.

    Args:
        labels_B: the label of each example, shape (n,).
        shares: part -> percentage of each class that it gets.
        seed: seed of the assignment of examples to parts.

    >>> found = stratified(np.repeat(np.arange(10), 100), {"train": 75, "audit": 25}, seed=1)
    >>> {part: len(positions) for part, positions in found.items()}
    {'train': 750, 'audit': 250}

    Raises:
        ValueError: the shares do not add up to 100.
    """
    if sum(shares.values()) != 100:
        raise ValueError(f"the shares {dict(shares)} add up to {sum(shares.values())}, expected 100")
    chosen: dict[str, list[NDArray[np.int64]]] = {part: [np.empty(0, np.int64)] for part in shares}
    for label in np.unique(labels_B):
        members = np.flatnonzero(labels_B == label)
        members = members[np.argsort(_hash(members, seed), kind="stable")]
        # Shares are cumulative, so that rounding loses no example and favours no part.
        start = share = 0
        for part in shares:
            share += shares[part]
            end = (len(members) * share + 50) // 100
            chosen[part].append(members[start:end])
            start = end
    return {part: np.sort(np.concatenate(pieces)) for part, pieces in chosen.items()}


def _hash(values_N: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return SplitMix64 hashes. Unlike a random number generator, they do not depend on the version of a library."""
    z = (values_N.astype(np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
