"""The seeds of a trial."""

from __future__ import annotations

import hashlib

from harness.contract.run import Purpose, Seeds


def derive_seeds(root: int, workload: str, study: int, trial: int, purpose: Purpose = "score") -> Seeds:
    """Seeds of a trial, one per role; equal for every submission, so that runs pair, and other for every purpose."""
    prefix = "" if purpose == "score" else f"{purpose}/"

    def draw(role: str) -> int:
        text = f"{prefix}{root}/{workload}/{study}/{trial}/{role}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])

    return Seeds(model=draw("model"), data=draw("data"), submission=draw("submission"), replay=draw("replay"))
