"""The account of a trial: totals that survive workers."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.contract.record import Ledger, Restart, Spent
from harness.contract.run import Point
from harness.execution.account import Account
from harness.execution.meter import Charge
from harness.scoring.time_to_target import find_worker_exits
from harness.storage.layout import ACCOUNT
from harness.storage.run_folder import RunFolder
from tests.helpers import spec_of, submission

SPEC = spec_of(submission("tests.submissions_for_tests:Base"))


def spent(seconds: float) -> Spent:
    return Spent(seconds=seconds, process_seconds=seconds / 2)


class FakeMeter(SimpleNamespace):
    """A meter that has measured given seconds since the worker's start."""

    def __init__(self) -> None:
        super().__init__(phases={}, helpers={}, helper_seconds=0.0, charges=deque(), now=0.0)
        self.limits = SimpleNamespace(evaluation_cost=None)

    def charged(self) -> Spent:
        return spent(self.now)


def point(index: int, seconds: float) -> Point:
    return Point(
        examples=64 * index, gradient_examples=0, steps=index, seconds=seconds, process_seconds=seconds / 2, metrics={}
    )


def begin(account: Account) -> Any:
    account.begin_worker()
    meter: Any = FakeMeter()
    account.meter = meter
    return meter


def evaluate(account: Account, meter: Any, index: int, reported: float, at: float, after: float) -> Point:
    meter.charges.append(Charge(at=spent(at), after=spent(after)))
    meter.now = after
    return account.charge(point(index, reported), SPEC)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run-0123456789abcdef").mkdir()
    return RunFolder(tmp_path, "run-0123456789abcdef")


def first_worker(folder: RunFolder, by: Any) -> Account:
    """A worker that reports too little, is evaluated twice, burns 7 more seconds, and ends."""
    account = Account.open(folder)
    meter = begin(account)
    account.restore([])
    assert evaluate(account, meter, 0, 0.5, 1.0, 1.0).seconds == 1.0
    assert evaluate(account, meter, 1, 2.0, 3.0, 3.5).seconds == 3.0
    meter.now = 10.5
    if by is not None:
        account.end_worker(by, "SIGKILL")
    else:
        account._write()  # the supervisor is killed after this
    return Account.open(folder)


@pytest.mark.parametrize(("by", "lost_is_charged"), [("user", False), ("worker", True)])
def test_the_clock_goes_on_where_the_supervisor_left_it(folder: RunFolder, by: Any, lost_is_charged: bool) -> None:
    account = first_worker(folder, by)
    meter = begin(account)
    # The worker restores times from its checkpoint that are too small.
    points = account.restore([point(0, 0.1), point(1, 0.2)])
    assert [p.seconds for p in points] == [1.0, 3.0]
    base = 10.5 if lost_is_charged else 3.5
    later = evaluate(account, meter, 2, 0.3, 2.0, 2.5)
    assert later.seconds == pytest.approx(base + 2.0)
    assert later.process_seconds == pytest.approx((base + 2.0) / 2)
    account.end_worker(None)
    (restart,) = account.ledger().restarts
    assert restart == Restart(by=by, reason="SIGKILL", lost=spent(7.0), charged=lost_is_charged)
    assert account.total() == spent(base + 2.5)


def test_a_supervisor_that_was_killed_is_a_restart(folder: RunFolder) -> None:
    account = first_worker(folder, None)
    begin(account)
    account.restore([point(0, 0.5), point(1, 2.0)])
    assert [restart.by for restart in account.ledger().restarts] == ["supervisor"]


def test_a_worker_that_dies_twice_before_it_is_ready_keeps_its_debt(folder: RunFolder) -> None:
    account = first_worker(folder, "worker")
    meter = begin(account)
    meter.now = 2.0
    account.end_worker("worker", "SIGKILL")
    assert account.ledger().restarts == (
        Restart(by="worker", reason="SIGKILL", lost=spent(7.0), charged=True),  # no worker has resumed
    )
    begin(account)
    account.restore([point(0, 0.5), point(1, 2.0)])
    assert account.total().seconds == pytest.approx(12.5)
    assert [restart.lost.seconds for restart in account.ledger().restarts] == [7.0, 2.0]


