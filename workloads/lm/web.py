"""The workloads on token shards: `lm-124m` and `lm-16m` on FineWeb, `lm-124m-synthetic` on a generated corpus.

Source: Jordan et al., modded-nanogpt, 2024 (github.com/KellerJordan/modded-nanogpt): architecture, batch, validation
tokens and the target 3.28.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.api import Batch, DataError, Split, WorkloadFacts, dataset_path
from workloads.datasets import FINEWEB, FINEWEB_RESERVED, FINEWEB_SHARD_TOKENS, FINEWEB_TRAIN, FINEWEB_VALIDATION
from workloads.formats import shards
from workloads.lm.common import HeldOutSymbols
from workloads.lm.corpus import Corpus, language, written
from workloads.lm.facts import LM_16M, LM_124M, LM_124M_SYNTHETIC
from workloads.lm.model import GPT, mean_loss_in_parts

_GPT2: dict[str, Any] = {
    "context": 1024,
    # 50,257 tokens, padded to a multiple of 128 so that the matrix products of the head are aligned.
    "vocabulary": 50_304,
    "norm": "rmsnorm",
    "activation": "relu2",
    "positions": "rotary",
    "qk_norm": True,
    "tied": True,
}
_124M = _GPT2 | {"layers": 12, "width": 768, "heads": 6}
_16M = _GPT2 | {"layers": 4, "width": 256, "heads": 4}
#: Sequences per forward pass of an evaluation: the logits of 16 take 3.3 GB in fp32.
_CHUNK = 16
#: Tokens whose logits exist at a time in a training pass: 1.6 GB in fp32.
_ROWS = 8192
#: 65,536 tokens fill a data-centre GPU; more only take memory.
_MICRO_BATCH = 64


class SequencePool:
    """Tokens on disk as examples: index i is tokens i·length to (i + 1)·length, and the one after as last target.

    Args:
        tokens: mapped into memory; only what is gathered is read.
        length: tokens that the model reads.

    Raises:
        DataError: there are too few tokens for one sequence.
    """

    #: What is gathered depends on the indices alone: the harness may read ahead.
    prefetchable = True

    def __init__(self, tokens: shards.Shards, length: int) -> None:
        self.scores: Mapping[str, Tensor] = {}
        self._tokens = tokens
        self._length = length
        if len(self) < 1:
            raise DataError(f"{tokens.paths[0]} has {len(tokens):,} tokens, expected at least {length + 1:,}")

    def __len__(self) -> int:
        return (len(self._tokens) - 1) // self._length

    def gather(self, indices: Tensor) -> Batch:
        """The sequences at `indices`: `tokens_BT` (int64, (n, length + 1)), copied from the files.

        Raises:
            DataError: a token is not in the vocabulary; names the file and the position.
        """
        tokens_BT = np.empty((len(indices), self._length + 1), dtype=np.int64)
        for row, index in enumerate(indices.tolist()):
            tokens_BT[row] = self._tokens.read(index * self._length, (index + 1) * self._length + 1)
        return Batch(tokens_BT=torch.from_numpy(tokens_BT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """Which shards of FineWeb a workload uses, and how much of those that are held out.

    Args:
        train: shards 1 … `train` are the pool.
        reserved: the training shard for `feedback`; the next one is for `audit`.
        tokens: what each of these shards must hold.
        sequences: held-out sequences per split; `score` is the beginning of the validation shard.
    """

    train: int
    sequences: Mapping[Split, int]
    reserved: int = FINEWEB_RESERVED[0]
    tokens: int = FINEWEB_SHARD_TOKENS

    def names(self, part: str) -> list[str]:
        """File names of `train` or of a held-out split."""
        if part == "score":
            return [FINEWEB_VALIDATION % 0]
        numbers = {"feedback": [self.reserved], "audit": [self.reserved + 1]}
        return [FINEWEB_TRAIN % k for k in numbers.get(part, range(1, self.train + 1))]


class _OnShards(HeldOutSymbols):
    """A GPT on token shards; the classes below say where the shards come from.

    Args:
        facts: the workload as data.
        config: of the model.
        micro_batch: sequences of a pass on one device; all of a batch, or what its memory holds, when None.
    """

    chunk = _CHUNK

    def __init__(self, facts: WorkloadFacts, config: dict[str, Any], micro_batch: int | None = None) -> None:
        super().__init__(facts, config)
        self.micro_batch = micro_batch
        self._held_out: dict[Split, Tensor] = {}
        self.dtype = None if facts.precision.dtype == "float32" else getattr(torch, facts.precision.dtype)

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Cross-entropy in nats per token: the mean, a few rows of logits at a time, or of each example, (n,)."""
        if per_example:
            return super().loss(model, batch, per_example=True)
        assert isinstance(model, GPT)
        return mean_loss_in_parts(model, batch["tokens_BT"], rows=_ROWS, label_smoothing=self._label_smoothing)

    @abstractmethod
    def _source(self, split: Split) -> tuple[shards.Shards, int]:
        """Where a split's tokens are, and how many sequences of them it has."""

    def held_out_tokens(self, split: Split) -> Tensor:
        """The sequences of a split, read once.

        Raises:
            DataError: the split's shard is missing, damaged or short; names it.
        """
        if split not in self._held_out:
            self._held_out[split] = _first(*self._source(split), self.facts.tokens_per_example)
        return self._held_out[split]


