"""The synthetic corpus on disk: the layout of its documents, and two trials that ask for it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from workloads.formats import shards
from workloads.lm import corpus as corpora
from workloads.lm.corpus import Corpus, open_or_write


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    return Corpus(length=8)


def test_documents_begin_with_the_end_of_text_token(corpus: Corpus) -> None:
    """As in the published shards: 50256 stands before each document, never after it, and once more at the very end."""
    (path,) = open_or_write(corpus, "train", 30).paths
    shards.check(path)
    tokens = np.fromfile(path, "<u2")[512:]
    assert np.flatnonzero(tokens == 50_256).tolist() == list(range(0, 30 * 8 + 1, 8))


def test_a_trial_that_waited_for_another_does_not_write_again(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = corpora._exclusive_lock
    before: list[int] = []

    @contextmanager
    def held_by_another(folder: Path) -> Iterator[None]:
        # The other trial, which came first to the lock, writes the corpus while this one waits.
        monkeypatch.setattr(corpora, "_exclusive_lock", alone)
        before.extend(path.stat().st_ino for path in open_or_write(corpus, "train", 30).paths)
        with alone(folder):
            yield

    monkeypatch.setattr(corpora, "_exclusive_lock", held_by_another)
    tokens = open_or_write(corpus, "train", 30)
    # A shard is written beside its place and renamed: one written again is another file.
    assert [path.stat().st_ino for path in tokens.paths] == before
    assert len(before) == 1
