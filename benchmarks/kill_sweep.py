"""Kill a sweep at random moments, and check that it ends with the same records as an uninterrupted sweep.

The sweep: 3 submissions × (resnet-digits, continual-digits, two stub workloads) × 3 studies × 2 trials, with short
budgets. First the sweep runs once without interruption, with the executor `local`. Then it runs with each of the
executors `local` and `ray`, and is interrupted several times at random moments: once by SIGKILL to a worker, once by
SIGKILL to the supervisor, and with `ray` once by removal of a node. After each interruption, the sweep is started
again. Finally the sweep runs to its end. No record may be missing or exist twice. All records must have the same
examples, steps and metrics as in the sweep without interruption.

    python benchmarks/kill_sweep.py [--executors local,ray] [--seed 0] [--share 0.02]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, RunSpec
from harness.execution.resources import list_usable_cores
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry
from harness.report.progress import Plain
from harness.storage import records as stored

SUBMISSIONS = ("adamw-cosine", "wsd", "sgd-nesterov")
WORKLOADS = ("resnet-digits", "continual-digits")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executors", default="local,ray")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.02, help="fraction of each workload's budget (default: 0.02)")
    parser.add_argument("--run-plan", nargs=4, metavar=("PLAN", "RUNS", "EXECUTOR", "ADDRESS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_plan:
        return run_plan(*options.run_plan)
    specs = sweep(options.share)
    rng = random.Random(options.seed)
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan_file = folder / "plan.json"
        plan_file.write_bytes(msgspec.json.encode(specs))
        began = time.monotonic()
        subprocess.run(command(plan_file, folder / "whole", "local", ""), check=True, stderr=subprocess.DEVNULL)
        length = time.monotonic() - began
        whole = outcomes(folder / "whole")
        print(f"uninterrupted: {len(whole)} records of {len(specs)} trials, {length:.0f} s", flush=True)
        for executor in options.executors.split(","):
            with cluster() if executor == "ray" else contextlib.nullcontext() as nodes:
                kinds = ["worker", "supervisor", *(["node"] if nodes else [])]
                for kind in rng.sample(kinds, len(kinds)):
                    print(f"{executor}: {disturb(plan_file, folder / executor, executor, nodes, kind, rng)}")
                address = nodes.address if nodes else ""
                subprocess.run(
                    command(plan_file, folder / executor, executor, address), check=True, stderr=subprocess.DEVNULL
                )
            interrupted = outcomes(folder / executor)
            same = sum(interrupted.get(identity) == outcome for identity, outcome in whole.items())
            print(f"{executor}: {len(interrupted)} records, {same} of {len(whole)} equal", flush=True)
            failures += interrupted != whole
    return 1 if failures else 0


def sweep(share: float) -> list[RunSpec]:
    """Return the trials in the order of `bench run`."""
    registry = load_registry()
    ruleset = msgspec.structs.replace(
        rulesets.ruleset("external"), name="kill-sweep", trials=2, studies=3, budget_factor=share, ranked=False
    )
    specs: list[RunSpec] = []
    for workload in [*(registry.workload(name) for name in WORKLOADS), *stubs()]:
        planned = []
        for submission in (registry.submission(name) for name in SUBMISSIONS):
            planned.append(plan_trials(workload, submission, registry, PlanSettings(ruleset=ruleset)))
        specs += [spec for trials in zip(*planned, strict=True) for spec in trials]
    return specs


def stubs() -> list[WorkloadEntry]:
    """Return the two tiny workloads of the tests."""
    sys.path.insert(0, str(ROOT))
    from tests import micro

    return [micro.ENTRY, micro.STREAM_ENTRY]


ROOT = Path(__file__).resolve().parents[1]


def command(plan_file: Path, runs: Path, executor: str, address: str) -> list[str]:
    return [sys.executable, __file__, "--run-plan", str(plan_file), str(runs), executor, address]


def run_plan(plan_file: str, runs: str, executor: str, address: str) -> int:
    """Run the trials of a plan file as `bench run` does. The process of this function is the supervisor."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    specs = msgspec.json.decode(Path(plan_file).read_bytes(), type=list[RunSpec])
    execute = load_object(load_registry().executor(executor).load)
    execution_options = ExecutionOptions(options={"address": address} if address else {})
    with Plain(len(specs)) as watcher:
        for _ in execute(specs, Path(runs), watcher, execution_options):
            pass
    return 0


