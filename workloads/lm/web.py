"""The workloads on token shards (files of tokens): `lm-124m`, `lm-16m` (FineWeb), `lm-124m-synthetic` (generated text).

Source: Jordan et al., modded-nanogpt, 2024 (github.com/KellerJordan/modded-nanogpt), for the architecture, the batch
size, the validation tokens and the target 3.28.
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
from workloads.lm.corpus import Corpus, generate, language, open_or_write
from workloads.lm.facts import LM_16M, LM_124M, LM_124M_SYNTHETIC
from workloads.lm.model import GPT, mean_loss_in_parts
from workloads.redrawing import Redrawing

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
#: Number of sequences per forward pass of an evaluation. The logits of 16 sequences take 3.3 GB in fp32.
_CHUNK = 16
#: Number of tokens whose logits exist at once in training. These logits take 1.6 GB in fp32.
_ROWS = 8192
#: Number of sequences per forward and backward pass. Their 65,536 tokens saturate a data-centre GPU.
_MICRO_BATCH = 64


class SequencePool:
    """A pool of token sequences on disk. Example i has the tokens i·length to (i + 1)·length, both included.

    Args:
        tokens: the memory-mapped tokens, which are read from disk when they are gathered.
        length: number of input tokens per example. An example has one more token, which is predicted but not an input.

    Raises:
        DataError: the number of tokens is too small for one sequence.
    """

    #: A gathered batch depends only on the indices, so the harness may prefetch it.
    prefetchable = True

    def __init__(self, tokens: shards.Shards, length: int) -> None:
        #: The quality scores of the examples by name; this pool has none.
        self.scores: Mapping[str, Tensor] = {}
        self._tokens = tokens
        self._length = length
        if len(self) < 1:
            raise DataError(f"{tokens.paths[0]} has {len(tokens):,} tokens, expected at least {length + 1:,}")

    def __len__(self) -> int:
        return (len(self._tokens) - 1) // self._length

    def gather(self, indices: Tensor) -> Batch:
        """Return the sequences at `indices`: `tokens_BT` (int64, (n, length + 1)), copied from the files.

        Raises:
            DataError: a token is not in the vocabulary. The message names the file and the position.
        """
        tokens_BT = np.empty((len(indices), self._length + 1), dtype=np.int64)
        for row, index in enumerate(indices.tolist()):
            tokens_BT[row] = self._tokens.read(index * self._length, (index + 1) * self._length + 1)
        return Batch(tokens_BT=torch.from_numpy(tokens_BT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The FineWeb shards of a workload, and the sizes of its held-out splits.

    Args:
        train: number of training shards in the pool. They have the indices 1 to `train`.
        reserved: index of the training shard from which `feedback` is taken. `audit` is taken from the shard after it.
        tokens: minimum number of tokens of each shard.
        sequences: number of sequences per held-out split. `score` is the beginning of the validation shard.
    """

    train: int
    sequences: Mapping[Split, int]
    reserved: int = FINEWEB_RESERVED[0]
    tokens: int = FINEWEB_SHARD_TOKENS

    def names(self, part: str) -> list[str]:
        """Return the file names of the shards of `train` or of a held-out split."""
        if part == "score":
            return [FINEWEB_VALIDATION % 0]
        numbers = {"feedback": [self.reserved], "audit": [self.reserved + 1]}
        return [FINEWEB_TRAIN % k for k in numbers.get(part, range(1, self.train + 1))]


