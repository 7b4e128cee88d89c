"""Documents from the cache are bit for bit those that the language generates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets.generated import cache_use
from workloads.lm.documents import LANGUAGE_SEED, document_entropy, documents, scored_documents
from workloads.lm.language import Language


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))


@pytest.mark.parametrize("domain", [0, 1])
@pytest.mark.parametrize("quality", [1.0, 0.9, "each"], ids=str)
def test_documents_are_those_of_the_language(domain: int, quality: Any) -> None:
    quality_N = np.linspace(0.5, 1.0, 40) if quality == "each" else quality
    generated = Language(LANGUAGE_SEED, domain).documents(40, length=33, stream_seed="a", quality=quality_N)
    for _ in range(2):
        read = documents(40, length=33, stream_seed="a", domain=domain, quality_N=quality_N)
        assert (read.dtype, read.shape) == (generated.dtype, generated.shape)
        assert read.tobytes() == generated.tobytes()
        assert not read.flags.writeable
    assert cache_use().entries == 1


def test_every_argument_is_in_the_key() -> None:
    first = documents(20, length=33, stream_seed="a")
    changed: list[dict[str, Any]] = [
        {"stream_seed": "b"}, {"length": 34}, {"n": 21}, {"domain": 1}, {"quality_N": 0.5},
        {"quality_N": np.linspace(0.1, 0.9, 20)}, {"quality_N": np.linspace(0.9, 0.1, 20)},
    ]  # fmt: skip
    for change in changed:
        arguments = {"n": 20, "length": 33, "stream_seed": "a", **change}
        other = documents(arguments.pop("n"), **arguments)
        assert other.shape != first.shape or other.tobytes() != first.tobytes()
    assert cache_use().entries == 1 + len(changed)


def test_scores_and_the_entropy_are_those_of_the_language() -> None:
    language = Language(LANGUAGE_SEED, 1)
    tokens_NT = language.documents(30, length=20, stream_seed="s")
    nats_N = -language.log_probs(tokens_NT).mean(axis=1)
    for _ in range(2):
        read_NT, read_N = scored_documents(30, length=20, stream_seed="s", domain=1)
        assert (read_NT.tobytes(), read_N.tobytes()) == (tokens_NT.tobytes(), nats_N.tobytes())
        assert document_entropy(20, domain=1) == language.document_entropy(20)