class LmWeb(_OnShards):
    """FineWeb: `score` is the first 10,485,760 tokens of the validation shard in `lm-124m`, as in the speed runs.

    `feedback` and `audit` come from training shards that are in no pool.

    Args:
        facts: the workload as data.
        config: of the model.
        web: which shards.
        micro_batch: sequences of a pass on one device; all of a batch when None.
    """

    def __init__(self, facts: WorkloadFacts, config: dict[str, Any], web: Web, micro_batch: int | None = None) -> None:
        super().__init__(facts, config, micro_batch)
        self._web = web

    def train_data(self, seed: int) -> SequencePool:
        """All sequences of the training shards; the seed decides nothing.

        Raises:
            DataError: a shard is missing, damaged or short; names it.
        """
        return SequencePool(self._shards("train"), self.facts.tokens_per_example)

    def _source(self, split: Split) -> tuple[shards.Shards, int]:
        return self._shards(split), self._web.sequences[split]

    def _shards(self, part: str) -> shards.Shards:
        names = self._web.names(part)
        folder = dataset_path(FINEWEB, only=names)
        for name in names:
            if (found := shards.read_header(folder / name)) < self._web.tokens:
                raise DataError(f"{folder / name} has {found:,} tokens, expected {self._web.tokens:,}")
        return shards.Shards([folder / name for name in names], vocabulary=shards.VOCABULARY)


class Lm124m(LmWeb):
    """The 124M model to 3.28."""

    facts = LM_124M

    def __init__(self) -> None:
        # 41 shards hold the horizon: no sequence is seen twice within it.
        web = Web(train=41, sequences={"feedback": 1024, "score": 10_240, "audit": 10_240})
        super().__init__(LM_124M, _124M, web, _MICRO_BATCH)


class Lm16m(LmWeb):
    """The same architecture, smaller: most of its parameters are the embedding."""

    facts = LM_16M

    def __init__(self) -> None:
        super().__init__(LM_16M, _16M, Web(train=4, sequences={"feedback": 512, "score": 2_560, "audit": 10_240}))


class Lm124mSynthetic(_OnShards):
    """The 124M model on documents of a language whose entropy is known.

    The corpus is written as shards on first use. `loss` is corrected as in `lm-tiny`.

    Args:
        documents: documents of 1,024 tokens in the training corpus.
        held_out: documents in each held-out split.
    """

    facts = LM_124M_SYNTHETIC

    def __init__(self, documents: int = LM_124M_SYNTHETIC.budget.horizon, held_out: int = 1024) -> None:
        super().__init__(LM_124M_SYNTHETIC, _124M, _MICRO_BATCH)
        self._corpus = Corpus(length=self.facts.tokens_per_example)
        self._documents = documents
        self._n = held_out
        self._nats: dict[Split, Tensor] = {}

    def train_data(self, seed: int) -> SequencePool:
        """All documents of the corpus; the seed decides nothing, since the corpus stays on disk."""
        return SequencePool(written(self._corpus, "train", self._documents), self.facts.tokens_per_example)

    def correction(self, split: Split) -> tuple[Tensor, float]:
        if split not in self._nats:
            self._nats[split] = torch.from_numpy(language(self._corpus).nats(self.held_out_tokens(split).numpy()))
        return self._nats[split], language(self._corpus).entropy

    def _source(self, split: Split) -> tuple[shards.Shards, int]:
        return written(self._corpus, split, self._n), self._n


def _first(tokens: shards.Shards, n: int, length: int) -> Tensor:
    """The first `n` sequences, int64 (n, length + 1).

    Raises:
        DataError: there are too few tokens; names the file.
    """
    wanted = n * length + 1
    if len(tokens) < wanted:
        raise DataError(f"{tokens.paths[0]} has {len(tokens):,} tokens, expected at least {wanted:,}")
    tokens_T: npt.NDArray[np.int64] = tokens.read(0, wanted).astype(np.int64)
    return torch.from_numpy(tokens_T).unfold(0, length + 1, length)
