"""Kill a process at every file operation while it changes a folder: `python -m tests.publishing.killing FOLDER`.

The folder contains `runs` and, optionally, `results`. Before each attempt, `results` is replaced by a copy of
`results-before`. The script prints one line for each attempt: what `results` contained after the kill.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from harness.publishing.session import publish
from harness.system import locks
from tests.publishing.local_runs import options
from tests.storage.published import contents

#: Events of the interpreter that come before a change of the file system (or before the exchange of two folders).
EVENTS = frozenset({"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "ctypes.dlsym"})


def attempt(folder: Path, kill_at: int) -> int:
    """Publish in a child process that is killed before its operation number `kill_at`; return its exit status."""
    child = os.fork()
    if child == 0:
        count = 0

        def strike(event: str, _: tuple[object, ...]) -> None:
            nonlocal count
            if event in EVENTS:
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        # The operations before the lock only read.
        def wait_for_lock(*arguments: Any, **named: Any) -> int:
            sys.addaudithook(strike)
            return locks.wait_for_lock(*arguments, **named)

        with mock.patch("harness.storage.marks.wait_for_lock", wait_for_lock):
            publish(["wsd"], options(folder))
        os._exit(0)
    return os.waitpid(child, 0)[1]


def state(folder: Path) -> dict[str, bytes]:
    """The content of the published records; the date in the name of the publication file differs by attempt."""
    return {name: data for name, data in contents(folder / "results").items() if "publication-" not in name}


def main(folder: Path, step: int) -> None:
    after: dict[str, bytes] | None = None
    # The first attempt is not killed: it gives the content afterwards, and imports what publishing imports.
    for kill_at in (0, *range(1, 100_000, step)):
        shutil.rmtree(folder / "results", ignore_errors=True)
        shutil.copytree(folder / "results-before", folder / "results")
        # What an earlier attempt left would add operations, so that the last operations were never reached.
        for left in folder.glob(".results.staged-*"):
            shutil.rmtree(left)
        before = state(folder)
        status = attempt(folder, kill_at)
        if after is None:
            after = state(folder)
            assert status == 0
            assert after != before
            continue
        content = state(folder)
        print(
            "after" if content == after else "before" if content == before else f"torn at {kill_at}: {sorted(content)}"
        )
        if status == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
