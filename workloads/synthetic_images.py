"""Synthetic images with known classes, known noise, and the exact probability of every class given an image.

Every class has one pattern of black and white pixels. An image is the pattern of its class, shifted by up to one pixel
in each direction. Every pixel is then inverted with the same probability, the noise. The probability of an image given
its class and shift follows from the number of pixels that differ, so Bayes' rule gives the probabilities of the classes
exactly. No classifier has a lower expected cross-entropy than these probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from workloads.integers import key, randoms

Pixels: TypeAlias = npt.NDArray[np.int8]
Labels: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

CLASSES = 10
SIDE = 8
#: Largest shift in each direction, in pixels. A pixel that leaves the image on one side enters on the opposite side.
REACH = 1
#: How often the random numbers of a pattern are smoothed before the threshold. The more often, the larger are the areas
#: of one colour, and the more similar are the patterns of different classes.
_SMOOTHINGS = 3
#: Number of random 16-bit integers in a random 64-bit integer.
_PER_WORD = 4


@dataclass(frozen=True)
class Images:
    """Images and their classes.

    Args:
        pixels_NHW: −1 (black) or 1 (white), int8, shape (n, 8, 8).
        labels_N: class, int64, shape (n,).
    """

    pixels_NHW: Pixels
    labels_N: Labels


class ImageSource:
    """The source of the images of `CLASSES` classes, whose patterns are generated from a seed.

    Equal arguments give equal images on every machine, because images are generated with integer arithmetic only.
    Letters in the names of arrays: N images, K classes, S shifts, R = K·S shifted patterns, H and W pixels, P = H·W
    pixels.

    Args:
        seed: seed of the patterns.
        noise: probability that a pixel is inverted, a multiple of 2^−16 between 0 and 1/2.

    Raises:
        ValueError: `noise` is not such a number.
    """

    def __init__(self, seed: int, noise: float = 0.25) -> None:
        self._noise_16 = int(noise * 2**16)
        if not 0 < noise < 0.5 or self._noise_16 != noise * 2**16:
            raise ValueError(f"noise {noise}: expected a multiple of 2^-16 between 0 and 0.5")
        self.seed = seed
        self.noise = noise
        self.patterns_KHW = _patterns(seed)
        moves = [(dy, dx) for dy in range(-REACH, REACH + 1) for dx in range(-REACH, REACH + 1)]
        shifted = np.stack([np.roll(self.patterns_KHW, move, axis=(1, 2)) for move in moves], axis=1)
        self._shifted_KSP: Pixels = shifted.reshape(CLASSES, len(moves), SIDE * SIDE)

    def draw(self, n: int, stream_seed: str) -> Images:
        """Return `n` images. All classes and all shifts are equally likely.

        The first m images are the same for every n ≥ m.

        Args:
            n: number of images, at least 1.
            stream_seed: seed of the images; different seeds give independent images.
        """
        labels_N = _below(CLASSES, n, key("synthetic images", self.seed, stream_seed, "classes"))
        shifts_N = _below(self._shifted_KSP.shape[1], n, key("synthetic images", self.seed, stream_seed, "shifts"))
        noise = randoms(key("synthetic images", self.seed, stream_seed, "noise"), 0, n * SIDE * SIDE // _PER_WORD)
        inverted_NP = _halves(noise).reshape(n, SIDE * SIDE) < self._noise_16
        clean_NP = self._shifted_KSP[labels_N, shifts_N]
        pixels_NP = np.where(inverted_NP, -clean_NP, clean_NP)
        return Images(pixels_NHW=pixels_NP.reshape(n, SIDE, SIDE), labels_N=labels_N)

    def log_probs(self, pixels_NHW: Pixels) -> Floats:
        """Return the exact log-probability of every class given an image, in nats, shape (n, 10).

        Args:
            pixels_NHW: images with pixels −1 or 1, int8, shape (n, 8, 8).

        Raises:
            ValueError: a pixel is neither −1 nor 1.
        """
        if not (np.abs(pixels_NHW) == 1).all():
            raise ValueError("a pixel is neither -1 nor 1")
        # The sum over pixels of pattern times image is agreements − disagreements. An agreement multiplies the
        # likelihood by 1 − noise, a disagreement by noise. All classes have the same number of shifts and are equally
        # likely.
        signs_NP = pixels_NHW.reshape(len(pixels_NHW), -1).astype(np.float32)
        patterns_PR = self._shifted_KSP.reshape(-1, SIDE * SIDE).T.astype(np.float32)
        # A float32 holds these small integers exactly.
        sums_NKS = (signs_NP @ patterns_PR).astype(np.float64).reshape(len(signs_NP), CLASSES, -1)
        joint_NK = np.logaddexp.reduce(sums_NKS * (math.log((1 - self.noise) / self.noise) / 2), axis=2)
        log_NK: Floats = joint_NK - np.logaddexp.reduce(joint_NK, axis=1, keepdims=True)
        return log_NK

    @property
    def bayes_cross_entropy(self) -> float:
        """The lowest possible expected cross-entropy in nats, estimated from 2^18 images.

        It is the entropy of the exact probabilities of the classes, averaged over images. Its standard error is below
        0.001 nats.
        """
        return self._best[0]

    @property
    def bayes_accuracy(self) -> float:
        """The highest possible expected accuracy, estimated from the same images.

        It is the probability of the most probable class, averaged over images. Its standard error is below 0.001.
        """
        return self._best[1]

    @cached_property
    def _best(self) -> tuple[float, float]:
        """The lowest possible cross-entropy and the highest possible accuracy."""
        means = []
        for part in range(16):
            log_NK = self.log_probs(self.draw(1 << 14, f"entropy/{part}").pixels_NHW)
            probs_NK = np.exp(log_NK)
            means.append((-(probs_NK * log_NK).sum(axis=1).mean(), probs_NK.max(axis=1).mean()))
        cross_entropy, accuracy = np.mean(means, axis=0)
        return float(cross_entropy), float(accuracy)


def _patterns(seed: int) -> Pixels:
    """Return one pattern per class, shape (10, 8, 8). Half of the pixels of each pattern are white."""
    size = CLASSES * SIDE * SIDE
    field = _halves(randoms(key("synthetic images", seed, "patterns"), 0, size // _PER_WORD)).astype(np.int64)
    field_KHW = field.reshape(CLASSES, SIDE, SIDE)
    for _ in range(_SMOOTHINGS):
        for axis in (1, 2):
            field_KHW = np.roll(field_KHW, -1, axis) + 2 * field_KHW + np.roll(field_KHW, 1, axis)
    # The rank of every pixel within its pattern. Equal values are ranked by position.
    order_KP = field_KHW.reshape(CLASSES, -1).argsort(axis=1, kind="stable")
    ranks_KP = order_KP.argsort(axis=1, kind="stable")
    return np.where(ranks_KP < SIDE * SIDE // 2, -1, 1).astype(np.int8).reshape(CLASSES, SIDE, SIDE)


def _below(limit: int, n: int, of: int) -> Labels:
    """Return `n` random integers from 0 to `limit` − 1 of the key `of`, int64."""
    return ((randoms(of, 0, n) >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)


def _halves(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the four 16-bit integers in each 64-bit integer, the lowest bits first."""
    shifts = np.arange(_PER_WORD, dtype=np.uint64) * np.uint64(16)
    return ((words[:, None] >> shifts) & np.uint64(0xFFFF)).ravel()
