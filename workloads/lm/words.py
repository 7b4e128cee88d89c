"""A synthetic language of known entropy with tens of thousands of words, which can generate a large corpus quickly.

Each word belongs to one class. The class of the next word is drawn from an equal mixture of two distributions. The
first distribution depends only on the class of the last word, and models learn it early. The second distribution
depends on the classes of the last two words, and models need longer to learn it. Then a word of the class is drawn with
a Zipf-like distribution over ranks. All arithmetic is on integers, so that a seed gives the same tokens on every
machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from workloads.integers import UInts, key, permutation, randoms, shares

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Tokens: TypeAlias = npt.NDArray[np.uint16]

CLASS_BITS = 12
WORD_BITS = 16
#: Number of documents that are generated at once. With a smaller number, more calls are needed. With a larger number,
#: the arrays exceed the cache.
TOGETHER = 1024


class WordLanguage:
    """A generator of documents of a fixed length. A document begins with a mark, a token that is not a word.

    Shapes: K classes, P = K² pairs of classes (the earlier class first), R words per class, N documents, T tokens. Word
    r of class k has the number r·K + k, where r is its rank by frequency. The words of a class are therefore not
    numbered consecutively.

    Args:
        seed: seed of the grammar.
        classes, per_class: K and R. There are K·R words, numbered from 0.
        length: number of tokens of a document, including the mark.
        mark: the first token of each document.

    Raises:
        ValueError: the numbers of the words do not fit below the mark in 16 bits, or an argument is out of range.
    """

    def __init__(self, seed: int, *, classes: int = 64, per_class: int = 785, length: int = 1024, mark: int = 50256):
        if classes * per_class > mark or mark >= 1 << 16:
            raise ValueError(f"{classes * per_class:,} words do not fit below the mark {mark:,} in 16 bits")
        if 2 * classes > 1 << CLASS_BITS or per_class > 1 << (WORD_BITS - 1) or length < 2:
            raise ValueError(f"{classes} classes of {per_class} words in documents of {length} are out of range")
        self.seed = seed
        self.classes = classes
        self.per_class = per_class
        self.length = length
        self.mark = mark
        self._chain_PK = self._chain()
        self._share_R = np.array(
            shares([(1 << 30) // (rank + 1) for rank in range(1, per_class + 1)], 1 << WORD_BITS), dtype=np.int64
        )

    def _chain(self) -> Ints:
        """Return the frequency of each class after each pair of classes, shape (P, K). All frequencies are positive.

        The frequencies after a pair sum to 2^12.
        """
        k = self.classes
        half = 1 << (CLASS_BITS - 1)
        by_last = [self._row(half, "last", b) for b in range(k)]
        return np.array(
            [by_last[b] + self._row(half, "pair", a, b) for a in range(k) for b in range(k)], dtype=np.int64
        )

    def _row(self, total: int, *of: int | str) -> Ints:
        """Return frequencies of the classes that sum to `total`.

        The classes have a random order. Each class is about half as frequent as the one before it, until the frequency
        is 1. All further classes have this lowest frequency.
        """
        weights = [0] * self.classes
        for place, follower in enumerate(permutation(key("words", self.seed, *of), self.classes)):
            weights[follower] = 1 << max(0, 20 - place)
        return np.array(shares(weights, total), dtype=np.int64)

    # --- text ------------------------------------------------------------------------------------

    def documents(self, n: int, stream_seed: int | str) -> Iterator[Tokens]:
        """Yield `n` documents in pieces. A piece is a concatenation of m complete documents.

        A piece has the type uint16 and the shape (m · length,). The first documents are the same for every n.
        """
        of = key("words", self.seed, "text", stream_seed)
        for first in range(0, n, TOGETHER):
            m = min(TOGETHER, n - first)
            draws = randoms(of, first * self.length, m * self.length).reshape(m, self.length)
            yield self._generate_tokens(draws >> np.uint64(64 - CLASS_BITS - WORD_BITS)).ravel()

    def _generate_tokens(self, draws_NT: UInts) -> Tokens:
        class_of, rank_of = self._tables
        # The arrays are transposed, so that the tokens of all documents at one position are contiguous in memory.
        draws_TN = np.ascontiguousarray(draws_NT.T).astype(np.int64)
        ranks_TN = rank_of[draws_TN >> CLASS_BITS]
        points_TN = draws_TN & ((1 << CLASS_BITS) - 1)
        tokens_TN = np.empty(draws_TN.shape, dtype=np.uint16)
        tokens_TN[0] = self.mark
        pair_N = np.zeros(draws_TN.shape[1], dtype=np.int64)
        for t in range(1, self.length):
            class_N = class_of[(pair_N << CLASS_BITS) + points_TN[t]].astype(np.int64)
            tokens_TN[t] = ranks_TN[t] + class_N
            pair_N = pair_N % self.classes * self.classes + class_N
        return np.ascontiguousarray(tokens_TN.T)

    @cached_property
    def _tables(self) -> tuple[npt.NDArray[np.uint16], Ints]:
        """The tables (pair of classes, random number) -> next class, and random number -> K·rank."""
        k = np.arange(self.classes, dtype=np.uint16)
        class_of = np.concatenate([np.repeat(k, row) for row in self._chain_PK])
        return class_of, np.repeat(np.arange(self.per_class) * self.classes, self._share_R)

    # --- probabilities ---------------------------------------------------------------------------

    def nats(self, tokens_NT: npt.NDArray[np.integer]) -> Floats:
        """Return the negative log-probability of each document's words, divided by `length`, shape (N,).

        Args:
            tokens_NT: complete documents, shape (N, length), or shape (N, length + 1) with the mark of the next
                document. This mark adds no nats, because documents have a fixed length.

        Raises:
            ValueError: a row is not a document.
        """
        words_NT = np.asarray(tokens_NT[:, 1 : self.length], dtype=np.int64)
        wrong = (tokens_NT[:, 0] != self.mark).any() or (tokens_NT[:, self.length :] != self.mark).any()
        if wrong or words_NT.shape[1] != self.length - 1 or (words_NT >= self.classes * self.per_class).any():
            raise ValueError(f"expected documents of {self.length} tokens that begin with the mark {self.mark}")
        classes_NT = words_NT % self.classes
        padded_NT = np.pad(classes_NT, ((0, 0), (2, 0)))
        pairs_NT = padded_NT[:, :-2] * self.classes + padded_NT[:, 1:-1]
        counts_NT = self._chain_PK[pairs_NT, classes_NT] * self._share_R[words_NT // self.classes]
        nats_NT = (CLASS_BITS + WORD_BITS) * np.log(2.0) - np.log(counts_NT)
        return np.asarray(nats_NT.sum(axis=1) / self.length, dtype=np.float64)

    @cached_property
    def entropy(self) -> float:
        """The expectation of `nats`. No model has a lower expected cross-entropy."""
        p_PK = self._chain_PK / (1 << CLASS_BITS)
        share_R = self._share_R / (1 << WORD_BITS)
        class_nats_P = -(p_PK * np.log(p_PK)).sum(axis=1)
        p_KKK = p_PK.reshape(self.classes, self.classes, self.classes)
        pair_p_P = np.zeros(self.classes**2)
        pair_p_P[0] = 1.0  # two words of class 0 are assumed to precede a document
        total = 0.0
        for _ in range(1, self.length):
            total += float(pair_p_P @ class_nats_P)
            pair_p_P = np.einsum("ab,abc->bc", pair_p_P.reshape(self.classes, self.classes), p_KKK).ravel()
        word_nats = -float((share_R * np.log(share_R)).sum())
        return (total + (self.length - 1) * word_nats) / self.length
