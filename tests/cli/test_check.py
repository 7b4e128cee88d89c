"""`bench check`: what is checked, the report, and the exit code. The checks themselves are in tests/testing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli
from harness.authoring import checking
from harness.contract.checking import CheckRequest, CheckResult
from harness.contract.entries import SubmissionEntry
from harness.errors import EXIT_FAILED, EXIT_USAGE

FIXTURE = Path(__file__).parents[1] / "fixtures" / "my_optimizer.py"
FAILED = CheckResult(name="resumes", workload="micro-text", status="failed", problem="it differs", fix="save its state")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[CheckRequest]:
    """The requests so far; no process runs, and each has one failure unless it blocks plugins."""
    made: list[CheckRequest] = []

    def run(request: CheckRequest) -> list[CheckResult]:
        made.append(request)
        return [] if request.blocked else [FAILED]

    monkeypatch.setattr(checking, "run_checks_in_process", run)
    return made


def test_a_failure_is_printed_with_its_fix(requests: list[CheckRequest], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["check", "wsd"]) == EXIT_FAILED
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "ok       declaration",
        "FAILED   resumes on micro-text: it differs",
        "         fix: save its state",
        "wsd: 1 passed, 1 failed",
    ]
    assert output.err == "checking the submission wsd\n"
    (request,) = requests
    assert request.submission is not None
    assert request.submission.parts == ("optimizer:adamw", "schedule:wsd")


def test_json_has_every_check(requests: list[CheckRequest], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["-p", "no:bench-other", "check", "lm-tiny", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["kind"], answer["passed"]) == (1, "workload", True)
    assert [check["name"] for check in answer["checks"]] == ["declaration"]
    assert [workload.name for workload in requests[0].workloads] == ["lm-tiny"]


def test_a_part_is_checked_within_the_reference(requests: list[CheckRequest]) -> None:
    cli.invoke(["check", "schedule:wsd", "-w", "resnet-digits"])
    cli.invoke(["check", "optimizer:schedule-free-adamw"])
    first, second = (request.submission for request in requests)
    assert isinstance(first, SubmissionEntry)
    assert isinstance(second, SubmissionEntry)
    assert first.parts == ("optimizer:adamw", "schedule:wsd")
    assert second.parts == ("optimizer:schedule-free-adamw",), "it excludes schedules"
    assert [workload.name for workload in requests[0].workloads] == ["resnet-digits"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py"], "nothing.py: there is no such file"),
        (["wdsd"], "unknown submission 'wdsd'; did you mean"),
        (["lm-tiny", "-w", "resnet-digits"], "is a workload, so it is not checked on other workloads"),
    ],
)
def test_a_wrong_request_is_a_usage_error(
    requests: list[CheckRequest], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.invoke(["check", *arguments]) == EXIT_USAGE
    assert message in capsys.readouterr().err
    assert not requests


def test_a_file_that_is_broken_is_a_finding(
    requests: list[CheckRequest], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "class Mine:\n    def step(self, work): ...\n    def eval_weights(self): ...\n    def state_dict(s): ...\n"
    )
    assert cli.invoke(["check", str(file), "--json"]) == EXIT_FAILED
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert (check["name"], check["status"]) == ("declaration", "failed")
    assert "the constructor of Mine has the wrong arguments" in check["problem"]
    assert check["fix"] == "define __init__(self, model, task, hparams)"
    assert not requests