def disturb(plan_file: Path, runs: Path, executor: str, nodes: Any, kind: str, rng: random.Random) -> str:
    """Start the sweep, kill a process of one kind at a random moment, and then the supervisor. Return a summary."""
    record_count = ended(runs) + rng.randint(3, 16)
    address = nodes.address if nodes else ""
    process = subprocess.Popen(command(plan_file, runs, executor, address), stderr=subprocess.DEVNULL)
    while ended(runs) < record_count:
        if process.poll() is not None:
            return f"ended before there were {record_count} records"
        time.sleep(0.2)
    # The kill happens at a random moment of the running trials.
    time.sleep(rng.uniform(0.0, 3.0))
    enders: dict[str, Callable[[Path, Any], str]] = {"worker": end_worker, "node": end_node}
    detail = enders[kind](runs, nodes) if kind in enders else ""
    if kind != "supervisor":
        # The supervisor must first notice that the process has ended, and may restart it.
        time.sleep(rng.uniform(2.0, 6.0))
    process.kill()
    process.wait()
    return f"{kind}{detail} ended when there were {ended(runs)} records"


def end_worker(runs: Path, _: Any) -> str:
    """Kill one worker. Workers are the children of the processes that hold the locks of trials."""
    holders = {path.read_text() for path in runs.glob("run-*/lock")} - {""}
    for holder in holders:
        children = list_workers(holder)
        # A forked worker is a child of the fork server, whose module is in the same package.
        for pid in [*(pid for child in children for pid in list_workers(child)), *children]:
            os.kill(int(pid), signal.SIGKILL)
            return ""
    return " (there was none)"


def list_workers(parent: str) -> list[str]:
    """Return the process ids of a process's children that run a module of `harness.worker`."""
    listed = subprocess.run(["pgrep", "-P", parent, "-f", "harness.worker"], capture_output=True, text=True)
    return listed.stdout.split()


def end_node(_: Path, nodes: Any) -> str:
    """Kill a node of the Ray cluster, and add a new node."""
    nodes.remove_node(nodes.worker_nodes and next(iter(nodes.worker_nodes)), allow_graceful=False)
    nodes.add_node(num_cpus=1)
    return ""


@contextlib.contextmanager
def cluster() -> Iterator[Any]:
    """Start a Ray cluster of several nodes on this machine, with one trial per node."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(max(2, len(list_usable_cores()))):
        nodes.add_node(num_cpus=1)
    try:
        yield nodes
    finally:
        nodes.shutdown()  # type: ignore[no-untyped-call]


def ended(runs: Path) -> int:
    """Return the number of trials that have ended."""
    endings = [stored.find_valid_record(path) for path in runs.glob("run-*/record.json")]
    return sum(ending is not None and ending.status != "interrupted" for ending in endings)


def outcomes(runs: Path) -> dict[str, Any]:
    """Return, by run_id, the parts of the finished trials' records that must be equal."""
    records, problems = stored.read_all([runs])
    assert not problems, problems
    assert len(list(runs.glob("run-*/record.json"))) == len(records), "two records of one trial"
    return {record.run_id: outcome(record) for record in records if record.status != "interrupted"}


def outcome(record: Record) -> Any:
    curve = [(p.examples, p.gradient_examples, p.steps, p.lr, p.stage, p.metrics, p.train_loss) for p in record.points]
    return record.status, record.hit, record.stage_hits, curve, record.final_weights


if __name__ == "__main__":
    sys.exit(main())
