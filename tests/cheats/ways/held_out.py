"""Held-out data that are contained in a submission, or searched for."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re

import torch
from torch import Tensor, nn

from tests.cheats.ways.honest import Honest


class SearchesMemory(Honest):
    """Searches its memory for seeds, of which a subclass knows the SHA-256.

    Attributes:
        secrets: what it must not find.
        known: what it must find, so that the search is known to work.
    """

    secrets: frozenset[str] = frozenset()
    known = ""

    def begin(self) -> None:
        hashes = {hashlib.sha256(text).hexdigest() for text in find_seeds()}
        if self.known not in hashes:
            raise RuntimeError("the search is blind")
        if hashes & self.secrets:
            raise RuntimeError("a secret was found")


def find_seeds() -> set[bytes]:
    """Everything in the writable memory of this process that looks like the seed of a split or a nonce."""
    texts: set[bytes] = set()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps.read().splitlines():
            bounds, permissions = line.split()[:2]
            first, last = (int(bound, 16) for bound in bounds.split("-"))
            if permissions.startswith("rw"):
                with contextlib.suppress(OSError, OverflowError):
                    texts |= set(re.findall(rb"[0-9a-f]{64}", os.pread(memory.fileno(), last - first, first)))
    return texts


class Table(nn.Module):
    """The next symbols after up to six symbols of some documents: what a submission could contain of them."""

    def __init__(self, tokens_NT: Tensor, vocabulary: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.counts: dict[tuple[int, ...], Tensor] = {}
        for document in tokens_NT.tolist():
            for t in range(1, len(document)):
                for start in range(max(0, t - 6), t + 1):
                    row = self.counts.setdefault(tuple(document[start:t]), torch.full((vocabulary,), 1e-3))
                    row[document[t]] += 1

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return torch.stack([torch.stack(self._rows(document)) for document in tokens_BT.tolist()])

    def _rows(self, document: list[int]) -> list[Tensor]:
        rows = []
        for t in range(1, len(document) + 1):
            contexts = (tuple(document[start:t]) for start in range(max(0, t - 6), t + 1))
            rows.append(next(self.counts[context] for context in contexts if context in self.counts).log())
        return rows
