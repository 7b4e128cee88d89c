"""The synthetic language: the same bytes everywhere, and an entropy that is really its own."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from workloads.integers import key, randoms, shares
from workloads.lm.language import SPACE, Language, text
from workloads.lm.lexicon import CLASS_BITS, CLASS_SIZES, WORD_BITS

GOLDEN = "1bd497e9e3e5d882f86fee6e3709a32274faf9c43e656483d1ae2c1cf2e54c07"


@pytest.fixture(scope="module")
def language() -> Language:
    return Language(1)


def test_generated_bytes_are_pinned(language: Language) -> None:
    clean = language.documents(200, length=65, stream_seed="golden")
    noisy = Language(1, domain=1).documents(200, length=65, stream_seed=7, quality=0.75)
    assert hashlib.sha256(clean.tobytes() + noisy.tobytes()).hexdigest() == GOLDEN


def test_randoms_are_splitmix64() -> None:
    # The published generator, seeded with 1234567; numbers from its reference implementation.
    assert randoms(1234567, 0, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert randoms(5, 10, 4).tolist() == randoms(5, 0, 14)[10:].tolist()


def test_keys_do_not_depend_on_the_type_of_an_integer() -> None:
    assert key("a", int(np.int64(3))) == key("a", np.int64(3))  # type: ignore[arg-type]
    assert key("a", 3) != key("a", "3")


def test_shares_sum_exactly_and_are_positive() -> None:
    parts = shares([1 << 30, 7, 1], 4096)
    assert sum(parts) == 4096
    assert min(parts) >= 1
    with pytest.raises(ValueError, match="cannot sum"):
        shares([1, 1, 1], 2)


def test_lexicon_is_whole(language: Language) -> None:
    lexicon = language.lexicon
    assert len(set(lexicon.words)) == len(lexicon.words) == sum(CLASS_SIZES) == 2000
    assert all(sum(row) == 1 << CLASS_BITS and min(row) > 0 for row in lexicon.chain)
    for k in range(len(CLASS_SIZES)):
        assert sum(s for s, c in zip(lexicon.shares, lexicon.classes, strict=True) if c == k) == 1 << WORD_BITS


def test_equal_seeds_give_equal_text_and_others_do_not(language: Language) -> None:
    a = language.documents(50, length=65, stream_seed=1)
    assert (a == Language(1).documents(80, length=65, stream_seed=1)[:50]).all()
    for other in (
        language.documents(50, length=65, stream_seed=2),
        Language(2).documents(50, length=65, stream_seed=1),
    ):
        assert not (a == other).all(axis=1).any()


def test_documents_begin_with_a_space_and_a_word(language: Language) -> None:
    documents = language.documents(100, length=65, stream_seed=4)
    assert (documents[:, 0] == SPACE).all()
    words = set(language.lexicon.words)
    assert all(word in words for row in documents for word in text(row).split(" ")[1:-1])


@pytest.mark.slow
def test_entropy_is_that_of_sampled_text(language: Language) -> None:
    documents = language.documents(40_000, length=65, stream_seed="entropy")
    nats = -language.log_probs(documents)
    error = nats.mean(axis=1).std() / 200
    assert error < 6e-4
    assert nats.mean() == pytest.approx(language.document_entropy(65), abs=3 * error)


def test_entropy_of_an_endless_text(language: Language) -> None:
    # Two computations that share nothing but the masses: by words and by symbols.
    assert language.document_entropy(20_000) == pytest.approx(language.entropy, abs=1e-4)
    long = language.documents(500, length=2001, stream_seed="long")
    nats = -language.log_probs(long)
    assert nats.mean() == pytest.approx(language.entropy, abs=1.5e-3)
    assert nats.mean() == pytest.approx(language.document_entropy(2001), abs=1e-3)


def test_entropy_lies_well_under_what_simpler_models_reach(language: Language) -> None:
    assert language.entropy < 0.9 * language.word_entropy
    assert language.entropy < 0.5 * language.bigram_entropy


def test_bigram_entropy_is_that_of_counted_pairs(language: Language) -> None:
    tokens = language.tokens(1_000_000, "pairs").astype(np.int64)
    pairs = np.bincount(tokens[:-1] * 27 + tokens[1:], minlength=27 * 27).reshape(27, 27) / (len(tokens) - 1)
    conditional = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1e-12)
    counted = -(pairs * np.log(np.where(pairs > 0, conditional, 1.0))).sum()
    assert counted == pytest.approx(language.bigram_entropy, abs=0.01)


def test_stationary_shares(language: Language) -> None:
    shares_K = language.stationary_K
    assert shares_K.sum() == pytest.approx(1.0, abs=1e-12)
    assert (shares_K > 0).all()
    chain_KK = np.array(language.lexicon.chain) / (1 << CLASS_BITS)
    np.testing.assert_allclose(shares_K @ chain_KK, shares_K, atol=1e-12)


def test_next_probabilities_sum_to_one_and_are_those_of_log_probs(language: Language) -> None:
    documents = language.documents(200, length=40, stream_seed=9)
    log_probs = language.log_probs(documents)
    for t in (1, 2, 17, 39):
        probabilities = language.next_probs(documents[:, :t])
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
        np.testing.assert_allclose(np.log(probabilities[np.arange(200), documents[:, t]]), log_probs[:, t - 1])


def test_text_that_cannot_be_is_refused(language: Language) -> None:
    noisy = language.documents(20, length=65, stream_seed=1, quality=0.5)
    with pytest.raises(ValueError, match="no such word"):
        language.log_probs(noisy)
    with pytest.raises(ValueError, match="must begin with a space"):
        language.log_probs(noisy[:, 1:])


def test_quality_is_the_share_of_symbols_left_as_they_were(language: Language) -> None:
    quality = np.array([1.0] * 100 + [0.8] * 100 + [0.0] * 100)
    clean = language.documents(300, length=201, stream_seed=2)
    noisy = language.documents(300, length=201, stream_seed=2, quality=quality)
    same = (clean == noisy)[:, 1:].reshape(3, 100, 200).mean(axis=(1, 2))
    # A replaced symbol is the old one again once in 27 times.
    np.testing.assert_allclose(same, [1.0, 0.8 + 0.2 / 27, 1 / 27], atol=0.01)
    for wrong in (1.1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="quality"):
            language.documents(3, length=9, stream_seed=2, quality=wrong)


def test_domains_share_words_but_not_grammar(language: Language) -> None:
    other = Language(1, domain=1)
    assert set(other.lexicon.words) == set(language.lexicon.words)
    assert other.lexicon.chain != language.lexicon.chain
    moved = sum(a != b for a, b in zip(other.lexicon.words, language.lexicon.words, strict=True))
    assert moved > 1900
    # Whoever knows only one domain is surprised by the other's text.
    documents = other.documents(500, length=65, stream_seed=1)
    own, foreign = other.log_probs(documents[:, :2]).mean(), language.log_probs(documents[:, :2]).mean()
    assert foreign < own


def test_an_empty_request_is_refused(language: Language) -> None:
    with pytest.raises(ValueError, match="at least"):
        language.documents(0, length=9, stream_seed=1)
