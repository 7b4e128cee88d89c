"""Derive the seeds of a trial from the root seed or from a nonce."""

from __future__ import annotations

import hashlib

from harness.contract.run import Nonce, Purpose, RunSpec, Seeds


def derive_seeds(root: int | str, workload: str, study: int, trial: int, purpose: Purpose = "score") -> Seeds:
    """Derive the seeds of a trial, one for each role (model, data, submission and replay).

    The seeds are equal for all submissions, so that runs can be compared in pairs. Different purposes have different
    seeds.

    Args:
        root: the root seed, or the root of a study from `nonce_root`, from which all other seeds are derived.
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


def nonce_root(nonce: Nonce, workload: str, study: int) -> str:
    """Return the root of a study's seeds: the hex of SHA-256(nonce ‖ workload ‖ study).

    The bytes of the nonce are followed by the text `workload/study`.

    Args:
        nonce: the nonce.
        workload: `name@version` of the workload.
        study: index of the study.

    >>> nonce_root(Nonce(value="00" * 32, source="given"), "lm@1", 0)[:16]
    'bd0842b72f8ec10c'
    """
    return hashlib.sha256(bytes.fromhex(nonce.value) + f"{workload}/{study}".encode()).hexdigest()


def expected_seeds(spec: RunSpec) -> Seeds:
    """Return the seeds that follow from the nonce of a trial, or from its root seed if it has no nonce."""
    facts = spec.workload.facts
    root = spec.root_seed if spec.nonce is None else nonce_root(spec.nonce, facts.id, spec.study)
    return derive_seeds(root, facts.name, spec.study, spec.trial, spec.purpose)
