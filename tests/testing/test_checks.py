"""Each check catches what it is for and says what to do; what keeps the contract passes all of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.authoring import checking
from harness.contract.checking import CheckRequest, CheckResult
from harness.contract.entries import SubmissionEntry
from harness.system import python_process
from harness.testing import MICRO_WORKLOADS
from harness.testing.__main__ import iter_results
from harness.testing.checks import run_checks
from harness.testing.submissions import SUBMISSION_CHECKS, SubmissionCase
from harness.testing.workloads import WORKLOAD_CHECKS, WorkloadCase
from tests.helpers import NoParts
from tests.testing import broken

pytestmark = pytest.mark.usefixtures("thawed")

TEXT = MICRO_WORKLOADS["micro-text"]


def ignore(result: CheckResult) -> None: ...


def submission(name: str) -> SubmissionEntry:
    cls: Any = getattr(broken, name)
    return SubmissionEntry(
        name="mine", summary="s", load=f"{broken.__name__}:{name}", space=cls.search_space, needs=cls.needs
    )


def results_of(name: str, check: str, folder: Path) -> list[CheckResult]:
    """The results of the first check and of another one."""
    value: Any = getattr(broken, name)
    if hasattr(value, "facts"):
        redraws = hasattr(value, "draw_held_out")
        entry = msgspec.structs.replace(TEXT, load=f"{broken.__name__}:{name}", redraws_held_out=redraws)
        workload_case = WorkloadCase(entry, NoParts(), folder)
        chosen = {key: WORKLOAD_CHECKS[key] for key in ("facts", check)}
        return list(run_checks(chosen, workload_case, "w", ignore))
    case = SubmissionCase(submission(name), TEXT, NoParts(), folder)
    names = dict.fromkeys((*(() if check == "search space" else ("trains",)), check))
    return list(run_checks({key: SUBMISSION_CHECKS[key] for key in names}, case, "w", ignore))


@pytest.mark.parametrize(
    ("name", "check", "problem", "fix"),
    [
        ("Crashing", "trains", "the run ended as crashed: ValueError: an empty step", "correct the code"),
        ("Idle", "trains", "the run ended as rejected", ""),
        ("Unrepeatable", "repeats", "two runs with the same seeds differ", "task.rng"),
        ("Forgetful", "resumes", "interrupted and resumed differs", "state_dict()"),
        ("Swapping", "restores weights", "does not restore the model's weights: 0.weight", "finally"),
        ("NeedsHorizon", "declares horizon", "without a horizon, the run ends as crashed: TypeError", "'horizon' to"),
        ("Narrow", "search space", "nesterov=False is in the search space, but ValueError: only nesterov", "narrow"),
        ("Seedless", "seeds", "models of different seeds have equal weights", "depend on the argument `seed`"),
        ("Unseeded", "seeds", "two models of one seed have different weights", "torch.manual_seed(seed)"),
        ("WrongKinds", "parameter kinds", "kinds that do not exist: 'matrx'", "choose from matrix"),
        ("MissingKinds", "parameter kinds", "parameter_kinds() has no kind for 4.weight", "one kind for every name"),
        ("Scored", "training data", "the pool has the scores ['quality'], and the facts state []", "list the names"),
        ("SummedLoss", "loss", "but the mean of the losses of the examples is", "return the mean"),
        ("NoMetric", "evaluation", "does not return cross_entropy, the metric of a target", "by its name"),
        ("OneSplit", "evaluation", "the splits feedback and score give equal metrics", "examples of its own"),
        ("Stateful", "evaluation", "two evaluations of the same weights differ", "without state"),
        ("Redrawn", "fresh held-out data", "two seeds give equal held-out data", "draw_held_out()"),
        ("FailingLoss", "runs", "a run of sgd ended as crashed: ValueError: a loss for evaluations only", "correct"),
    ],
)
def test_a_broken_promise_is_found_by_its_check(name: str, check: str, problem: str, fix: str, tmp_path: Path) -> None:
    result = results_of(name, check, tmp_path)[-1]
    assert (result.name, result.status) == (check, "failed")
    assert problem in result.problem
    assert fix in result.fix
    assert "\n" not in result.problem + result.fix


def test_facts_that_differ_end_the_checks(tmp_path: Path) -> None:
    facts = msgspec.structs.replace(TEXT.facts, eval_every=128)
    case = WorkloadCase(msgspec.structs.replace(TEXT, facts=facts), NoParts(), tmp_path)
    (result,) = run_checks(WORKLOAD_CHECKS, case, "w", ignore)
    assert result.problem == "the facts of the class differ from those of the entry in eval_every"


def test_what_keeps_the_contract_passes(tmp_path: Path) -> None:
    for workload in MICRO_WORKLOADS.values():
        case = WorkloadCase(workload, NoParts(), tmp_path / workload.name)
        results = list(run_checks(WORKLOAD_CHECKS, case, workload.name, ignore))
        assert {result.name: result.problem for result in results if result.status == "failed"} == {}
    request = CheckRequest(submission=submission("Good"), blocked=("algorace",))
    started: list[CheckResult] = []
    results = list(iter_results(request, tmp_path / "runs", started.append))
    assert [result.problem for result in results if result.status != "passed"] == []
    assert [result.title for result in started] == [result.title for result in results]
    assert {result.workload for result in results} == set(MICRO_WORKLOADS)


def test_a_submission_that_cannot_run_somewhere_is_skipped_there(tmp_path: Path) -> None:
    replaying = msgspec.structs.replace(submission("Good"), needs=frozenset({"replay"}))
    request = CheckRequest(submission=replaying, workloads=(TEXT,), blocked=("algorace",))
    (result,) = iter_results(request, tmp_path, ignore)
    assert (result.status, result.problem) == ("skipped", "mine needs a replay buffer")


# --- the process ------------------------------------------------------------------------------------------------------


def lines(*results: CheckResult) -> str:
    return "".join(msgspec.json.encode(result).decode() + "\n" for result in results)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("os.kill(os.getpid(), 11)", "the process ended with SIGSEGV"),
        ("os._exit(3)", "exit code 3"),
        ("time.sleep(60)", "took longer than 1 s"),
    ],
)
def test_a_process_that_dies_fails_the_check_that_was_running(
    code: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = lines(CheckResult(name="a"), CheckResult(name="b", status="started"))
    script = f"import os, sys, time; open(sys.argv[1] + '/results.jsonl', 'w').write({written!r}); {code}"
    monkeypatch.setattr(python_process, "command", lambda module, folder: [sys.executable, "-c", script, folder])
    passed, failed = checking.run_checks_in_process(CheckRequest(), limit=1.0)
    assert (passed.name, passed.status, failed.name, failed.status) == ("a", "passed", "b", "failed")
    assert problem in failed.problem


def test_a_process_that_dies_between_two_checks_is_a_failure_of_no_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = lines(CheckResult(name="a", workload="w")) + '{"name": "cut'
    script = f"import os, sys; open(sys.argv[1] + '/results.jsonl', 'w').write({written!r}); os._exit(3)"
    monkeypatch.setattr(python_process, "command", lambda module, folder: [sys.executable, "-c", script, folder])
    passed, failed = checking.run_checks_in_process(CheckRequest())
    assert (passed.name, failed.name, failed.workload, failed.status) == ("a", "process", "w", "failed")
    assert failed.problem == "the process ended with exit code 3, after the check a"


def test_a_process_that_does_not_start_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_process, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(1)"])
    (result,) = checking.run_checks_in_process(CheckRequest())
    assert (result.name, result.status) == ("start", "failed")
