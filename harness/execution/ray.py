"""Trials on a Ray cluster: an existing one by its address, or one started here for as long as they run.

A node's worker is the same process as on one machine. Where nodes see the runs folder, trials run in it, and those of
a node that died go on from their last checkpoint elsewhere; where they do not, each trial's files are sent back, and
one that is lost starts from the beginning.

Source: Moritz et al., Ray: a distributed framework for emerging AI applications, arXiv 1712.05889.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.record import TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import StoreError, UsageError
from harness.execution import remote
from harness.execution.event_stream import EventReceiver
from harness.execution.remote import Delivery
from harness.execution.scheduler import LostTrial, Result, run_all
from harness.execution.trial import trial_summary, write_final_record
from harness.storage import records
from harness.storage.layout import RECORD, run_id

#: Trials that are handed to Ray at once; it places them as nodes have room.
_WINDOW = 1000
#: Seconds between two looks at what has been said and has ended.
_LOOK_S = 0.25
#: Seconds that trials have to end with a record when they are stopped.
_STOP_S = 30.0

#: `address`: of a cluster (`auto`, `10.0.0.1:6379`); one is started here when empty. `shared`: whether nodes see the
#: runs folder (`yes`, `no`); each one finds out for itself when empty. `cores`, `gpus`: for each trial; what its
#: threads and ranks make when empty.
OPTIONS = {"address": "", "shared": "", "cores": "", "gpus": ""}


def execute(
    specs: Sequence[RunSpec], runs: Path, watcher: Watcher, how: ExecutionOptions | None = None
) -> Iterator[TrialSummary]:
    """Carry out trials on a Ray cluster, and yield each one's outcome when its record is in the runs folder.

    A cluster that this process is connected to already is used, and left as it is.

    Args:
        runs: the folder with one folder per trial.
        how: see `ExecutionOptions` and `OPTIONS`; at most `jobs` trials at once, or as many as the cluster holds.

    Raises:
        UsageError: Ray is not installed, an option is wrong, there is no cluster at the address, or a node is of
            another hardware class than the trials.
        StoreError, Interrupted: see `run_all`.
    """
    how = how or ExecutionOptions()
    options = remote.checked_options("ray", how, OPTIONS)
    if options["shared"] not in ("", "yes", "no"):
        raise UsageError(f"executor option shared={options['shared']}: yes or no", fix="leave it out to find out")
    remote.number(options, "cores", 0)
    remote.number(options, "gpus", 0)
    runs = runs.absolute()
    return run_all(_Cluster(runs, watcher, options), specs, runs, watcher, how)


class _Cluster:
    """Tasks on a cluster; connected to when the first trial starts, since a plan may be finished already."""

    def __init__(self, runs: Path, watcher: Watcher, options: dict[str, str]) -> None:
        self._runs = runs
        self._watcher = watcher
        self._options = options
        self._inbox = EventReceiver(watcher)
        self._specs: dict[str, RunSpec] = {}
        self._running: dict[Any, str] = {}
        self._ray: Any = None
        self._ours = False
        self._said: set[str] = set()

    def start(self, spec: RunSpec, how: ExecutionOptions) -> bool:
        if len(self._running) >= _WINDOW:
            return False
        if self._ray is None:
            self._connect()
        identity = run_id(spec)
        cores, gpus = remote.cores_and_gpus(spec)
        needs = {
            "num_cpus": remote.number(self._options, "cores", cores),
            "num_gpus": remote.number(self._options, "gpus", gpus),
        }
        self._poll_resources(spec, needs)
        self._inbox.expect(identity, spec)
        self._specs[identity] = spec
        # No retries by Ray: whether it is worth one, and what is said of it, is decided in `run_all`.
        task = self._task.options(name=identity, max_retries=0, **needs)
        shared = self._options["shared"]
        ref = task.remote(msgspec.json.encode(spec), str(self._runs), self._mark, how, shared, self._mail)
        self._running[ref] = identity
        return True

    def ended(self) -> Iterable[tuple[str, Result]]:
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_LOOK_S)
        self._read_mail()
        for ref in ready:
            identity = self._running.pop(ref)
            yield identity, self._result(ref, identity)

    def stop(self) -> None:
        if self._ray is None:
            return
        running, self._running = self._running, {}
        for ref in running:
            self._ray.cancel(ref)
        if running:
            self._ray.wait(list(running), num_returns=len(running), timeout=_STOP_S)
            self._read_mail()
        for identity in running.values():
            # A node that does not see the runs folder has written a record that nobody will see.
            if identity in self._inbox.begun and records.read_ending(self._runs / identity / RECORD) is None:
                with contextlib.suppress(StoreError):
                    write_final_record(
                        self._specs[identity], self._runs, self._watcher, "interrupted", "stopped by the user"
                    )
        if self._ours:
            self._ray.shutdown()
        self._ray = None

    def _connect(self) -> None:
        """Find or start the cluster, and a place on it for what trials say.

        Raises:
            UsageError: there is none at the address.
        """
        # Before its import, which reads them: nothing is reported to anybody, and GPUs are hidden from no one.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray = remote.optional_module("ray", "ray")
        if not ray.is_initialized():
            self._ours = True
            address = self._options["address"] or "local"
            quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
            if address != "local":
                del quiet["include_dashboard"]
            with _own_signals():
                try:
                    ray.init(address=address, **quiet)
                except (ConnectionError, ValueError, RuntimeError) as error:
                    fix = "give the address that `ray start --head` printed, or none to start one here"
                    raise UsageError(f"no Ray cluster at {address}: {error}", fix=fix) from error
        strategies = remote.optional_module("ray.util.scheduling_strategies", "ray")
        here = ray.get_runtime_context().get_node_id()
        strategy = strategies.NodeAffinitySchedulingStrategy(node_id=here, soft=False)
        self._mail = ray.remote(num_cpus=0)(_Mailbox).options(scheduling_strategy=strategy).remote()
        self._task = ray.remote(_trial)
        self._mark = remote.write_fs_marker(self._runs)
        self._ray = ray

    def _poll_resources(self, spec: RunSpec, needs: dict[str, float]) -> None:
        """Say so when a trial fits no node that there is: Ray would wait for one in silence."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"]}
        if not any(all(node.get(kind, 0) >= n for kind, n in wanted.items()) for node in nodes):
            missing = f"no node of the cluster has {wanted['CPU']:g} cores and {wanted['GPU']:g} GPUs; waiting for one"
            remote.warn_about_release(self._watcher, spec, self._said, missing)

    def _read_mail(self) -> None:
        # What was said is for show; that it cannot be had must not stop anything.
        with contextlib.suppress(self._ray.exceptions.RayError):
            for line in self._ray.get(self._mail.take.remote(), timeout=10):
                self._inbox.receive(line)

    def _result(self, ref: Any, identity: str) -> Result:
        spec = self._specs.pop(identity)
        try:
            delivery: Delivery = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            return RuntimeError(f"the task of {identity} failed on its node: {error.cause or error}")
        except self._ray.exceptions.OutOfMemoryError:
            return LostTrial("its node ran out of memory and Ray ended it", self._inbox.steps(identity))
        except self._ray.exceptions.RayError:
            return LostTrial("its node or the supervisor on it died", self._inbox.steps(identity))
        if delivery.error is not None or delivery.trial_summary is None:
            return delivery.error or RuntimeError(f"nothing came back of {identity}")
        if not delivery.files:
            return delivery.trial_summary
        try:
            return trial_summary(spec, self._runs, remote.unpack_delivery(spec, self._runs, delivery.files), kept=False)
        except StoreError as error:
            return error


