"""The lexicon of the synthetic language: the words' spellings, classes and frequencies, and the grammar.

The generator uses only integer arithmetic, so that a seed gives the same lexicon on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from workloads.integers import endless, key, permutation, shares

#: The symbols: a space, which ends every word, and 26 letters.
ALPHABET = " abcdefghijklmnopqrstuvwxyz"
LETTERS = len(ALPHABET) - 1
#: Number of bits of two random numbers. The first chooses the class of the next word (`CLASS_BITS`), and the second
#: chooses a word of this class (`WORD_BITS`).
CLASS_BITS = 12
WORD_BITS = 16
#: Number of words of each class. As in natural languages, some classes have few, short words (like articles), and
#: others have many, long words (like nouns).
CLASS_SIZES = (6, 8, 12, 16, 24, 32, 60, 90, 120, 180, 252, 300, 400, 500)
#: Number of closed classes, that is, classes with few, short words. They are the first classes.
_CLOSED = 6
#: Minimum and maximum number of letters of a word in a closed class, and in the other (open) classes.
_CLOSED_LETTERS = (1, 4)
_OPEN_LETTERS = (3, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """The words and the grammar of a domain, with frequencies as integers. There are W words and K classes.

    Args:
        words: the spellings without the space. All spellings are distinct.
        classes: the class of each word.
        shares: frequency of each word: its number of uses per 2^16 uses of its class.
        chain: K rows of K numbers. Row k contains how often each class follows class k, per 2^12 words of class k.
    """

    words: tuple[str, ...]
    classes: tuple[int, ...]
    shares: tuple[int, ...]
    chain: tuple[tuple[int, ...], ...]


def make(seed: int, domain: int) -> Lexicon:
    """Build the lexicon of a domain.

    All domains with the same seed have the same words. The words' classes and frequencies, and the chain, depend on the
    domain.
    """
    classes = [k for k, size in enumerate(CLASS_SIZES) for _ in range(size)]
    frequencies = [f for size in CLASS_SIZES for f in shares(_zipf(size), 1 << WORD_BITS)]
    return Lexicon(
        words=tuple(_assign_to_classes(_spellings(seed), seed, domain)),
        classes=tuple(classes),
        shares=tuple(frequencies),
        chain=_chain(key("chain", seed, domain)),
    )


def _zipf(n: int) -> list[int]:
    """Return weights proportional to 1 / (rank + 1), for ranks from 1."""
    return [(1 << 30) // (rank + 1) for rank in range(1, n + 1)]


def _chain(of: int) -> tuple[tuple[int, ...], ...]:
    """Return the chain for the random key `of`.

    For each class, the K classes that may follow it are put into a random order. In this order, each class is about
    half as frequent as the one before it.
    """
    n = len(CLASS_SIZES)
    rows = []
    for k in range(n):
        order = permutation(key("row", of, k), n)
        weights = [0] * n
        for place, follower in enumerate(order):
            weights[follower] = 1 << (n - place)
        rows.append(tuple(shares(weights, 1 << CLASS_BITS)))
    return tuple(rows)


def _spellings(seed: int) -> list[str]:
    """Return distinct words in the order of their classes. A Markov chain over letters generates each word."""
    rows = [_letter_row(key("letters", seed, previous)) for previous in range(LETTERS + 1)]
    draws = endless(key("spelling", seed), 32)
    words: dict[str, None] = {}
    for k, size in enumerate(CLASS_SIZES):
        low, high = _CLOSED_LETTERS if k < _CLOSED else _OPEN_LETTERS
        wanted = len(words) + size
        while len(words) < wanted:
            word, letter = "", 0
            for _ in range(low + next(draws) % (high - low + 1)):
                letter = _choose(rows[letter], next(draws))
                word += ALPHABET[letter]
            words[word] = None
    return list(words)


def _letter_row(of: int) -> list[int]:
    """Return the cumulative weights of the letters that may follow a symbol.

    The random key `of` gives the letters an order. The n-th letter in this order has the weight 1/n².
    """
    weights = [0] * LETTERS
    for place, letter in enumerate(permutation(of, LETTERS), start=1):
        weights[letter] = (1 << 20) // (place * place)
    return list(accumulate(weights))


def _choose(cumulative: list[int], random: int) -> int:
    """Return the index in `ALPHABET` of the letter that a 32-bit random number chooses."""
    point = random * cumulative[-1] >> 32
    return 1 + next(i for i, c in enumerate(cumulative) if point < c)


def _assign_to_classes(words: list[str], seed: int, domain: int) -> list[str]:
    """Permute words over classes, separately for closed and for open classes. Words of domain 0 keep their classes."""
    if domain == 0:
        return words
    closed = sum(CLASS_SIZES[:_CLOSED])
    order = permutation(key("deal", seed, domain, "closed"), closed)
    order += [closed + i for i in permutation(key("deal", seed, domain, "open"), len(words) - closed)]
    return [words[i] for i in order]