@pytest.mark.parametrize(("enders", "base"), [
    (("user", "worker"), 5.5), (("worker", "user"), 10.5), (("user", "user"), 3.5), (("worker", "worker"), 12.5),
])  # fmt: skip
@pytest.mark.parametrize("resumes", [False, True])
def test_each_restart_is_charged_to_who_ended_the_worker(
    folder: RunFolder, enders: tuple[Any, Any], base: float, resumes: bool
) -> None:
    """The second worker ends after 2 seconds without an evaluation, before or after it has resumed."""
    account = first_worker(folder, enders[0])
    meter = begin(account)
    if resumes:
        account.restore([point(0, 0.5), point(1, 2.0)])
    meter.now = 2.0
    account.end_worker(enders[1], "SIGKILL")
    account = Account.open(folder)
    begin(account)
    account.restore([point(0, 0.5), point(1, 2.0)])
    assert account.total().seconds == pytest.approx(base)
    assert [restart.lost.seconds for restart in account.ledger().restarts] == [7.0, 2.0]


def test_time_that_was_lost_before_a_checkpoint_is_charged_once(folder: RunFolder) -> None:
    account = first_worker(folder, "worker")
    meter = begin(account)
    account.restore([point(0, 0.5)])  # the first checkpoint: 9.5 of the 10.5 seconds are lost
    assert evaluate(account, meter, 1, 2.0, 2.0, 2.0).seconds == pytest.approx(12.5)
    meter.now = 3.0
    account.end_worker("supervisor", "SIGKILL")
    meter = begin(account)
    account.restore([point(0, 0.5), point(1, 2.0)])
    assert account.total().seconds == pytest.approx(13.5)
    meter.now = 1.0
    account.end_worker("user")
    begin(account)
    account.restore([point(0, 0.5)])  # the newest checkpoint is damaged: its 3 seconds, and 1 second after it, are lost
    assert [restart.lost.seconds for restart in account.ledger().restarts] == [9.5, 1.0, 3.0]
    assert account.total().seconds == pytest.approx(1.0 + 9.5 + 1.0)


def test_an_account_of_another_run_is_not_used(folder: RunFolder) -> None:
    first_worker(folder, "user")
    text = (folder.path / ACCOUNT).read_text()
    (folder.path / ACCOUNT).write_text(text.replace("run-0123456789abcdef", "run-fedcba9876543210"))
    account = Account.open(folder)
    begin(account)
    assert account.ledger().restarts == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"run_id": 3}'])
def test_a_damaged_account_is_a_new_one(folder: RunFolder, content: bytes) -> None:
    """The times of the worker's checkpoint are then used."""
    (folder.path / ACCOUNT).write_bytes(content)
    account = Account.open(folder)
    meter = begin(account)
    assert [p.seconds for p in account.restore([point(0, 0.5), point(1, 2.0)])] == [0.5, 2.0]
    assert evaluate(account, meter, 2, 2.4, 0.5, 0.5).seconds == pytest.approx(2.5)


def test_superseded_runs_are_attempts(folder: RunFolder) -> None:
    (folder.path / "record.json").write_text("{}")
    folder.supersede()
    folder.path.mkdir(exist_ok=True)
    account = Account.open(folder)
    begin(account)
    assert account.ledger().attempts == 2


@pytest.mark.parametrize(
    ("restarts", "words"),
    [((), None), (("user", "supervisor"), None), (("worker",), "once"), (("worker", "user", "worker"), "2 times")],
)
def test_only_deaths_that_nobody_outside_forced_are_not_ranked(restarts: Any, words: str | None) -> None:
    ledger = Ledger(restarts=tuple(Restart(by=by) for by in restarts))
    record: Any = SimpleNamespace(ledger=ledger)
    reason = find_worker_exits(record)
    assert (reason is None) is (words is None)
    if words is not None and reason is not None:
        assert words in reason
        assert "--force" in reason
