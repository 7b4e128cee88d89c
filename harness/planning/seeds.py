"""Derive the seeds of a trial and of its held-out data from the root seed or from a nonce."""

from __future__ import annotations

import hashlib

import msgspec

from harness.contract.held_out import HeldOutSeeds
from harness.contract.run import Nonce, Purpose, RunSpec, Seeds


def derive_seeds(root: int | str, workload: str, study: int, trial: int, purpose: Purpose = "score") -> Seeds:
    """Derive the seeds of a trial, one for each role (model, data, submission and replay).

    The seeds are equal for all submissions, so that runs can be compared in pairs. They differ between purposes.

    Args:
        root: the root seed, or the root of the study from `nonce_root`.
        workload: the workload's name.
        study: index of the study.
        trial: index of the trial in its study; 0 for all trials that share the seeds of their study.
        purpose: purpose of the trial.
    """
    prefix = _purpose_prefix(purpose)

    def draw(role: str) -> int:
        text = f"{prefix}{root}/{workload}/{study}/{trial}/{role}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])

    return Seeds(model=draw("model"), data=draw("data"), submission=draw("submission"), replay=draw("replay"))


def nonce_root(nonce: Nonce, workload: str, study: int) -> str:
    """Return the root from which the seeds of a study are derived, as 64 hexadecimal digits.

    It is the SHA-256 of one sequence of bytes: the nonce, and then the text `workload/study`.

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
    shares_seeds = spec.purpose == "tuning" and spec.ruleset.common_tuning_seeds
    return derive_seeds(root, facts.name, spec.study, 0 if shares_seeds else spec.trial, spec.purpose)


def with_seeds(spec: RunSpec, *, redraws_held_out: bool) -> RunSpec:
    """Return the specification with the seeds that follow from its root seed or nonce, study, trial and purpose.

    Args:
        spec: the specification, whose seeds are replaced.
        redraws_held_out: whether the workload draws new held-out data in runs with a nonce.
    """
    held_out = expected_held_out(spec) if redraws_held_out else None
    return msgspec.structs.replace(spec, seeds=expected_seeds(spec), held_out=held_out)


def expected_held_out(spec: RunSpec) -> HeldOutSeeds | None:
    """Return the seeds of the held-out data that follow from the nonce of a trial; None without a nonce.

    The seed of a split is the hex of SHA-256(`root/workload/study/held-out/split`). Here `root` is the result of
    `nonce_root`, and `workload` is the name without the version. If the purpose is not `score`, the text begins with
    `purpose/`. All trials of a study have equal held-out data, so that their metrics can be compared.
    """
    if spec.nonce is None:
        return None
    facts = spec.workload.facts
    root = nonce_root(spec.nonce, facts.id, spec.study)
    prefix = f"{_purpose_prefix(spec.purpose)}{root}/{facts.name}/{spec.study}/held-out"

    def draw(split: str) -> str:
        return hashlib.sha256(f"{prefix}/{split}".encode()).hexdigest()

    return HeldOutSeeds(feedback=draw("feedback"), score=draw("score"), audit=draw("audit"))


def without_secrets(spec: RunSpec, *, evaluates: bool) -> RunSpec:
    """Return the specification for a process that runs the submission, without secret seeds.

    The seed of the split `audit` is left out. The seed of `score` is left out unless the process needs it. The nonce is
    left out too, because all seeds follow from it.

    Args:
        spec: the specification.
        evaluates: whether the process evaluates the weights itself, for which it needs the seed of the split `score`.
    """
    held_out = spec.held_out
    if held_out is not None:
        held_out = msgspec.structs.replace(held_out, score=held_out.score if evaluates else "", audit="")
    return msgspec.structs.replace(spec, nonce=None, held_out=held_out)


def _purpose_prefix(purpose: Purpose) -> str:
    return "" if purpose == "score" else f"{purpose}/"
