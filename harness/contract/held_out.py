"""The seeds from which a workload draws its held-out data in a run with a nonce."""

from __future__ import annotations

from harness.contract.base import Data
from harness.contract.workload import Split


class HeldOutSeeds(Data, frozen=True, kw_only=True):
    """The seeds of the held-out splits. Each seed is a text of 64 hexadecimal digits.

    If a process must not know a seed, it gets an empty text instead. A process that runs a submission never knows the
    seed of `audit`. It knows the seed of `score` only if it evaluates its own weights.

    Args:
        feedback: seed of the split `feedback`.
        score: seed of the split `score`.
        audit: seed of the split `audit`.
    """

    feedback: str
    score: str
    audit: str

    def by_split(self) -> dict[Split, str]:
        """Return a mapping from each split with a known seed to this seed."""
        seeds: dict[Split, str] = {"feedback": self.feedback, "score": self.score, "audit": self.audit}
        return {split: seed for split, seed in seeds.items() if seed}
