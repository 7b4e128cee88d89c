"""The checks of a submission, each on one workload in a few steps."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import torch

from harness.contract.domains import Choice, Domain, Integer, LogUniform, Uniform
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.hyperparameters import default
from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import Job, RunSpec
from harness.planning.compose import Composition, PartLookup, compose
from harness.planning.rulesets import ruleset
from harness.testing.checks import NotApplicable, raise_unless, refuse
from harness.testing.running import interrupt_run, plan_briefly, reproducible_outcome, run_spec
from harness.worker.emit import ignore_event
from harness.worker.loop import TrainingRun
from harness.worker.setup import build_run

#: Number of steps before the weights are evaluated.
_STEPS = 3


@dataclass
class SubmissionCase:
    """A submission on a workload.

    Args:
        entry: the entry of the submission, completed with the declarations of its code.
        workload: the workload.
        registry: the registry in which parts are looked up.
        folder: folder for runs.
    """

    entry: SubmissionEntry
    workload: WorkloadEntry
    registry: PartLookup
    folder: Path
    _runs: int = field(default=0, init=False)

    @cached_property
    def composition(self) -> Composition:
        return compose(self.entry, self.registry)

    @cached_property
    def spec(self) -> RunSpec:
        return self.plan()

    @cached_property
    def record(self) -> Record:
        """The record of the first run."""
        return run_spec(self.spec, self.new_folder())

    def plan(self, rules: Ruleset | None = None) -> RunSpec:
        """Return the specification of a smoke run under a ruleset; None for `quick`.

        Raises:
            NotApplicable: the submission is ineligible on the workload.
        """
        spec = plan_briefly(self.entry, self.workload, self.registry, rules)
        if isinstance(spec, str):
            raise NotApplicable(f"{self.entry.name} {spec}")
        return spec

    def new_folder(self) -> Path:
        """Return a folder that does not exist yet."""
        self._runs += 1
        return self.folder / f"{self.workload.name}-{self._runs}"

    def start(self, hparams: Mapping[str, Any] | None = None) -> TrainingRun:
        """Return a run of the submission before its first step, with some hyperparameters changed."""
        spec = msgspec.structs.replace(self.spec, hparams={**self.spec.hparams, **(hparams or {})})
        folder = str(self.new_folder())
        run, construct = build_run(Job(spec=spec, folder=folder, evaluation_folder=folder), ignore_event)
        run.start(construct, None)
        return run


def check_training(case: SubmissionCase) -> None:
    """The submission runs to the end of a short budget."""
    _require_end(case.record, case)


def _require_end(record: Record, case: SubmissionCase) -> None:
    if record.status not in ("exhausted", "reached"):
        what, fix = _split_fix(record.reason)
        refuse(f"the run ended as {record.status}: {what}", fix or f"correct the code of {case.entry.name}")
    raise_unless(record.counters.steps > 0, "the run made no step", "let step() draw a batch and update the weights")


#: The place of an error at the end of a record's reason.
_PLACE = re.compile(r"[^ ]+\.py:\d+")


def _split_fix(reason: str) -> tuple[str, str]:
    """Split a reason of the form `problem (fix)`. The place of an error in the code is a part of the problem.

    >>> _split_fix("the step is empty (draw a batch)"), _split_fix("KeyError: 'lr' (mine.py:4)")
    (('the step is empty', 'draw a batch'), ("KeyError: 'lr' (mine.py:4)", ''))
    """
    problem, _, fix = reason.removesuffix(")").partition(" (")
    is_split = reason.endswith(")") and fix and not _PLACE.fullmatch(fix)
    return (problem, fix) if is_split else (reason, "")


def check_repetition(case: SubmissionCase) -> None:
    """A second run with the same seeds gives the same metrics and weights."""
    again = run_spec(case.spec, case.new_folder())
    raise_unless(
        reproducible_outcome(again) == reproducible_outcome(case.record),
        "two runs with the same seeds differ",
        "draw random numbers from task.rng, and let nothing depend on the time or on the order of a set",
    )


def check_resumption(case: SubmissionCase) -> None:
    """A run that was interrupted and resumed gives the same metrics and weights as an uninterrupted run."""
    folder = case.new_folder()
    interrupt_run(case.spec, folder, evaluations=2)
    # A new process would start with other global random numbers.
    torch.manual_seed(123)
    np.random.seed(321)
    random.seed(231)
    resumed = run_spec(case.spec, folder)
    _require_end(resumed, case)
    raise_unless(
        reproducible_outcome(resumed) == reproducible_outcome(case.record),
        "a run that was interrupted and resumed differs from an uninterrupted run",
        "return everything that step() changes from state_dict(), and restore it in load_state_dict(); a part with "
        "state needs these two methods, too",
    )


def check_evaluated_weights(case: SubmissionCase) -> None:
    """When the context `eval_weights()` ends, the model has the same weights as before it."""
    run = case.start()
    for _ in range(_STEPS):
        run.submission.step(run.work)
    model = run.state.model
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with run.submission.eval_weights():
        pass
    changed = [name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)]
    raise_unless(
        not changed,
        f"eval_weights() does not restore the model's weights: {', '.join(changed[:3])}",
        "put the trained weights back when the context ends, in a finally clause",
    )


def check_horizon(case: SubmissionCase) -> None:
    """A submission that does not declare the need `horizon` runs without knowing the horizon."""
    if "horizon" in case.composition.needs:
        raise NotApplicable(f"{case.entry.name} declares the need horizon")
    rules = msgspec.structs.replace(ruleset("quick"), hides=frozenset({"horizon"}))
    record = run_spec(case.plan(rules), case.new_folder())
    raise_unless(
        record.status in ("exhausted", "reached"),
        f"without a horizon, the run ends as {record.status}: {record.reason}",
        "add 'horizon' to the needs of the submission, or handle a horizon that is None",
    )


def check_search_space(case: SubmissionCase) -> None:
    """The submission can be constructed, and makes a step, at every end of its search space."""
    _ = case.spec  # An ineligible submission is skipped before any error counts against its search space.
    for name, domain in case.composition.space.items():
        for value in _ends(domain):
            try:
                run = case.start({name: value})
                run.submission.step(run.work)
            except Exception as error:
                refuse(
                    f"{name}={value!r} is in the search space, but {type(error).__name__}: {error}",
                    f"narrow the domain of {name}, or accept the value",
                )


def _ends(domain: Domain) -> Iterator[Any]:
    """Yield the ends of a domain, or all values of a choice. The default is left out."""
    ends: tuple[Any, ...] = ()
    if isinstance(domain, Choice):
        ends = tuple(domain.values)
    elif isinstance(domain, LogUniform | Uniform | Integer):
        ends = (domain.low, domain.high)
    elif domain.values:
        ends = tuple(domain.values)
    yield from (value for value in dict.fromkeys(ends) if value != default(domain))


#: The checks of a submission on each workload. The later checks are run only if the first check passes.
SUBMISSION_CHECKS: Mapping[str, Callable[[SubmissionCase], None]] = MappingProxyType(
    {
        "trains": check_training,
        "repeats": check_repetition,
        "resumes": check_resumption,
        "restores weights": check_evaluated_weights,
        "declares horizon": check_horizon,
        "search space": check_search_space,
    }
)
