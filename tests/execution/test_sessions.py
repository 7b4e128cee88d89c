"""Sessions in records: one per invocation, several after a resume."""

from __future__ import annotations

import msgspec

from harness.contract.record import Session
from harness.contract.run import ExecutionOptions
from harness.execution.sessions import append_session, current_session, with_invocation
from harness.execution.state import Trial
from tests.helpers import Remember, spec_of, submission


def test_invocations_differ_and_are_kept() -> None:
    first, second = with_invocation(ExecutionOptions()), with_invocation(ExecutionOptions())
    assert first.invocation != second.invocation
    assert with_invocation(first) == first
    assert current_session("x").machine == current_session("y").machine
    assert current_session().id == current_session().id


def test_points_that_were_lost_take_their_session_with_them() -> None:
    a, b, c = (Session(invocation=name, machine="m") for name in "abc")
    sessions = append_session(append_session((), a, 0), b, 5)
    assert [(part.invocation, part.first_point) for part in append_session(sessions, c, 3)] == [("a", 0), ("c", 3)]
    assert append_session(sessions, b, 8) == sessions


def test_a_resumed_run_began_when_its_first_session_did() -> None:
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    began = "2026-01-01T00:00:00+00:00"
    earlier = msgspec.structs.replace(Trial(spec, "run-x", Remember()).record(), started=began)
    assert Trial.continue_from(earlier, spec, "run-x", Remember()).record().started == began
