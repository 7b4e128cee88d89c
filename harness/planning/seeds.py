"""Derive the seeds of a trial from the root seed."""

from __future__ import annotations

import hashlib

from harness.contract.run import Purpose, Seeds


def derive_seeds(root: int, workload: str, study: int, trial: int, purpose: Purpose = "score") -> Seeds:
    """Derive the seeds of a trial, one for each role (model, data, submission and replay).

    The seeds are equal for all submissions, so that runs can be compared in pairs. Different purposes have different
    seeds.

    Args:
        root: the root seed, from which all other seeds are derived.
        workload: the workload's name.
        study: index of the study.
        trial: index of the trial in its study.
        purpose: purpose of the trial.
    """
    prefix = "" if purpose == "score" else f"{purpose}/"

    def draw(role: str) -> int:
        text = f"{prefix}{root}/{workload}/{study}/{trial}/{role}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])

    return Seeds(model=draw("model"), data=draw("data"), submission=draw("submission"), replay=draw("replay"))
