"""The messages of trials on a Ray cluster: an answer that is lost loses no message. Nothing here needs Ray."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.contract.run import Point
from harness.execution.event_stream import EventForwarder
from harness.execution.ray import OPTIONS, _Cluster, _Mailbox
from harness.storage import layout
from harness.storage.records import read_record
from tests.execution.helpers import stub_specs
from tests.helpers import Remember


class LostAnswer(Exception):
    """Stands for the errors of Ray."""


class FakeRay(SimpleNamespace):
    """Ray with a mailbox in this process. The answers to the calls in `lost` arrive too late."""

    def __init__(self, *lost: int) -> None:
        super().__init__(exceptions=SimpleNamespace(RayError=LostAnswer))
        self.calls, self.lost = 0, lost

    def get(self, answer: Any, timeout: float) -> Any:
        self.calls += 1
        if self.calls in self.lost:
            raise LostAnswer
        return answer

    def cancel(self, ref: Any) -> None:
        return

    def wait(self, refs: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return refs, []


def connect(runs: Path, watcher: Remember, ray: FakeRay) -> tuple[Any, _Mailbox]:
    """A cluster with one submitted trial, and its mailbox."""
    (spec,) = stub_specs(1)
    mailbox = _Mailbox()
    cluster: Any = _Cluster(runs, watcher, dict(OPTIONS))
    cluster._ray, cluster._mail = ray, SimpleNamespace(take=SimpleNamespace(remote=mailbox.take))
    identity = layout.run_id(spec)
    cluster._receiver.expect(identity, spec)
    cluster._specs[identity], cluster._running["ref"] = spec, identity
    return cluster, mailbox


def test_a_message_is_read_once_even_if_an_answer_is_lost(tmp_path: Path) -> None:
    cluster, mailbox = connect(tmp_path, Remember(), FakeRay(1, 3))
    (identity,) = cluster._running.values()
    sender = EventForwarder(identity, mailbox.put)
    read = []
    for steps in (1, 2, 3, 4):
        point = Point(examples=steps, gradient_examples=0, steps=steps, seconds=0.0, process_seconds=0.0, metrics={})
        sender.evaluated(cluster._specs[identity], point)
        read.append((cluster._read_mail(), cluster._receiver.steps(identity), cluster._received))
    assert read == [(False, 0, 0), (True, 2, 2), (False, 2, 2), (True, 4, 4)]
    assert len(mailbox.take(4)) == 0


@pytest.mark.parametrize(("started", "lost", "written"), [(True, (), True), (False, (), False), (True, (1,), True)])
def test_a_stopped_trial_that_may_have_started_has_a_record(
    tmp_path: Path, started: bool, lost: tuple[int, ...], written: bool
) -> None:
    cluster, mailbox = connect(tmp_path, Remember(), FakeRay(*lost))
    (identity,) = cluster._running.values()
    if started:
        EventForwarder(identity, mailbox.put).started(cluster._specs[identity], ())
    cluster.stop()
    path = tmp_path / identity / layout.RECORD
    assert path.exists() is written
    assert not written or read_record(path).status == "interrupted"
