"""The `ray` executor: run trials on an existing Ray cluster, or on a cluster that is started for them.

The worker process is the same as with the `local` executor.

- If the nodes share the runs folder, trials run in this folder. If a node dies, its trials resume on another node from
  their last checkpoints.
- If the nodes do not share the folder, each trial's files are sent to the user's machine when the trial ends. If a node
  dies, its trials start from the beginning.

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

#: Maximum number of trials that are submitted to Ray at once; Ray starts them when nodes have free resources.
_MAX_SUBMITTED = 1000
#: Poll interval for messages and ended trials, in seconds.
_POLL_INTERVAL_S = 0.25
#: Seconds that stopped trials have to write their records and end.
_STOP_S = 30.0

#: The options of this executor with their default values.
#: - `address`: the cluster's address (`auto`, `10.0.0.1:6379`). If empty, a cluster is started on this machine.
#: - `shared`: whether the nodes share the runs folder (`yes`, `no`). If empty, each node checks.
#: - `cores`, `gpus`: number of cores or GPUs per trial. If empty, it is computed from the trial's threads and ranks.
OPTIONS = {"address": "", "shared": "", "cores": "", "gpus": ""}


def execute(
    specs: Sequence[RunSpec], runs: Path, watcher: Watcher, options: ExecutionOptions | None = None
) -> Iterator[TrialSummary]:
    """Run trials on a Ray cluster, and yield the summary of each trial when the trial's record is in the runs folder.

    If this process is already connected to a cluster, that cluster is used and stays connected.

    Args:
        specs: the trials.
        runs: folder with one subfolder per trial.
        watcher: object that is notified of every event.
        options: see `ExecutionOptions` and `OPTIONS`. At most `jobs` trials run at once; by default, as many as the
            cluster has resources for.

    Raises:
        UsageError: Ray is not installed, an option is wrong, there is no cluster at the address, or a node has a
            hardware class other than the planned one.
        StoreError, Interrupted: see `run_all`.
    """
    options = options or ExecutionOptions()
    executor_options = check_options(options)
    runs = runs.absolute()
    return run_all(_Cluster(runs, watcher, executor_options), specs, runs, watcher, options)


def check_options(options: ExecutionOptions) -> dict[str, str]:
    """Return the values of all options of this executor.

    Raises:
        UsageError: an option does not exist or has a wrong value.
    """
    executor_options = remote.checked_options("ray", options, OPTIONS)
    if executor_options["shared"] not in ("", "yes", "no"):
        raise UsageError(
            f"executor option shared={executor_options['shared']} must be yes or no",
            fix="leave the option out; each node then checks whether it shares the runs folder",
        )
    remote.parse_number(executor_options, "cores", 0)
    remote.parse_number(executor_options, "gpus", 0)
    return executor_options


class _Cluster:
    """A backend that runs each trial as a task of a Ray cluster.

    The connection is made when the first trial starts. A command whose trials are all finished needs no connection.
    """

    def __init__(self, runs: Path, watcher: Watcher, executor_options: dict[str, str]) -> None:
        self._runs = runs
        self._watcher = watcher
        self._executor_options = executor_options
        self._receiver = EventReceiver(watcher)
        self._specs: dict[str, RunSpec] = {}
        self._running: dict[Any, str] = {}
        #: Number of lines that were read from the mailbox.
        self._received = 0
        self._ray: Any = None
        self._started_here = False
        self._issued_warnings: set[str] = set()

    def start(self, spec: RunSpec, options: ExecutionOptions) -> bool:
        if len(self._running) >= _MAX_SUBMITTED:
            return False
        if self._ray is None:
            self._connect()
        identity = run_id(spec)
        cores, gpus = remote.required_cores_and_gpus(spec)
        resources = {
            "num_cpus": remote.parse_number(self._executor_options, "cores", cores),
            "num_gpus": remote.parse_number(self._executor_options, "gpus", gpus),
        }
        self._warn_if_too_large(spec, resources)
        self._receiver.expect(identity, spec)
        self._specs[identity] = spec
        # Ray must not retry a task, because `run_all` decides whether a lost trial is started again.
        task = self._task.options(name=identity, max_retries=0, **resources)
        shared = self._executor_options["shared"]
        ref = task.remote(msgspec.json.encode(spec), str(self._runs), self._marker, options, shared, self._mail)
        self._running[ref] = identity
        return True

    def wait_for_ended(self) -> Iterable[tuple[str, Result]]:
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_POLL_INTERVAL_S)
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
        is_mail_complete = True
        if running:
            self._ray.wait(list(running), num_returns=len(running), timeout=_STOP_S)
            is_mail_complete = self._read_mail()
        for identity in running.values():
            # A cancelled task delivers no files. If its node does not share the runs folder, the record is written
            # here. If it is unknown whether the trial started, it is treated as started, so that no record is lost.
            has_started = identity in self._receiver.started_trials or not is_mail_complete
            if has_started and records.find_valid_record(self._runs / identity / RECORD) is None:
                with contextlib.suppress(StoreError):
                    write_final_record(
                        self._specs[identity], self._runs, self._watcher, "interrupted", "stopped by the user"
                    )
        if self._started_here:
            self._ray.shutdown()
        self._ray = None

    def _connect(self) -> None:
        """Connect to a cluster or start one, and start the mailbox for the messages of trials.

        Raises:
            UsageError: there is no cluster at the address.
        """
        # Ray reads these variables on import. The first turns off usage reports. The second keeps GPUs visible to tasks
        # that request no GPU.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray = remote.import_optional("ray", "ray")
        if not ray.is_initialized():
            self._started_here = True
            address = self._executor_options["address"] or "local"
            init_options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
            if address != "local":
                del init_options["include_dashboard"]
            with _restore_sigterm_handler():
                try:
                    ray.init(address=address, **init_options)
                except (ConnectionError, ValueError, RuntimeError) as error:
                    fix = "give the address that `ray start --head` printed, or leave it out to start a cluster here"
                    raise UsageError(f"no Ray cluster at {address}: {error}", fix=fix) from error
        strategies = remote.import_optional("ray.util.scheduling_strategies", "ray")
        here = ray.get_runtime_context().get_node_id()
        strategy = strategies.NodeAffinitySchedulingStrategy(node_id=here, soft=False)
        self._mail = ray.remote(num_cpus=0)(_Mailbox).options(scheduling_strategy=strategy).remote()
        self._task = ray.remote(_run_task)
        self._marker = remote.write_fs_marker(self._runs)
        self._ray = ray

    def _warn_if_too_large(self, spec: RunSpec, resources: dict[str, float]) -> None:
        """Warn if no node of the cluster has enough resources for a trial. Ray itself waits without a message."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        required = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]}
        if not any(all(node.get(kind, 0) >= n for kind, n in required.items()) for node in nodes):
            message = (
                f"no node of the cluster has {required['CPU']:g} cores and {required['GPU']:g} GPUs; "
                f"waiting for such a node"
            )
            remote.warn_once(self._watcher, spec, self._issued_warnings, message)

    def _read_mail(self) -> bool:
        """Pass on the new messages of trials. Return False if they cannot be read now.

        Messages call the user's watcher. They also say which trials have started, and how far a lost trial got. The
        mailbox keeps a message until the next call confirms that it was received.
        """
        try:
            lines = self._ray.get(self._mail.take.remote(self._received), timeout=10)
        except self._ray.exceptions.RayError:  # This must not stop a trial.
            return False
        self._received += len(lines)
        for line in lines:
            self._receiver.receive(line)
        return True

    def _result(self, ref: Any, identity: str) -> Result:
        spec = self._specs.pop(identity)
        try:
            delivery: Delivery = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            return RuntimeError(f"the task of {identity} failed on its node: {error.cause or error}")
        except self._ray.exceptions.OutOfMemoryError:
            return LostTrial("its node ran out of memory and Ray killed the trial", self._receiver.steps(identity))
        except self._ray.exceptions.RayError:
            return LostTrial("its node or the supervisor on it died", self._receiver.steps(identity))
        if delivery.error is not None or delivery.trial_summary is None:
            return delivery.error or RuntimeError(f"the task of {identity} returned nothing")
        if not delivery.files:
            return delivery.trial_summary
        try:
            return trial_summary(spec, self._runs, remote.unpack_delivery(spec, self._runs, delivery.files), kept=False)
        except StoreError as error:
            return error


