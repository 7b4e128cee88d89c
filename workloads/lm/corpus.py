"""The corpus of the synthetic word language as token shards, written beside the datasets when it is first asked for."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path

import numpy as np

from harness.api import DataError, data_folder
from workloads.formats.shards import EOT, Shards, read_header, write_shard
from workloads.lm.words import TOGETHER, Tokens, WordLanguage

FOLDER = "synthetic-words"
#: Of a hundred million tokens, as in the shards of web text.
_PIECES_PER_SHARD = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Which corpus: the seed of its grammar, and the tokens in each of its documents."""

    seed: int = 1
    length: int = 1024

    @property
    def folder(self) -> Path:
        """Where its shards lie."""
        return data_folder() / FOLDER / f"seed-{self.seed}-length-{self.length}"


@cache
def language(corpus: Corpus) -> WordLanguage:
    return WordLanguage(corpus.seed, length=corpus.length, mark=EOT)


def written(corpus: Corpus, part: str, documents: int) -> Shards:
    """The tokens of so many documents, and one mark more, so that the last document too has a token after it.

    Args:
        part: which text: `train` or a held-out split; different ones are unrelated.

    Raises:
        DataError: the folder cannot be written to, or a shard in it is damaged.
    """
    per_shard = TOGETHER * _PIECES_PER_SHARD
    paths = [
        corpus.folder / f"{part}-{documents}_{k:06d}.bin" for k in range(1, 1 + max(1, -(-documents // per_shard)))
    ]
    if not all(path.exists() for path in paths):
        try:
            _write(corpus, part, documents, paths)
        except OSError as error:
            raise DataError(
                f"the synthetic corpus cannot be written to {corpus.folder}: {error.strerror or error}",
                fix="set BENCH_DATA to a folder with room for it",
            ) from None
    found, expected = sum(map(read_header, paths)), documents * corpus.length + 1
    if found != expected:
        raise DataError(f"{paths[0]} and its followers have {found:,} tokens, expected {expected:,}", fix="delete them")
    return Shards(paths, vocabulary=EOT + 1)


def _write(corpus: Corpus, part: str, documents: int, paths: list[Path]) -> None:
    corpus.folder.mkdir(parents=True, exist_ok=True)
    with _alone(corpus.folder):
        # Another trial may have written it while this one waited; to write it again would replace files in use.
        if all(path.exists() for path in paths):
            return
        mark = np.array([EOT], dtype=np.uint16)
        pieces: Iterator[Tokens] = language(corpus).documents(documents, part)
        for path in paths:
            some = islice(pieces, _PIECES_PER_SHARD)
            write_shard(path, chain(some, [mark]) if path == paths[-1] else some)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process writes here: two trials may start at once."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
