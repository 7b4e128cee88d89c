"""Disturb runs at random moments, and check that their results equal those of undisturbed runs.

The script starts `bench run`, disturbs it one to three times at random moments, and repeats the same command until it
succeeds. A disturbance is one of these:

- SIGKILL, SIGTERM or SIGINT to the command (the supervisor), to one of the processes that it started, or to all of them
- SIGSTOP, and SIGCONT some seconds later
- a full disk, which has space again before the next command. The disk is a small tmpfs with the runs. If no file
  system can be mounted, the maximum file size of the processes becomes 0 instead.
- with `--executor ray`: the removal of a node of the cluster

The records must equal those of an undisturbed command: status, points, counters and weights, but not seconds. The exit
code is 1 if the records of any command differ. The submissions have much state: moments, averages, replay buffers,
snapshots.

The table of results has a row for each kind of disturbance, and these columns:

- disturbances: number of disturbances
- commands: number of disturbed commands
- resumed: number of commands that resumed a run from a checkpoint
- exact: number of commands with the same records as the undisturbed command
- lost: number of commands that did not end with all records

    python benchmarks/kill_runs.py [--kills 100] [--seed 0] [--cases NAME,NAME] [--executor local|ray]
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_command import ROOT, BenchCommand, Records, command_of, list_descendants, send

_MUCH_STATE = "benchmarks/much_state.py:MuchState"
#: Name of a case -> arguments of `bench run`.
CASES: dict[str, tuple[str, ...]] = {
    "pool": ("-s", _MUCH_STATE, "-w", "tests/micro.py:Micro"),
    "stream": ("-s", _MUCH_STATE, "-w", "continual-digits"),
    "ensemble": ("-s", "temporal-ensemble", "-w", "continual-digits"),
    "schedule-free": ("-s", "schedule-free-replay", "-w", "continual-digits"),
    "rewarm": ("-s", "rewarm-replay", "-w", "continual-digits"),
    "lawa": ("-s", "wsd-lawa", "-w", "continual-digits"),
    "soap": ("-s", "soap-wsd", "-w", "resnet-digits"),
    "sweep": ("-s", "replay,sgd-replay", "-w", "continual-digits", "--studies", "2"),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP)
VICTIMS = ("supervisor", "child", "all")
#: Maximum number of seconds from SIGSTOP to SIGCONT.
MAX_PAUSE_S = 4.0
#: Size of the tmpfs of a run with a full disk. The files of the largest case need less than half of it.
DISK_BYTES = 64 << 20
#: Seconds after which an undisturbed command, or one on a full disk, counts as hung.
HANG_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """A kind of disturbance: a signal to one of `VICTIMS`. The kinds `full disk` and `node` have no signal."""

    victim: str
    signal_number: signal.Signals | None = None

    def __str__(self) -> str:
        return f"{self.signal_number.name} to {self.victim}" if self.signal_number else self.victim


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """The outcome of a command that was not disturbed.

    Args:
        records: the compared fields of the records, by run_id.
        lines: number of lines that the command printed to stderr.
        start: seconds until the first line.
        seconds: seconds until the end.
    """

    records: Records
    lines: int
    start: float
    seconds: float


@dataclass
class Tally:
    """The counts in one row of the table."""

    disturbances: int = 0
    commands: int = 0
    resumed: int = 0
    exact: int = 0
    lost: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="number of disturbances (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random choices (default: 0)")
    parser.add_argument("--cases", default=",".join(CASES), help=f"comma-separated cases (default: {','.join(CASES)})")
    parser.add_argument("--executor", choices=["local", "ray"], default="local")
    options = parser.parse_args()
    # A shell makes background jobs ignore SIGINT. The processes that this script starts would inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-runs-") as name, cluster(options.executor) as ray_cluster:
        extra = ("--executor", "ray", "--executor-option", f"address={ray_cluster.address}") if ray_cluster else ()
        cases = {name: (*CASES[name], *extra) for name in options.cases.split(",")}
        tallies = disturb_all(cases, options.kills, rng, Path(name), ray_cluster)
    total = Tally()
    print(f"{'kind':24}{'disturbances':>14}{'commands':>10}{'resumed':>9}{'exact':>7}{'lost':>6}")
    for kind, tally in sorted(tallies.items()):
        for count in vars(total):
            setattr(total, count, getattr(total, count) + getattr(tally, count))
        print_row(kind, tally)
    print_row("all", total)
    return 0 if total.exact == total.commands else 1


def print_row(kind: str, tally: Tally) -> None:
    print(f"{kind:24}{tally.disturbances:>14}{tally.commands:>10}{tally.resumed:>9}{tally.exact:>7}{tally.lost:>6}")


def disturb_all(
    cases: dict[str, tuple[str, ...]], kills: int, rng: random.Random, folder: Path, ray_cluster: Any
) -> dict[str, Tally]:
    """Disturb commands until the number of disturbances is reached. Return the counts by kind of disturbance."""
    undisturbed = {name: run_undisturbed(BenchCommand(arguments, folder / name)) for name, arguments in cases.items()}
    for name, expected in undisturbed.items():
        statuses = ", ".join(record["status"] for record in expected.records.values())
        print(f"{name}: {expected.seconds:.0f} s, {expected.lines} lines, {statuses}", flush=True)
    kinds = [Disturbance(victim=victim, signal_number=number) for number in SIGNALS for victim in VICTIMS]
    kinds.append(Disturbance(victim="node" if ray_cluster else "full disk"))
    tallies: dict[str, Tally] = defaultdict(Tally)
    disturbance_count = index = 0
    upcoming_kinds: list[Disturbance] = []
    while disturbance_count < kills:
        upcoming_kinds = upcoming_kinds or rng.sample(kinds, len(kinds))
        kind, name = upcoming_kinds.pop(), rng.choice(list(cases))
        index += 1
        case_folder = folder / f"{index}"
        with small_disk(case_folder) if kind.victim == "full disk" else contextlib.nullcontext():
            case_folder.mkdir(exist_ok=True)
            bench = BenchCommand(cases[name], case_folder)
            atexit.register(bench.kill)
            # After three kills in a row without progress, a worker counts as crashed. So it is killed at most twice.
            times = rng.randint(1, 3 if kind.victim == "supervisor" else 2)
            moments = disturb(bench, kind, undisturbed[name], min(times, kills - disturbance_count), rng, ray_cluster)
            problem = compare(bench, undisturbed[name])
            atexit.unregister(bench.kill)
        tally = tallies[str(kind)]
        disturbance_count += len(moments)
        tally.disturbances += len(moments)
        tally.commands += 1
        tally.resumed += bench.has_resumed
        tally.exact += not problem
        tally.lost += problem.startswith("lost")
        print(f"{disturbance_count:4d}  {name}, {kind} {', '.join(moments)}: {problem or 'exact'}", flush=True)
    return tallies


def run_undisturbed(bench: BenchCommand) -> Undisturbed:
    """Run a command without a disturbance."""
    bench.folder.mkdir()
    began = time.monotonic()
    bench.start()
    bench.wait_for_moment(1, 0.0)
    start = time.monotonic() - began
    records = bench.finish(HANG_S)
    return Undisturbed(records=records, lines=bench.lines, start=start, seconds=time.monotonic() - began)


def disturb(
    bench: BenchCommand, kind: Disturbance, expected: Undisturbed, times: int, rng: random.Random, ray_cluster: Any
) -> list[str]:
    """Disturb a command at random moments, and return the moments. The list has at least one item."""
    moments: list[str] = []
    late_moments = 0
    while len(moments) < times:
        if bench.has_ended:
            bench.start()
        # With probability 1/8, the moment is before the first line of progress. If an earlier moment came too late, the
        # probability is 1/2.
        in_start = rng.random() < (1 / 2 if late_moments else 1 / 8)
        lines = 0 if in_start else rng.randint(1, max(1, expected.lines - 2))
        interval = (expected.seconds - expected.start) / expected.lines
        if not bench.wait_for_moment(lines, rng.uniform(0.0, expected.start if in_start else interval)):
            late_moments += 1
            # The command ended before the moment. If it has succeeded, there is nothing left to disturb.
            assert bench.process is not None
            if bench.process.returncode == 0:
                if moments:
                    break
                shutil.rmtree(bench.folder / "runs")
            continue
        description = strike(bench, kind, rng, ray_cluster)
        if description:
            moments.append(f"after {bench.lines} lines{description}")
            bench.wait(rng.uniform(0.0, 2.0))
    return moments


def strike(bench: BenchCommand, kind: Disturbance, rng: random.Random, ray_cluster: Any) -> str:
    """Disturb a command now, and return text for the report.

    The text is the name of the disturbed child, or a space. It is empty if there was no process to disturb.
    """
    assert bench.process is not None
    descendants = list_descendants(bench.process.pid)
    if kind.victim == "full disk":
        fill_disk(bench, [bench.process.pid, *descendants])
        return " "
    if kind.victim == "node":
        ray_cluster.remove_node(next(iter(ray_cluster.worker_nodes)), allow_graceful=False)
        ray_cluster.add_node(num_cpus=1)
        return " "
    pids = {
        "supervisor": [bench.process.pid],
        "all": rng.sample([bench.process.pid, *descendants], len(descendants) + 1),
    }
    if kind.victim == "child":
        pids["child"] = rng.sample(descendants, min(1, len(descendants)))
    assert kind.signal_number is not None
    names = (
        "".join(f", {(command_of(pid).rpartition('-m ')[2].split() or ['?'])[0]}" for pid in pids[kind.victim])
        if kind.victim == "child"
        else " "
    )
    signalled = [pid for pid in pids[kind.victim] if send(pid, kind.signal_number)]
    if kind.signal_number == signal.SIGSTOP:
        time.sleep(rng.uniform(0.1, MAX_PAUSE_S))
        for pid in signalled:
            send(pid, signal.SIGCONT)
    return names if signalled else ""


def compare(bench: BenchCommand, expected: Undisturbed) -> str:
    """Finish a command. Return the first difference between its records and the undisturbed ones; empty if none."""
    try:
        records = bench.finish(60 + 20 * expected.seconds)
    except (TimeoutError, RuntimeError, ValueError) as error:
        return f"lost: {error}"
    if records.keys() != expected.records.keys():
        return f"lost: {len(records)} of {len(expected.records)} records"
    for identity, record in records.items():
        for name, value in record.items():
            if value != expected.records[identity][name]:
                return f"DIFFERENT: {name} of {identity}: {str(value)[:200]}"
    return ""


# --- the disk and the cluster -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """Mount a small file system at a path, if possible."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield
        return
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill_disk(bench: BenchCommand, pids: list[int]) -> None:
    """Fill the disk of a command, wait for the command's end, and free the disk again."""
    if not os.path.ismount(bench.folder):
        for pid in pids:
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        bench.wait(HANG_S)
        return
    filler = bench.folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    bench.wait(HANG_S)
    filler.unlink()


@contextlib.contextmanager
def cluster(executor: str) -> Iterator[Any]:
    """Start a Ray cluster of two nodes, with one trial per node; yield None if the executor is not Ray."""
    if executor != "ray":
        yield None
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    from ray.cluster_utils import Cluster

    ray_cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        ray_cluster.add_node(num_cpus=1)
    try:
        yield ray_cluster
    finally:
        ray_cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.exit(main())
