"""The corpus of the synthetic word language, stored as token shards (files of tokens) in the data folder.

The shards are written when they are first needed.
"""

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
#: Number of pieces of `WordLanguage.documents` per shard. A shard then has about a hundred million tokens, like the
#: shards of FineWeb.
_PIECES_PER_SHARD = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A corpus of the synthetic word language.

    Args:
        seed: seed of the grammar.
        length: number of tokens per document.
    """

    seed: int = 1
    length: int = 1024

    @property
    def folder(self) -> Path:
        """The folder of the corpus's shards."""
        return data_folder() / FOLDER / f"seed-{self.seed}-length-{self.length}"


@cache
def language(corpus: Corpus) -> WordLanguage:
    return WordLanguage(corpus.seed, length=corpus.length, mark=EOT)


def open_or_write(corpus: Corpus, part: str, documents: int) -> Shards:
    """Return the shards of one text of a corpus. If they do not exist, write them first.

    Every document begins with a mark, the token `EOT`. One more mark follows the last document, so that the last token
    of this document also has a next token.

    Args:
        part: name of the text: `train` or a held-out split. The texts of different names are independent.
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


def generate(corpus: Corpus, text: str, documents: int) -> Tokens:
    """Return one text of a corpus, including the mark after its last document. Nothing is written to disk.

    Args:
        corpus: the corpus.
        text: name of the text. The texts of different names are independent.
        documents: number of documents.

    Returns:
        Tokens of shape (documents · length + 1,).
    """
    mark = np.array([EOT], dtype=np.uint16)
    return np.concatenate([*language(corpus).documents(documents, text), mark])


def _write(corpus: Corpus, part: str, documents: int, paths: list[Path]) -> None:
    corpus.folder.mkdir(parents=True, exist_ok=True)
    with _exclusive_lock(corpus.folder):
        # Another trial may have written the corpus while this trial waited for the lock. It may already read the files,
        # so they must not be replaced.
        if all(path.exists() for path in paths):
            return
        mark = np.array([EOT], dtype=np.uint16)
        pieces: Iterator[Tokens] = language(corpus).documents(documents, part)
        for path in paths:
            shard_pieces = islice(pieces, _PIECES_PER_SHARD)
            write_shard(path, chain(shard_pieces, [mark]) if path == paths[-1] else shard_pieces)


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on the folder, because two trials may write the corpus at the same time."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
