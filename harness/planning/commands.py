"""Reconstruct the `bench run` command of a trial from the trial's specification."""

from __future__ import annotations

import shlex

from harness.contract.run import RunSpec
from harness.planning.rulesets import rulesets


def typed_name(name: str, load: str | None) -> str:
    """Return what a user types to name an entry: its name if it is installed, or the path of its file."""
    return load if load and ".py:" in load else name


def study_command(spec: RunSpec, studies: int, runs: str) -> str:
    """Return the command that runs all studies of a trial's submission on its workload, with the trial's options.

    Args:
        spec: specification of any of the trials.
        studies: number of studies.
        runs: the runs folder.
    """
    ruleset = spec.ruleset
    words = ["bench", "run", "-s", typed_name(spec.submission.name, spec.submission.load)]
    words += ["-w", typed_name(spec.workload.facts.name, spec.workload.load)]
    words += ["--ruleset", ruleset.name if ruleset.name in rulesets() else f"{ruleset.name}.yaml"]
    words += ["--studies", str(studies)] if studies != ruleset.studies else []
    if spec.nonce is not None:
        words += ["--nonce", spec.nonce.value if spec.nonce.source == "given" else spec.nonce.source]
    elif spec.root_seed:
        words += ["--seed", str(spec.root_seed)]
    for name in spec.overridden:
        value = spec.hparams[name]
        words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    if spec.device != ("cpu" if spec.workload.facts.tier == "cpu" else "cuda"):
        words += ["--device", spec.device]
    words += ["--threads", str(spec.threads)] if spec.threads != 1 else []
    words += ["--gpus", str(spec.ranks)] if spec.ranks != 1 else []
    words += ["--deterministic"] if spec.deterministic else []
    words += [] if spec.screening else ["--whole-evaluation"]
    words += ["--runs", runs] if runs != "runs" else []
    return shlex.join(words)