class _Mailbox:
    """An actor beside the user: keeps what trials say until it is taken."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def put(self, line: bytes) -> None:
        self._lines.append(line)

    def take(self) -> list[bytes]:
        lines, self._lines = self._lines, []
        return lines


def _trial(spec: bytes, runs: str, write_fs_marker: str, how: ExecutionOptions, shared: str, mail: Any) -> Delivery:
    """On a node: one trial.

    Args:
        spec: as JSON.
        runs, mark: the runs folder of the user, and by what it is known.
        shared: whether it is known to be seen here; empty: look.
        mail: the mailbox.
    """
    ray = remote.optional_module("ray", "ray")
    planned = msgspec.json.decode(spec, type=RunSpec)
    last: list[Any] = []

    def send(line: bytes) -> None:
        last[:] = [mail.put.remote(line)]

    if shared == "yes" or (shared == "" and remote.shares_fs(Path(runs), write_fs_marker)):
        delivery = remote.run_on_shared_fs(planned, Path(runs), how, send)
    else:
        # Of this node alone, so that another one on the same disk never goes on with it.
        node = ray.get_runtime_context().get_node_id()
        folder = Path(tempfile.gettempdir()) / f"algorace-{os.getuid()}-{write_fs_marker[:12]}-{node[:12]}"
        delivery = remote.run_on_local_fs(planned, folder, how, send)
    # What it said is there before it has ended.
    with contextlib.suppress(ray.exceptions.RayError):
        ray.wait(last, timeout=10) if last else None
    return delivery


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What SIGTERM does stays as it was: Ray makes it exit on the spot."""
    earlier = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, earlier)
