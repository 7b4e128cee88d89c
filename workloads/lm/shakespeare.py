"""The workload `lm-shakespeare`: a two-layer GPT predicts the characters of Shakespeare's plays."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.api import DataError, Split, TensorPool, dataset_path
from workloads.datasets import TINYSHAKESPEARE
from workloads.formats.text import Alphabet, read_text
from workloads.lm.common import HeldOutSymbols
from workloads.lm.facts import LM_SHAKESPEARE, LM_SHAKESPEARE_LEARNED

_CONTEXT = LM_SHAKESPEARE.tokens_per_example
CHARACTERS = 65
_CONFIG: dict[str, Any] = {
    "layers": 2,
    "width": 96,
    "heads": 3,
    "context": _CONTEXT,
    "vocabulary": CHARACTERS,
    "norm": "layernorm",
    "activation": "relu2",
    "qk_norm": True,
}
_VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "": (LM_SHAKESPEARE, {}),
    "learned": (LM_SHAKESPEARE_LEARNED, {"positions": "learned"}),
}
#: The text is cut into blocks of this number of characters. Of every ten blocks, each held-out split gets one, so that
#: each split contains passages from all parts of the text.
BLOCK = 10_000
_PERIOD = 10
_HELD_OUT: dict[int, Split] = {3: "feedback", 6: "score", 9: "audit"}
#: Number of evenly spaced sequences per held-out split. The blocks of a split contain 1,716 sequences, but more
#: sequences would make the evaluations longer.
_SEQUENCES: dict[Split, int] = {"feedback": 256, "score": 672, "audit": 672}
#: Number of characters between the starts of two consecutive training sequences in a block.
_STRIDE = 8
#: Number of sequences per forward pass of an evaluation. With this number, the activations fit into the cache.
_CHUNK = 32


class LmShakespeare(HeldOutSymbols):
    """Language modelling on sequences of 64 characters; the metric `loss` is the mean cross-entropy.

    Args:
        variant: name of a variant, which changes a detail of the model; empty for the workload itself.
            `learned` has learned position embeddings instead of rotary positions.
    """

    facts = LM_SHAKESPEARE
    chunk = _CHUNK

    def __init__(self, variant: str = "") -> None:
        facts, changes = _VARIANTS[variant]
        super().__init__(facts, _CONFIG | changes)

    def train_data(self, seed: int) -> TensorPool:
        """Return all training sequences. The seed has no effect.

        Field: `tokens_BT` (int64, (n, 65)); the model reads characters 0 … 63 and predicts 1 … 64.
        """
        return TensorPool(tokens_BT=sequences(_path(), "train"))

    def held_out_tokens(self, split: Split) -> Tensor:
        return sequences(_path(), split)


def _path() -> Path:
    return dataset_path(TINYSHAKESPEARE) / TINYSHAKESPEARE.files[0].name


@cache
def sequences(path: Path, part: str) -> Tensor:
    """Return the sequences of a held-out split or of `train`, int64 (n, 65).

    Different splits have no block of text in common.

    Raises:
        DataError: the text does not have 65 different characters, or is too short for ten blocks.
    """
    text = read_text(path)
    alphabet = Alphabet(text)
    if len(alphabet) != CHARACTERS:
        raise DataError(f"{path} has {len(alphabet)} different characters, expected {CHARACTERS}")
    if len(text) < _PERIOD * BLOCK:
        raise DataError(f"{path} has {len(text):,} characters, expected at least {_PERIOD * BLOCK:,}")
    ids = torch.from_numpy(alphabet.encode(text, str(path)).astype(np.int64))
    blocks = [b for k, b in enumerate(torch.split(ids, BLOCK)) if _HELD_OUT.get(k % _PERIOD, "train") == part]
    stride = _STRIDE if part == "train" else _CONTEXT
    cut = torch.cat([b.unfold(0, _CONTEXT + 1, stride) for b in blocks if len(b) > _CONTEXT])
    if part == "train":
        return cut
    wanted = min(_SEQUENCES[part], len(cut))  # type: ignore[index]
    return cut[torch.arange(wanted) * len(cut) // wanted].contiguous()
