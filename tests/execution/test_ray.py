"""Trials on a real Ray cluster of several nodes on this machine; nodes die in the middle."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.record import TrialSummary
from harness.contract.run import ExecutionOptions, Point, RunSpec
from harness.errors import UsageError
from harness.execution import launching
from harness.execution.local import execute as execute_local
from harness.execution.ray import execute
from harness.execution.state import Interrupted
from harness.storage import layout
from harness.storage.records import read_all
from harness.system import sandbox
from tests.execution import stub
from tests.execution.helpers import ROOT, outcomes_in, stub_specs, with_hparams
from tests.helpers import Remember

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with no room for trials, and the driver connected to it; nodes are added by tests."""
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        # A stub worker kills its supervisor, which a sandbox forbids.
        sandbox.VARIABLE: "none",
    }
    kept = {name: os.environ.get(name) for name in (*environment, "RAY_USAGE_STATS_ENABLED")}
    os.environ.update(environment, RAY_USAGE_STATS_ENABLED="0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        ray.init(
            address=cluster.address, log_to_driver=False, logging_level="ERROR",
            runtime_env={"worker_process_setup_hook": "tests.execution.stub.install"},
        )  # fmt: skip
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
    for name, value in kept.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def nodes(cluster: Any) -> list[Any]:
    """Two nodes with room for one trial each, in the place of those that the test before ended."""
    alive = [node for node in cluster.worker_nodes if node in cluster.list_all_nodes()]
    return alive + [cluster.add_node(num_cpus=1) for _ in range(2 - len(alive))]


@pytest.fixture
def undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[RunSpec]], dict[str, Any]]:
    """What a plan gives on this machine, with nothing in its way."""
    monkeypatch.setattr(launching, "WORKER", stub.COMMAND)

    def run_trial(specs: list[RunSpec]) -> dict[str, Any]:
        list(execute_local(specs, tmp_path / "undisturbed", Remember(), ExecutionOptions(fresh_workers=True)))
        return outcomes_in(tmp_path / "undisturbed")

    return run_trial


class Kills(Remember):
    """Ends the node that a trial is on when that trial has been evaluated so many times."""

    def __init__(self, cluster: Any, nodes: list[Any], runs: Path, after: int) -> None:
        super().__init__()
        self._cluster, self._nodes, self._runs, self._after = cluster, nodes, runs, after
        self._evaluations: Counter[str] = Counter()
        self.killed = False

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        super().evaluated(spec, point)
        self._evaluations[layout.run_id(spec)] += 1
        if self._evaluations[layout.run_id(spec)] >= self._after and not self.killed:
            self.killed = True
            self._cluster.remove_node(self._node_of(spec), allow_graceful=False)

    def _node_of(self, spec: RunSpec) -> Any:
        """The node whose own process has started the task that holds the trial's lock, wherever its folder is."""
        name = f"{layout.run_id(spec)}/lock"
        locks = [*self._runs.glob(name), *Path(tempfile.gettempdir()).glob(f"algorace-{os.getuid()}-*/{name}")]
        task = max(locks, key=lambda path: path.stat().st_mtime_ns).read_text()
        parent = subprocess.run(["ps", "-o", "ppid=", "-p", task], capture_output=True, text=True, check=True).stdout
        return next(n for n in self._nodes if n.all_processes["raylet"][0].process.pid == int(parent))


def run(specs: list[RunSpec], runs: Path, watcher: Remember | None = None, **options: str) -> list[TrialSummary]:
    return list(execute(specs, runs, watcher or Remember(), ExecutionOptions(options=options)))


@pytest.mark.slow
def test_a_plan_ends_as_on_this_machine_and_is_kept_the_next_time(
    nodes: list[Any], tmp_path: Path, undisturbed: Callable[..., dict[str, Any]]
) -> None:
    specs = stub_specs(4, evaluations=3)
    watcher = Remember()
    outcomes = run(specs, tmp_path / "runs", watcher)
    assert {outcome.kept for outcome in outcomes} == {False}
    assert outcomes_in(tmp_path / "runs") == undisturbed(specs)
    assert len(watcher.points) == 12
    assert len(watcher.records) == 4
    assert [outcome.kept for outcome in run(specs, tmp_path / "runs")] == [True] * 4


