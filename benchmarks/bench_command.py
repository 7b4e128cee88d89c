"""Start the command `bench run`, wait for a moment of it, find its processes, and read its records.

Benchmarks that stop or kill the command at chosen moments use this module.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
POLL_S = 0.002
#: How often `BenchCommand.finish` starts the command, or waits for its end, before it gives up.
MAX_ATTEMPTS = 4
#: Fields of a record that benchmarks compare. Nested fields with seconds are left out.
COMPARED = ("run_id", "status", "points", "hit", "stage_hits", "counters", "final_weights", "crossing_weights")


Records = dict[str, Any]


@dataclass
class BenchCommand:
    """The command `bench run` with fixed arguments. Each `start` starts it again with the same folder of runs.

    Args:
        arguments: arguments of `bench run`. `start` adds `--json`, `--jobs` and `--runs`.
        folder: empty folder for the runs. The output is written to files beside it.
    """

    arguments: tuple[str, ...]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    log_begin: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder.with_name(f"{self.folder.name}.log")

    def start(self) -> None:
        """Start the command in a new session, as in a separate terminal."""
        command = [sys.executable, "-m", "harness.cli", "run", *self.arguments, "--json", "--jobs", "1"]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with open(self.log, "ab") as log, open(self.log.with_suffix(".json"), "wb") as output:
            self.log_begin = log.tell()
            self.process = subprocess.Popen(
                [*command, "--runs", str(self.folder / "runs")],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    @property
    def lines(self) -> int:
        """Number of lines that the current command has printed to stderr."""
        return self.log.read_bytes()[self.log_begin :].count(b"\n")

    @property
    def has_resumed(self) -> bool:
        """Whether the command has resumed a run from a checkpoint, in any of its starts."""
        return b"continued from step" in self.log.read_bytes()

    def wait(self, limit: float) -> bool:
        """Wait for the end of the command for at most `limit` seconds, and return whether it ended."""
        deadline = time.monotonic() + limit
        while not self.has_ended and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return self.has_ended

    def wait_for_moment(self, lines: int, delay: float) -> bool:
        """Wait until stderr has `lines` lines, then for `delay` seconds. Return False if the command has ended."""
        while self.lines < lines and not self.has_ended:
            time.sleep(POLL_S)
        return not self.wait(delay)

    def finish(self, limit: float) -> Records:
        """Repeat the command until it succeeds, and return the compared fields of its records.

        Raises:
            TimeoutError: a command did not end.
            RuntimeError: the command failed `MAX_ATTEMPTS` times.
            ValueError: the command printed something other than records.
        """
        for _ in range(MAX_ATTEMPTS):
            if self.has_ended:
                self.start()
            if not self.wait(limit):
                self.kill()
                raise TimeoutError(f"no end after {limit:.0f} s")
            assert self.process is not None
            if self.process.returncode == 0:
                return read_records(self.log.with_suffix(".json").read_text())
        lines = self.log.read_text(errors="replace").splitlines() or [""]
        assert self.process is not None
        raise RuntimeError(f"exit code {self.process.returncode}: {lines[-1]}")

    def kill(self) -> None:
        """Kill the command and everything that it started."""
        for pid in [*list_descendants(), *([self.process.pid] if self.process else [])]:
            send(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


# --- processes --------------------------------------------------------------------------------------------------------


def list_descendants(excluded_pid: int = 0) -> list[int]:
    """Return the ids of the harness's processes that descend from this script, except the process `excluded_pid`.

    The search begins at this script and not at the command, because Ray's workers descend from the cluster.
    """
    parents = {int(path.name): parent_of(path) for path in Path("/proc").glob("[0-9]*")}
    descendants, generation = [], [os.getpid()]
    while generation:
        generation = [pid for pid, parent in parents.items() if parent in generation]
        descendants += generation
    return [pid for pid in descendants if pid != excluded_pid and "harness" in command_of(pid)]


def parent_of(process: Path) -> int:
    """Return the id of a process's parent; 0 if the process has ended."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command_of(pid: int) -> str:
    """Return the command line of a process; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal, and return whether the process existed."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


# --- records ----------------------------------------------------------------------------------------------------------


def read_records(output: str) -> Records:
    """Return the compared fields of the records that `bench run --json` has printed, by run_id."""
    try:
        records = json.loads(output)["records"]
    except ValueError as error:
        raise ValueError(f"{error} in {output[:200]!r}") from None
    fields = [{name: without_seconds(record[name]) for name in COMPARED} for record in records]
    assert len({record["run_id"] for record in fields}) == len(fields), "two records of one trial"
    return {record["run_id"]: record for record in fields}


def without_seconds(value: Any) -> Any:
    """Return a value of a JSON document without the fields whose names contain `seconds`."""
    if isinstance(value, dict):
        return {name: without_seconds(item) for name, item in value.items() if "seconds" not in name}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value
