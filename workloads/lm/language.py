"""A synthetic language of known entropy, with seeded text and the exact probability of every next character.

A Markov chain generates word classes, and each class generates a word. The letters of the word are followed by a space.
Every word belongs to one class. The distribution of the next character therefore depends only on the class of the last
complete word and on the letters after this word.

The probabilities come from the lexicon's trie, a tree of the prefixes of all words. The mass of a node is the
probability that the current word begins with the letters of the node. The probability of the next character is the
mass of the child node / the mass of the current node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from workloads.integers import endless, key, randoms
from workloads.lm.lexicon import ALPHABET, CLASS_BITS, WORD_BITS, Lexicon, make

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Tokens: TypeAlias = npt.NDArray[np.uint8]

SPACE = 0
#: Class of the imaginary word before a text.
START_CLASS = 0
_QUALITY_BITS = 16


class Language:
    """One domain of the language, generated from a seed.

    Equal arguments give equal bytes on every machine, because texts are generated with integer arithmetic only. Letters
    in the names of arrays:

    - N: texts; T: symbols of a text
    - W: words; L: symbols of the longest word, with its space
    - K: classes; S: nodes of the trie
    - V: symbols of the vocabulary (a space and 26 letters)

    Args:
        seed: seed of the words, their classes and frequencies, and the grammar.
        domain: index of the domain. Domains have the same words, but different classes, frequencies and grammar.
    """

    vocabulary = len(ALPHABET)

    def __init__(self, seed: int, domain: int = 0) -> None:
        self.seed = seed
        self.domain = domain
        self.lexicon: Lexicon = make(seed, domain)
        self._class_W: Ints = np.array(self.lexicon.classes, dtype=np.int64)
        self._length_W: Ints = np.array([len(w) + 1 for w in self.lexicon.words], dtype=np.int64)
        self._letters_WL = _spell_words(self.lexicon.words, int(self._length_W.max()))

    # --- text ------------------------------------------------------------------------------------

    def documents(self, n: int, *, length: int, stream_seed: int | str, quality: float | Floats = 1.0) -> Tokens:
        """Return `n` texts of `length` symbols, shape (n, length). Each text begins with a space, then a word.

        The first m documents are the same for every n ≥ m. A text may end within a word.

        Args:
            stream_seed: seed of the texts; different seeds give independent texts.
            quality: probability that a symbol is kept, in [0, 1]: one number for all texts, or an array of shape
                (n,). A symbol that is not kept is replaced by a random symbol. The first space is always kept.

        Raises:
            ValueError: `n` is below 1, `length` is below 2, or a quality is outside [0, 1].
        """
        if n < 1 or length < 2:
            raise ValueError(
                f"{n} documents of {length} symbols: expected at least one document of at least two symbols"
            )
        words, counts = self._draw_words(n, length - 1, stream_seed)
        symbols = self._letters_WL[words].ravel()[_unpadded_mask(self._length_W[words], self._letters_WL.shape[1])]
        characters = np.add.reduceat(self._length_W[words], np.cumsum(counts) - counts)
        starts = np.cumsum(characters) - characters
        tokens_NT = np.zeros((n, length), dtype=np.uint8)
        tokens_NT[:, 1:] = symbols[starts[:, None] + np.arange(length - 1)]
        return self._add_noise(tokens_NT, stream_seed, quality)

    def tokens(self, n_chars: int, stream_seed: int | str) -> Tokens:
        """Return one text without noise, shape (n_chars,); it begins with a space.

        Raises:
            ValueError: `n_chars` is below 2.
        """
        tokens_T: Tokens = self.documents(1, length=n_chars, stream_seed=stream_seed)[0]
        return tokens_T

    def _draw_words(self, n: int, characters: int, stream_seed: int | str) -> tuple[Ints, Ints]:
        """Draw the words of `n` texts of at least `characters` symbols.

        Return all words, and the number of words of each text.
        """
        classes, words, lengths = self._tables
        draws: Iterator[int] = endless(key("text", self.seed, self.domain, stream_seed), CLASS_BITS + WORD_BITS)
        low = (1 << CLASS_BITS) - 1
        chosen: list[int] = []
        counts = []
        for _ in range(n):
            k, left, before = START_CLASS, characters, len(chosen)
            while left > 0:
                draw = next(draws)
                k = classes[k][draw & low]
                word = words[k][draw >> CLASS_BITS]
                chosen.append(word)
                left -= lengths[word]
            counts.append(len(chosen) - before)
        return np.array(chosen, dtype=np.int64), np.array(counts, dtype=np.int64)

    @cached_property
    def _tables(self) -> tuple[list[list[int]], list[list[int]], list[int]]:
        """The tables (class, random number) -> next class, (class, random number) -> word, and word -> length."""
        classes = [_repeat(range(len(row)), row) for row in self.lexicon.chain]
        words = []
        for k in range(len(self.lexicon.chain)):
            members = np.flatnonzero(self._class_W == k).tolist()
            words.append(_repeat(members, [self.lexicon.shares[w] for w in members]))
        return classes, words, self._length_W.tolist()

    def _add_noise(self, tokens_NT: Tokens, stream_seed: int | str, quality: float | Floats) -> Tokens:
        n, length = tokens_NT.shape
        quality_N = np.broadcast_to(np.asarray(quality, dtype=np.float64), (n,))
        if not ((quality_N >= 0) & (quality_N <= 1)).all():  # this form also rejects NaN
            raise ValueError(f"quality must be in [0, 1], got {quality_N.min()} to {quality_N.max()}")
        kept_N = np.floor(quality_N * (1 << _QUALITY_BITS) + 0.5).astype(np.uint64)
        if (kept_N == 1 << _QUALITY_BITS).all():
            return tokens_NT
        r = randoms(key("noise", self.seed, self.domain, stream_seed), 0, n * length).reshape(n, length)
        replaced_NT = (r >> np.uint64(64 - _QUALITY_BITS)) >= kept_N[:, None]
        replaced_NT[:, 0] = False
        symbols_NT = ((r & np.uint64(0xFFFFFFFF)) * np.uint64(self.vocabulary)) >> np.uint64(32)
        noised_NT: Tokens = np.where(replaced_NT, symbols_NT.astype(np.uint8), tokens_NT)
        return noised_NT

    # --- probabilities ---------------------------------------------------------------------------

    @cached_property
    def _word_KW(self) -> Floats:
        """Probability of each word if the previous word has class k, shape (K, W). Rows sum to one."""
        chain_KK = np.array(self.lexicon.chain, dtype=np.float64) / (1 << CLASS_BITS)
        share_W = np.array(self.lexicon.shares, dtype=np.float64) / (1 << WORD_BITS)
        product: Floats = chain_KK[:, self._class_W] * share_W
        return product

    @cached_property
    def _trie(self) -> tuple[Ints, Ints]:
        """The children of each node, `children_SV`, and the nodes on the path of each word, `path_WL`.

        Node 0 is the root. In `children_SV`, -1 means no child. In `path_WL`, -1 fills the places after a word's end.
        """
        children: list[list[int]] = [[-1] * self.vocabulary]
        path_WL = np.full(self._letters_WL.shape, -1, dtype=np.int64)
        for w, letters in enumerate(self._letters_WL.tolist()):
            node = 0
            for i, symbol in enumerate(letters[: self._length_W[w]]):
                if children[node][symbol] < 0:
                    children[node][symbol] = len(children)
                    children.append([-1] * self.vocabulary)
                node = children[node][symbol]
                path_WL[w, i] = node
        return np.array(children, dtype=np.int64), path_WL

    @cached_property
    def _mass_KS(self) -> Floats:
        """Probability that a word passes node s of the trie if the previous word has class k, shape (K, S)."""
        children_SV, path_WL = self._trie
        mass_KS = np.zeros((len(self._word_KW), len(children_SV)))
        words, places = np.nonzero(path_WL >= 0)
        for k, probability_W in enumerate(self._word_KW):
            mass_KS[k] = np.bincount(path_WL[words, places], probability_W[words], len(children_SV))
        mass_KS[:, 0] = 1.0
        return mass_KS

    def _states(self, tokens_NT: Tokens) -> tuple[Ints, Ints]:
        """Return the state after each symbol: the node of the trie, and the class of the last complete word.

        Raises:
            ValueError: a row is not the beginning of any possible document without noise.
        """
        if (tokens_NT[:, 0] != SPACE).any():
            raise ValueError("a document must begin with a space")
        children_SV, path_WL = self._trie
        class_S = np.full(len(children_SV), -1, dtype=np.int64)
        class_S[path_WL[np.arange(len(path_WL)), self._length_W - 1]] = self._class_W
        node_NT = np.zeros(tokens_NT.shape, dtype=np.int64)
        class_NT = np.full(tokens_NT.shape, START_CLASS, dtype=np.int64)
        for t in range(1, tokens_NT.shape[1]):
            node_N = children_SV[node_NT[:, t - 1], tokens_NT[:, t]]
            if (node_N < 0).any():
                raise ValueError(f"document {int((node_N < 0).argmax())} has no such word at symbol {t}")
            ended_N = tokens_NT[:, t] == SPACE
            class_NT[:, t] = np.where(ended_N, class_S[node_N], class_NT[:, t - 1])
            node_NT[:, t] = np.where(ended_N, 0, node_N)
        return node_NT, class_NT

    def log_probs(self, tokens_NT: Tokens) -> Floats:
        """Return the natural log-probability of each symbol except the first, given the earlier symbols.

        The shape is (n, length - 1).

        Raises:
            ValueError: a row is not the beginning of any possible document without noise.
        """
        node_NT, class_NT = (a[:, :-1] for a in self._states(tokens_NT))
        next_NT = self._trie[0][node_NT, tokens_NT[:, 1:]]
        log_probs: Floats = np.log(self._mass_KS[class_NT, next_NT] / self._mass_KS[class_NT, node_NT])
        return log_probs

    def next_probs(self, prefixes_NT: Tokens) -> Floats:
        """Return the probability of each symbol after each prefix, shape (n, vocabulary). Rows sum to one.

        Raises:
            ValueError: a prefix is not the beginning of any possible document without noise.
        """
        node_N, class_N = (a[:, -1] for a in self._states(prefixes_NT))
        children_NV = self._trie[0][node_N]
        mass_NV = np.where(children_NV < 0, 0.0, self._mass_KS[class_N[:, None], children_NV])
        probabilities: Floats = mass_NV / self._mass_KS[class_N, node_N][:, None]
        return probabilities

    # --- entropies -------------------------------------------------------------------------------

    @cached_property
    def stationary_K(self) -> Floats:
        """Stationary distribution of the classes, shape (K,). It sums to one."""
        chain_KK = np.array(self.lexicon.chain, dtype=np.float64) / (1 << CLASS_BITS)
        n = len(chain_KK)
        equations = np.vstack([chain_KK.T - np.eye(n), np.ones(n)])
        solution: Floats = np.linalg.lstsq(equations, np.append(np.zeros(n), 1.0), rcond=None)[0]
        return solution

    @cached_property
    def word_length(self) -> float:
        """Mean number of symbols per word, including the space, in the stationary distribution."""
        return float(self.stationary_K @ self._word_KW @ self._length_W)

    @cached_property
    def entropy(self) -> float:
        """Entropy rate of an endless text in nats per symbol. No model has a lower expected cross-entropy on it."""
        surprise_K = -(self._word_KW * np.log(self._word_KW)).sum(axis=1)
        return float(self.stationary_K @ surprise_K) / self.word_length

    def document_entropy(self, length: int) -> float:
        """Return the entropy of documents of `length` symbols, in nats per symbol. The first symbol does not count.

        It differs slightly from `entropy`, because the class before a document is known, and the last word of a
        document may be cut off.
        """
        cost_KL, follow_KLK = self._word_costs()
        longest = cost_KL.shape[1]
        within_KL = np.cumsum(cost_KL, axis=1)
        begins_TK = np.zeros((length + longest, len(cost_KL)))
        begins_TK[1, START_CLASS] = 1.0
        total = 0.0
        for t in range(1, length):
            total += float(begins_TK[t] @ within_KL[:, min(longest, length - t) - 1])
            begins_TK[t + 1 : t + 1 + longest] += np.einsum("k,klj->lj", begins_TK[t], follow_KLK)
        return total / (length - 1)

    def _word_costs(self) -> tuple[Floats, Floats]:
        """Return two tables about the next word. Their first index is the class of the previous word.

        The first table has the expected nats of each symbol of the next word, shape (K, L). The second table has the
        probability of each length and class of the next word, shape (K, L, K).
        """
        n, longest = len(self._word_KW), self._letters_WL.shape[1]
        path_WL = self._trie[1]
        reached_WL = path_WL >= 0
        from_WL = np.where(reached_WL, np.roll(path_WL, 1, axis=1), 0)
        from_WL[:, 0] = 0
        cost_KL = np.zeros((n, longest))
        follow_KLK = np.zeros((n, longest, n))
        for k in range(n):
            ratio_WL = np.where(reached_WL, self._mass_KS[k][path_WL] / self._mass_KS[k][from_WL], 1.0)
            cost_KL[k] = -(self._word_KW[k][:, None] * np.log(ratio_WL)).sum(axis=0)
            np.add.at(follow_KLK[k], (self._length_W - 1, self._class_W), self._word_KW[k])
        return cost_KL, follow_KLK

    @cached_property
    def bigram_entropy(self) -> float:
        """Cross-entropy rate in nats per symbol of the best model that sees only the last symbol."""
        word_W = self.stationary_K @ self._word_KW
        before_WL = np.concatenate([np.zeros_like(self._letters_WL[:, :1]), self._letters_WL[:, :-1]], axis=1)
        inside_WL = np.arange(self._letters_WL.shape[1]) < self._length_W[:, None]
        weights_WL = np.broadcast_to(word_W[:, None], inside_WL.shape)
        pairs_VV = np.zeros((self.vocabulary, self.vocabulary))
        np.add.at(pairs_VV, (before_WL[inside_WL], self._letters_WL[inside_WL]), weights_WL[inside_WL])
        conditional_VV = pairs_VV / np.maximum(pairs_VV.sum(axis=1, keepdims=True), 1e-300)
        nats_VV = -pairs_VV * np.log(np.where(pairs_VV > 0, conditional_VV, 1.0))
        return float(nats_VV.sum() / pairs_VV.sum())

    @cached_property
    def word_entropy(self) -> float:
        """Cross-entropy rate in nats per symbol of the best model in which words are independent of each other."""
        word_W = self.stationary_K @ self._word_KW
        return float(-(word_W * np.log(word_W)).sum()) / self.word_length


def text(tokens_T: Tokens) -> str:
    """Return symbols as a string.

    >>> text(np.array([0, 1, 2], dtype=np.uint8))
    ' ab'
    """
    return "".join(ALPHABET[i] for i in tokens_T)


def _spell_words(words: tuple[str, ...], longest: int) -> Tokens:
    """Return the symbols of each word, with the space after it, padded with spaces, shape (W, longest)."""
    letters_WL = np.zeros((len(words), longest), dtype=np.uint8)
    for w, word in enumerate(words):
        letters_WL[w, : len(word)] = [ALPHABET.index(letter) for letter in word]
    return letters_WL


def _unpadded_mask(length_M: Ints, longest: int) -> npt.NDArray[np.bool_]:
    """Return a flat mask of padded words, which is True at symbols and False at padding."""
    return (np.arange(longest) < length_M[:, None]).ravel()


def _repeat(numbers: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Return each number repeated as often as its count: a lookup table from a uniform random index to a number.

    Equal elements are the same object, so that the objects of a large table fit into the cache.

    >>> _repeat([7, 5], [1, 3])
    [7, 5, 5, 5]
    """
    table: list[int] = []
    for number, count in zip(numbers, counts, strict=True):
        table += [number] * count
    return table