class _Mailbox:
    """A Ray actor on the user's machine that stores the messages of trials until they were received."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        #: Number of lines that were removed.
        self._removed = 0

    def put(self, line: bytes) -> None:
        self._lines.append(line)

    def take(self, received: int) -> list[bytes]:
        """Remove the lines that were received, and return all others.

        Args:
            received: number of lines that the caller has received so far, over all calls.
        """
        del self._lines[: received - self._removed]
        self._removed = received
        return list(self._lines)


def _run_task(spec_json: bytes, runs: str, marker: str, options: ExecutionOptions, shared: str, mail: Any) -> Delivery:
    """Run one trial on a node.

    Args:
        spec_json: the trial's `RunSpec` as JSON.
        runs: path of the runs folder on the user's machine.
        marker: content of the marker file, by which a node recognises that folder.
        options: see `ExecutionOptions`.
        shared: whether this node shares the folder, `yes` or `no`; if empty, the node checks.
        mail: handle of the mailbox actor.
    """
    ray = remote.import_optional("ray", "ray")
    spec = msgspec.json.decode(spec_json, type=RunSpec)
    last_put: list[Any] = []

    def send(line: bytes) -> None:
        last_put[:] = [mail.put.remote(line)]

    if shared == "yes" or (shared == "" and remote.shares_fs(Path(runs), marker)):
        delivery = remote.run_on_shared_fs(spec, Path(runs), options, send)
    else:
        # The folder's name contains the node's id, so that another node that uses the same disk does not resume the
        # trial.
        node = ray.get_runtime_context().get_node_id()
        folder = Path(tempfile.gettempdir()) / f"algorace-{os.getuid()}-{marker[:12]}-{node[:12]}"
        delivery = remote.run_on_local_fs(spec, folder, options, send)
    # Deliver the last message before the task ends.
    with contextlib.suppress(ray.exceptions.RayError):
        ray.wait(last_put, timeout=10) if last_put else None
    return delivery


@contextlib.contextmanager
def _restore_sigterm_handler() -> Iterator[None]:
    """Restore the SIGTERM handler after the block, since `ray.init` installs a handler that exits at once."""
    previous_handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # raised outside the main thread
            signal.signal(signal.SIGTERM, previous_handler)
