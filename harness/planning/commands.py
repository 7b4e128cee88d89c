"""Reconstruct the `bench run` command of a trial from the trial's specification."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from itertools import chain

from harness.contract.run import RunSpec
from harness.contract.workload import default_device
from harness.planning.rulesets import rulesets


def typed_name(name: str, load: str | None) -> str:
    """Return what a user types to name an entry: its name if it is installed, or the path of its file."""
    return load if load and ".py:" in load else name


def study_command(spec: RunSpec, studies: int, runs: str, tuning_studies: int | None = None) -> str:
    """Return the command that runs all studies of a trial's submission on its workload, with the trial's options.

    Args:
        spec: specification of any of the trials.
        studies: number of studies.
        runs: the runs folder.
        tuning_studies: number of tuning studies; None for the ruleset's number.
    """
    options = run_options(spec, spec.overridden)
    options += [["--studies", str(studies)]] if studies != spec.ruleset.studies else []
    if tuning_studies not in (None, spec.ruleset.tuning_studies):
        options += [["--tuning-studies", str(tuning_studies)]]
    options += [["--runs", runs]] if runs != "runs" else []
    return shlex.join(["bench", "run", *chain.from_iterable(options)])


def cost_command(spec: RunSpec, pairs: int, runs: str) -> str:
    """Return the command that measures the cost of a submission again; REFERENCE stands for the other submissions.

    Args:
        spec: specification of any of the submission's runs of `bench cost`.
        pairs: number of pairs of runs.
        runs: the runs folder.
    """
    name = typed_name(spec.submission.name, spec.submission.load)
    facts = spec.workload.facts
    options = ["-w", typed_name(facts.name, spec.workload.load), "--pairs", str(pairs)]
    if spec.stop:
        options += ["--intervals", str(max(1, spec.stop // (facts.eval_every * max(1, len(facts.stages)))))]
    options += ["--seed", str(spec.root_seed)] if spec.root_seed else []
    options += [*chain.from_iterable(_machine_options(spec))]
    options += ["--runs", runs] if runs != "runs" else []
    return shlex.join(["bench", "cost", f"{name},REFERENCE", *options])


def _machine_options(spec: RunSpec) -> list[list[str]]:
    """Return the options for the device and the threads of a trial. Each item is an option with its value."""
    facts = spec.workload.facts
    options = [["--device", spec.device]] if spec.device != default_device(facts) else []
    options += [["--allow-slow"]] if spec.device == "cpu" and facts.tier != "cpu" else []
    options += [["--threads", str(spec.threads)]] if spec.threads != 1 else []
    return options


def run_options(spec: RunSpec, settings: Iterable[str]) -> list[list[str]]:
    """Return the options of `bench run` with which a trial was planned. Each item is an option with its value.

    Args:
        spec: specification of the trial.
        settings: names of the hyperparameters that are set to the values of the trial.
    """
    facts, ruleset = spec.workload.facts, spec.ruleset.name
    options = [["-s", typed_name(spec.submission.name, spec.submission.load)]]
    options += [["-w", typed_name(facts.name, spec.workload.load)]]
    options += [["--ruleset", ruleset if ruleset in rulesets() else f"{ruleset}.yaml"]]
    if spec.nonce is not None:
        options += [["--nonce", spec.nonce.value if spec.nonce.source == "given" else spec.nonce.source]]
    elif spec.root_seed:
        options += [["--seed", str(spec.root_seed)]]
    for name in settings:
        value = spec.hparams[name]
        options += [["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]]
    options += _machine_options(spec)
    options += [["--gpus", str(spec.ranks)]] if spec.ranks != 1 else []
    options += [["--deterministic"]] if spec.deterministic else []
    options += [] if spec.screening else [["--whole-evaluation"]]
    return options
