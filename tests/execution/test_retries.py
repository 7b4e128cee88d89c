"""A failed trial that is run again goes on from its checkpoint, and remembers the workers before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.contract.events import Confined, DevicesSampled, Done, Evaluated, Ready
from harness.contract.record import DeviceLog, GpuSample, Record, Usage
from harness.contract.run import ExecutionOptions, Point
from harness.contract.sandbox import NO_SANDBOX
from harness.execution.state import Interrupted
from harness.execution.trial import run_trial
from harness.storage import layout
from tests.execution import stub
from tests.helpers import Remember, spec_of, submission

POINTS = tuple(
    Point(examples=16 * i, gradient_examples=16 * i, steps=i, seconds=0.0, process_seconds=0.0, metrics={})
    for i in range(3)
)


def test_a_retry_that_resumes_keeps_what_the_record_says_of_the_earlier_workers(tmp_path: Path) -> None:
    """The first worker had no sandbox, and its evaluations are still part of the run."""
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    samples = DeviceLog(by="NVML", devices=(), readings=(GpuSample(device=0, sm_mhz=900),))

    def is_stopped(job: Any, receive: Any) -> None:
        Path(job.folder, layout.CHECKPOINTS[0]).write_text("a state")
        receive(Confined(sandbox=NO_SANDBOX))
        receive(Ready(environment=stub.ENVIRONMENT, usage=Usage()))
        receive(Evaluated(point=POINTS[0]))
        receive(Evaluated(point=POINTS[1]))
        receive(DevicesSampled(log=samples))
        raise KeyboardInterrupt

    def fails(job: Any, receive: Any) -> None:
        receive(Done(status="out-of-memory", reason="for the time being"))

    def goes_on(job: Any, receive: Any) -> None:
        receive(Confined(sandbox="landlock-abi7"))
        receive(Ready(environment=stub.ENVIRONMENT, usage=Usage(), points=POINTS[:2], resumed_from=1))
        receive(Evaluated(point=POINTS[2]))
        receive(Done(status="exhausted"))

    def run(invocation: str, transport: Any) -> Record:
        options = ExecutionOptions(invocation=invocation, retry_failed=True)
        return run_trial(spec, tmp_path, Remember(), options, transport)[0]

    with pytest.raises(Interrupted):
        run("first", is_stopped)
    run("second", fails)
    record = run("third", goes_on)
    assert record.sandbox == NO_SANDBOX
    assert record.devices == samples
    assert [(session.invocation, session.first_point) for session in record.sessions] == [("first", 0), ("third", 2)]


def test_a_retry_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    spec = spec_of(submission("tests.submissions_for_tests:Base"))

    def run(sandbox: str, status: Any) -> Record:
        def transport(job: Any, receive: Any) -> None:
            receive(Confined(sandbox=sandbox))
            receive(Ready(environment=stub.ENVIRONMENT, usage=Usage()))
            receive(Evaluated(point=POINTS[0]))
            receive(Done(status=status))

        return run_trial(spec, tmp_path, Remember(), ExecutionOptions(retry_failed=True), transport)[0]

    assert run(NO_SANDBOX, "out-of-memory").sandbox == NO_SANDBOX
    assert run("landlock-abi7", "exhausted").sandbox == "landlock-abi7"