@pytest.mark.slow
def test_a_dead_nodes_trials_go_on_elsewhere_where_storage_is_shared(
    cluster: Any, nodes: list[Any], tmp_path: Path, undisturbed: Callable[..., dict[str, Any]]
) -> None:
    # Long enough that a trial is not over before its node is, on the busiest machine.
    specs = stub_specs(2, evaluations=40, pause=0.2)
    watcher = Kills(cluster, nodes, tmp_path / "runs", after=random.Random(1).randint(3, 6))
    outcomes = run(specs, tmp_path / "runs", watcher)
    assert len(outcomes) == 2
    assert outcomes_in(tmp_path / "runs") == undisturbed(specs)
    assert any("its node or the supervisor on it died" in warning for warning in watcher.warnings)
    assert any(0 < resumed < 40 for resumed in watcher.resumed), "from its checkpoint"


@pytest.mark.slow
def test_a_dead_nodes_trials_start_over_where_storage_is_not_shared(
    cluster: Any, nodes: list[Any], tmp_path: Path, undisturbed: Callable[..., dict[str, Any]]
) -> None:
    # Long enough that a trial is not over before its node is, on the busiest machine.
    specs = stub_specs(2, evaluations=40, pause=0.2)
    watcher = Kills(cluster, nodes, tmp_path / "runs", after=3)
    run(specs, tmp_path / "runs", watcher, shared="no")
    assert outcomes_in(tmp_path / "runs") == undisturbed(specs)
    assert watcher.resumed == [0, 0, 0], "twice from the beginning"
    for spec in specs:
        left = {path.name for path in (tmp_path / "runs" / layout.run_id(spec)).iterdir()}
        assert left == {"record.json", "worker.log", "lock"}


@pytest.mark.slow
def test_a_trial_that_is_lost_three_times_without_progress_has_crashed(nodes: list[Any], tmp_path: Path) -> None:
    spec = with_hparams(stub_specs(1)[0], kills_supervisor_at=0)
    watcher = Remember()
    (outcome,) = run([spec], tmp_path, watcher)
    assert outcome.status == "crashed"
    assert "3 times in a row" in outcome.reason
    # Other warnings there may be: of cores that other commands hold.
    assert sum("died; starting it again" in warning for warning in watcher.warnings) == 2
    (record,), _ = read_all([tmp_path])
    assert record.status == "crashed"


@pytest.mark.slow
def test_being_stopped_leaves_a_record_of_each_trial_that_ran(nodes: list[Any], tmp_path: Path) -> None:
    specs = stub_specs(3, evaluations=100_000, pause=0.1)
    watcher = Remember()

    def stop() -> None:
        while len(watcher.points) < 4:
            time.sleep(0.05)
        os.kill(os.getpid(), 2)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Interrupted):
        run(specs, tmp_path, watcher)
    records, problems = read_all([tmp_path])
    assert problems == []
    # One that had not said that it stands may have a record, too.
    assert len(records) >= len(watcher.resumed) > 0
    assert {record.status for record in records} == {"interrupted"}
    began = [record for record in records if record.points]
    assert {record.reason for record in began} == {"stopped by the user"}


@pytest.mark.slow
def test_a_node_of_another_hardware_class_runs_nothing(nodes: list[Any], tmp_path: Path) -> None:
    spec = msgspec.structs.replace(stub_specs(1)[0], hardware="cpu-abacus-1t")
    with pytest.raises(UsageError, match="planned for cpu-abacus-1t"):
        run([spec], tmp_path)
    assert not list(tmp_path.glob("run-*/record.json"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adress": "auto"}, "no option 'adress'"),
        ({"shared": "maybe"}, "yes or no"),
        ({"cores": "many"}, "non-negative number"),
    ],
)
def test_wrong_options_are_usage_errors(options: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        run(stub_specs(1), tmp_path, None, **options)
