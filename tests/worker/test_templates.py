"""Evaluators of a workload that is evaluated repeatedly are forked from a template, and evaluate as others do."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.contract.forking import ForkRequest
from harness.contract.run import ExecutionOptions, RunSpec
from harness.execution.launching import LaunchedWorker, StartingWorker, WorkerStart
from harness.execution.trial import run_trial
from harness.execution.warm import ForkServer, WarmLauncher
from harness.worker.fork_server import receive_request
from harness.worker.templates import READY, Templates
from tests.helpers import Remember, outcome, run_here, spec_of, submission

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="evaluators are forked on Linux alone")
SPEC = spec_of(submission("tests.submissions_for_tests:Noisy"))
REQUEST = ForkRequest(environment={}, folder="/", role="evaluator", evaluated=SPEC)


def make_template(templates: Templates, *, succeeds: bool = True) -> None:
    """Fork a template that answers one request with `ok`, or one that ends at once."""
    assert templates.fork_if_repeated(SPEC) is None, "a single trial needs no template"
    control = templates.fork_if_repeated(SPEC)
    if control is not None:  # this process is the template
        try:
            if succeeds:
                answer_once(control)
        finally:
            os._exit(0)


def answer_once(control: socket.socket) -> None:
    control.sendall(READY)
    message = receive_request(control)
    assert message is not None
    request, descriptors = message
    os.write(descriptors["status"], b"ok" if request == REQUEST else b"other")


def forward(templates: Templates, status: int) -> bool:
    descriptors = dict.fromkeys(("stdin", "log", "events", "lock"), 0)
    return templates.forward(REQUEST, {**descriptors, "status": status})


def wait_for_template(templates: Templates, status: int) -> bool:
    """Forward the request as soon as the template is ready; whether this was within a minute."""
    deadline = time.monotonic() + 60
    while not (forwarded := forward(templates, status)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return forwarded


def test_requests_are_forwarded_to_the_template_of_their_workload() -> None:
    templates = Templates()
    make_template(templates)
    reader, writer = os.pipe()
    assert wait_for_template(templates, writer)
    other = msgspec.structs.replace(SPEC, device="cuda")
    assert not templates.forward(msgspec.structs.replace(REQUEST, evaluated=other), {"status": writer})
    assert not templates.forward(msgspec.structs.replace(REQUEST, evaluated=None), {"status": writer})
    os.close(writer)
    assert os.read(reader, 10) == b"ok"
    os.close(reader)
    templates.close()


def test_a_template_that_fails_leaves_the_evaluators_to_the_server() -> None:
    templates = Templates()
    make_template(templates, succeeds=False)
    while templates._templates:
        assert not forward(templates, 0)
        time.sleep(0.01)
    assert templates.fork_if_repeated(SPEC) is None, "it is not tried again"


def test_a_template_that_has_ended_is_replaced() -> None:
    templates = Templates()
    make_template(templates)
    reader, writer = os.pipe()
    assert wait_for_template(templates, writer)
    os.close(writer)
    assert os.read(reader, 10) == b"ok"
    os.close(reader)
    (template,) = templates._templates.values()
    os.waitid(os.P_PID, template.pid, os.WEXITED | os.WNOWAIT)
    assert not forward(templates, 0)
    assert not templates._templates
    control = templates.fork_if_repeated(SPEC)
    if control is not None:
        os._exit(0)
    assert templates._templates
    templates.close()


class NotesParents(WarmLauncher):
    """Notes whether the parent of each evaluator is the server itself."""

    def __init__(self) -> None:
        super().__init__()
        self.by_server: list[bool] = []

    def begin(self, start: WorkerStart) -> StartingWorker:
        starting = super().begin(start)
        finish = starting.finish

        def note_parent() -> LaunchedWorker:
            launched = finish()
            parent = int(Path(f"/proc/{launched.pid}/stat").read_text().rpartition(")")[2].split()[1])
            self.by_server.append(parent in [server._process.pid for server in ForkServer._servers])
            return launched

        if start.role == "evaluator":
            starting.finish = note_parent  # type: ignore[method-assign]
        return starting


@pytest.fixture
def _closed_servers() -> Iterator[None]:
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    ForkServer.close_all()
    yield
    ForkServer.close_all()


@pytest.mark.slow
@pytest.mark.usefixtures("_closed_servers")
def test_an_evaluator_from_a_template_evaluates_as_any_other(tmp_path: Path) -> None:
    launcher = NotesParents()
    specs: list[RunSpec] = [
        spec_of(submission("tests.submissions_for_tests:Noisy"), seed=seed, smoke=True) for seed in range(40)
    ]
    for spec in specs:
        record, _ = run_trial(spec, tmp_path / "runs", Remember(), ExecutionOptions(), launcher=launcher)
        if not launcher.by_server[-1]:
            break
    assert launcher.by_server[:2] == [True, True], "the template is made for the second trial"
    assert not launcher.by_server[-1]
    assert outcome(record) == outcome(run_here(spec, tmp_path / "here"))
    assert record.trust == "evaluated"