class _TokenShardWorkload(HeldOutSymbols):
    """Base class of the workloads that train a GPT on token shards.

    Args:
        facts: the facts of the workload.
        config: arguments of `GPTConfig`.
        micro_batch: maximum number of sequences per pass on one device. With None, the whole batch is passed at once,
            or in parts if the memory is too small.
    """

    chunk = _CHUNK

    def __init__(self, facts: WorkloadFacts, config: dict[str, Any], micro_batch: int | None = None) -> None:
        super().__init__(facts, config)
        self.micro_batch = micro_batch
        self._held_out: dict[Split, Tensor] = {}
        self.dtype = None if facts.precision.dtype == "float32" else getattr(torch, facts.precision.dtype)

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the cross-entropy in nats per symbol: the mean over examples, or with `per_example` all n values.

        The mean is computed in chunks, without all logits in memory at once.
        """
        if per_example:
            return super().loss(model, batch, per_example=True)
        assert isinstance(model, GPT)
        return mean_loss_in_parts(model, batch["tokens_BT"], rows=_ROWS, label_smoothing=self._label_smoothing)

    @abstractmethod
    def _source(self, split: Split) -> tuple[shards.Shards, int]:
        """Return the tokens of a split, and the number of sequences to take from them."""

    def held_out_tokens(self, split: Split) -> Tensor:
        """Return the sequences of a split. They are read once and then cached.

        Raises:
            DataError: the split's shard is missing, damaged or too short. The message names the file.
        """
        if split not in self._held_out:
            self._held_out[split] = _first_sequences(*self._source(split), self.facts.tokens_per_example)
        return self._held_out[split]


class LmWeb(_TokenShardWorkload):
    """Base class of the workloads on FineWeb.

    The split `score` is the beginning of the validation shard. In `lm-124m`, it has the first 10,485,760 tokens, as in
    modded-nanogpt. `feedback` and `audit` come from training shards that no training pool contains.

    Args:
        facts: the facts of the workload.
        config: arguments of `GPTConfig`.
        web: the shards.
        micro_batch: see `_TokenShardWorkload`.
    """

    def __init__(self, facts: WorkloadFacts, config: dict[str, Any], web: Web, micro_batch: int | None = None) -> None:
        super().__init__(facts, config, micro_batch)
        self._web = web

    def train_data(self, seed: int) -> SequencePool:
        """Return all sequences of the training shards. The seed has no effect.

        Raises:
            DataError: a shard is missing, damaged or too short. The message names the file.
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
    """The workload `lm-124m`, with 124 million parameters and the target 3.28."""

    facts = LM_124M

    def __init__(self) -> None:
        # 41 shards have more tokens than the horizon, so no sequence has to be repeated.
        web = Web(train=41, sequences={"feedback": 1024, "score": 10_240, "audit": 10_240})
        super().__init__(LM_124M, _124M, web, _MICRO_BATCH)


class Lm16m(LmWeb):
    """The workload `lm-16m`, with 16 million parameters. Most of them are in the embedding."""

    facts = LM_16M

    def __init__(self) -> None:
        super().__init__(LM_16M, _16M, Web(train=4, sequences={"feedback": 512, "score": 2_560, "audit": 10_240}))


class Lm124mSynthetic(Redrawing, _TokenShardWorkload):
    """The 124M model on documents of a language whose entropy is known.

    The corpus is written as shards on first use. `loss` is corrected as in `lm-tiny`.

    Args:
        documents: number of documents of 1,024 tokens in the training corpus.
        held_out: number of documents in each held-out split.
    """

    facts = LM_124M_SYNTHETIC

    def __init__(self, documents: int = LM_124M_SYNTHETIC.budget.horizon, held_out: int = 1024) -> None:
        super().__init__(LM_124M_SYNTHETIC, _124M, _MICRO_BATCH)
        self._corpus = Corpus(length=self.facts.tokens_per_example)
        self._documents = documents
        self._n = held_out
        self._nats: dict[Split, Tensor] = {}

    def train_data(self, seed: int) -> SequencePool:
        """Return all documents of the training corpus. The seed has no effect: all runs use the same corpus."""
        return SequencePool(open_or_write(self._corpus, "train", self._documents), self.facts.tokens_per_example)

    def held_out_tokens(self, split: Split) -> Tensor:
        """Return the documents of a split.

        If `draw_held_out` gave the split a seed, the documents are generated and never written to a file.
        """
        if split in self._seeds and split not in self._held_out:
            tokens_T = torch.from_numpy(generate(self._corpus, self.sample(split), self._n).astype(np.int64))
            self._held_out[split] = tokens_T.unfold(0, self._corpus.length + 1, self._corpus.length)
        return super().held_out_tokens(split)

    def draw_held_out(self, seeds: Mapping[Split, str]) -> None:
        """See `Redrawing`. Documents of the same splits that were generated or read before are forgotten."""
        super().draw_held_out(seeds)
        self._held_out.clear()
        self._nats.clear()

    def correction(self, split: Split) -> tuple[Tensor, float]:
        if split not in self._nats:
            self._nats[split] = torch.from_numpy(language(self._corpus).nats(self.held_out_tokens(split).numpy()))
        return self._nats[split], language(self._corpus).entropy

    def _source(self, split: Split) -> tuple[shards.Shards, int]:
        return open_or_write(self._corpus, split, self._n), self._n


def _first_sequences(tokens: shards.Shards, n: int, length: int) -> Tensor:
    """Return the first `n` sequences, int64 (n, length + 1).

    Raises:
        DataError: the shards have too few tokens.
    """
    wanted = n * length + 1
    if len(tokens) < wanted:
        raise DataError(f"{tokens.paths[0]} has {len(tokens):,} tokens, expected at least {wanted:,}")
    tokens_T: npt.NDArray[np.int64] = tokens.read(0, wanted).astype(np.int64)
    return torch.from_numpy(tokens_T).unfold(0, length + 1, length)
