"""The processor time of a process and its descendants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.system import process_tree
from harness.system.process_tree import ProcessTimes, ProcessTree, is_ignoring_children, read_times

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not give the times")


def fake_tree(monkeypatch: pytest.MonkeyPatch, *moments: dict[int, ProcessTimes]) -> ProcessTree:
    """A tree whose processes are given for each call of `read`. Process 1 is the root and 2 its oldest child."""
    current: dict[int, ProcessTimes] = {}
    calls = iter(moments)

    def newest(read: Callable[[str], str]) -> int:
        current.clear()
        current.update(next(calls))
        return -1

    monkeypatch.setattr(process_tree, "_read_newest_process", newest)
    monkeypatch.setattr(
        process_tree, "read_times", lambda pid, *_: current.get(pid) or (moments[0][1] if pid == 1 else None)
    )
    monkeypatch.setattr(process_tree, "_read_threads", lambda pid, read: {pid: 1.0})
    monkeypatch.setattr(process_tree, "list_proc", lambda: [str(pid) for pid in current])
    return ProcessTree(1)


def times(pid: int, parent: int, seconds: float = 0.0, reaped: float = 0.0) -> ProcessTimes:
    return ProcessTimes(pid=pid, parent=parent, started=pid, name=f"p{pid}", seconds=seconds, reaped=reaped)


def test_all_descendants_count_and_strangers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = fake_tree(
        monkeypatch,
        {1: times(1, 0), 2: times(2, 1, 5.0), 3: times(3, 2, 1.0), 4: times(4, 3, 2.0, 0.5), 9: times(9, 7, 50.0)},
    )
    reading = tree.read()
    assert reading.main is not None
    assert (reading.main.pid, reading.main.seconds) == (2, 5.0)
    assert reading.helpers.keys() == {3, 4}
    assert reading.helper_seconds == pytest.approx(3.5)


def test_the_time_of_an_ended_child_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its parent waits for it, or drops it."""
    root, worker = times(1, 0), times(2, 1, 1.0)
    tree = fake_tree(
        monkeypatch,
        {1: root, 2: worker, 3: times(3, 2, 4.0)},
        {1: root, 2: times(2, 1, 1.0, reaped=4.0)},  # waited for
        {1: root, 2: times(2, 1, 1.0, reaped=4.0), 5: times(5, 2, 3.0)},
        {1: root, 2: times(2, 1, 1.0, reaped=4.0)},  # dropped
        {1: root, 2: times(2, 1, 1.0, reaped=4.5)},
    )
    assert [round(tree.read().helper_seconds, 6) for _ in range(5)] == [4.0, 4.0, 7.0, 7.0, 7.5]


def test_an_ended_main_process_is_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is then among those of the root's ended children."""
    tree = fake_tree(
        monkeypatch,
        {1: times(1, 0), 2: times(2, 1, 8.0), 3: times(3, 2, 1.0)},
        {1: times(1, 0, reaped=9.0)},
    )
    tree.read()
    reading = tree.read()
    assert reading.main is None
    assert reading.helper_seconds == 1.0


def test_a_name_may_contain_anything(tmp_path: Path) -> None:
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as process:
        found = read_times(process.pid)
        process.kill()
    assert found is not None
    assert (found.name, found.parent) == ("a) b (c", os.getpid())


def test_a_process_in_another_session_is_found_and_killed() -> None:
    code = "import os, time\nif os.fork() == 0:\n os.setsid()\n print(flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        tree = ProcessTree(process.pid)
        tree.read()
        members = set(tree._members)
        tree.kill()
        process.kill()
    deadline = time.monotonic() + 30
    assert len(members) == 1
    while (left := [read_times(pid) for pid in members]) != [None]:
        # Nobody waits for it here, so that the process table may still have it.
        if left[0] is not None and Path(f"/proc/{left[0].pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ignored_children_are_seen() -> None:
    code = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_ignoring_children(process.pid)
        process.send_signal(signal.SIGKILL)
    assert not is_ignoring_children(os.getpid())


def test_a_new_process_with_the_id_of_an_ended_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was open for the ended process cannot be read, although the id was in the list of processes."""
    root, worker = times(1, 0), times(2, 1, 1.0)
    reused = times(3, 2, 7.0)
    moments = {1: root, 2: worker, 3: times(3, 2, 4.0)}
    tree = fake_tree(monkeypatch, moments, {1: root, 2: worker, 3: reused}, {1: root, 2: worker, 3: reused})
    assert tree.read().helpers.keys() == {3}
    fake_times = process_tree.read_times
    monkeypatch.setattr(process_tree, "_read_newest_process", lambda read: 3)
    tree._newest = 3  # no process was created since the reading that comes next
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "read_times", lambda pid, *_: None if pid == 3 else fake_times(pid))
        assert not tree.read().helpers
    monkeypatch.setattr(process_tree, "read_times", lambda pid, *_: reused if pid == 3 else fake_times(pid))
    assert tree.read().helpers == {3: reused}
