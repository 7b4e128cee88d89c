"""The corpus of the synthetic word language as token shards, which are written to the data folder on first use."""

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
#: Number of pieces per shard, which then has about a hundred million tokens, as the shards of web text.
_PIECES_PER_SHARD = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A corpus, given by the seed of its grammar and the number of tokens per document."""

    seed: int = 1
    length: int = 1024

    @property
    def folder(self) -> Path:
        """The folder of its shards."""
        return data_folder() / FOLDER / f"seed-{self.seed}-length-{self.length}"


@cache
def language(corpus: Corpus) -> WordLanguage:
    return WordLanguage(corpus.seed, length=corpus.length, mark=EOT)


def written(corpus: Corpus, part: str, documents: int) -> Shards:
    """Return the shards of one text of a corpus, and write them if they do not exist.

    After the last document there is one more mark, so that its last token also has a next token.

    Args:
        part: name of the text: `train` or a held-out split. Different texts are independent.
        documents: number of documents.

    Raises:
        DataError: the folder is not writable, or a shard in it is damaged.
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
        raise DataError(
            f"{paths[0]} and the following shards have {found:,} tokens, expected {expected:,}",
            fix="delete these files",
        )
    return Shards(paths, vocabulary=EOT + 1)


def _write(corpus: Corpus, part: str, documents: int, paths: list[Path]) -> None:
    corpus.folder.mkdir(parents=True, exist_ok=True)
    with _alone(corpus.folder):
        # Another trial may have written the corpus while this one waited. Its files must not be replaced while in use.
        if all(path.exists() for path in paths):
            return
        mark = np.array([EOT], dtype=np.uint16)
        pieces: Iterator[Tokens] = language(corpus).documents(documents, part)
        for path in paths:
            shard_pieces = islice(pieces, _PIECES_PER_SHARD)
            write_shard(path, chain(shard_pieces, [mark]) if path == paths[-1] else shard_pieces)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on the folder, since two trials may start at once."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
