"""Self-kill and resume."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from harness.api import Work
from tests.cheats.ways.honest import Honest, burn, find_run

#: The files of a run that a worker has no business with. Another file is made if the folder can be written.
TARGETS = ("account.json", "record.json", "lock", "worker.log", "evaluator", "evaluator/1.pt", "evaluator/2.pt", "new")


class Dies(Honest):
    """Burns time, and ends its worker after the first checkpoint."""

    is_resumed = False

    def begin(self) -> None:
        self.folder = Path(find_run().folder)

    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def update(self, work: Work) -> None:
        super().update(work)
        if not self.is_resumed and (self.folder / "checkpoint.pt").exists():
            burn()
            self.end()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.is_resumed = True


class Exits(Dies):
    """Ends its worker as if it were done."""

    def end(self) -> None:
        os._exit(0)


class Raises(Dies):
    """Raises an exception that only ends a process."""

    def end(self) -> None:
        sys.exit(1)


class EditsAccount(Dies):
    """Attacks the supervisor's and the evaluator's files, whose paths it knows."""

    def end(self) -> None:
        attack(self.folder.parent)
        super().end()


class SearchesAccount(Dies):
    """Looks for the folder of its run wherever a process can look, and attacks what it finds."""

    def end(self) -> None:
        folders = sorted(set(find_folders()))
        print("folders:", *folders, flush=True)
        for folder in folders:
            attack(folder)
        super().end()


class EditsCheckpoint(Dies):
    """Replaces its checkpoint by one with better weights and fewer examples."""

    def end(self) -> None:
        from harness.storage.layout import run_id
        from harness.worker import checkpoint

        identity = run_id(find_run().spec)
        state = checkpoint.read(self.folder / "checkpoint.pt", identity)
        state["model"] = {name: torch.zeros_like(tensor) for name, tensor in state["model"].items()}
        state["work"]["examples"] = 0
        checkpoint.write(self.folder / "checkpoint.pt", state, identity)
        super().end()


def attack(folder: Path) -> None:
    """Try to change every file of a run in every way, and print what succeeded."""
    for path in map(folder.joinpath, TARGETS):
        attempts: dict[str, Callable[[], object]] = {
            "write": lambda path=path: path.write_text("{}"),  # type: ignore[misc]
            "truncate": lambda path=path: os.truncate(path, 0),  # type: ignore[misc]
            "link": lambda path=path: os.link(path, Path(os.environ["HOME"], "own")),  # type: ignore[misc]
            "rename": lambda path=path: path.rename(path.with_suffix(".moved")),  # type: ignore[misc]
            "remove": lambda path=path: path.unlink(),  # type: ignore[misc]
        }
        for name, attempt in attempts.items():
            try:
                attempt()
            except OSError:
                continue
            print("succeeded:", name, path, flush=True)


def find_folders() -> Iterator[Path]:
    """Yield the folders of runs that a process learns from descriptors, variables and /proc."""
    known = [Path.cwd(), *(Path(value) for value in os.environ.values() if value.startswith("/"))]
    for process in ("self", str(os.getppid())):
        try:
            descriptors = [Path("/proc", process, "fd", number) for number in os.listdir(f"/proc/{process}/fd")]
            known += [Path(os.readlink(path)) for path in descriptors]
        except OSError:
            continue
    for path in known:
        yield from (folder for folder in (path, *path.parents) if folder.name.startswith("run-"))
