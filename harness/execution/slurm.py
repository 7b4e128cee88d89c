"""The `slurm` executor: run each trial as a Slurm job through submitit, in a runs folder that all nodes share.

submitit requeues a job that Slurm ends because of its time limit or preemption. The trial then resumes from its last
checkpoint.

Source: submitit, https://github.com/facebookincubator/submitit (checkpointing and requeueing).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.record import Status, TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import StoreError, UsageError
from harness.execution import remote
from harness.execution.event_stream import EventReceiver
from harness.execution.remote import Delivery
from harness.execution.scheduler import LostTrial, Result, run_all
from harness.execution.trial import trial_summary, write_final_record
from harness.storage.layout import run_id
from harness.system.files import write_error

#: Maximum number of jobs in the queue at once.
_MAX_QUEUED = 100
#: Poll interval for messages and ended jobs, in seconds.
_POLL_INTERVAL_S = 0.5
#: Seconds that cancelled jobs have to end.
_STOP_S = 30.0

#: The options of this executor with their default values.
#: - `cluster`: `slurm`, or `local` for jobs on this machine.
#: - `minutes`: time limit of a job. `memory`: memory of a job in GB.
#: - `cores`, `gpus`: number of cores or GPUs per job. If empty, it is computed from the trial's threads and ranks.
#: - The other options are passed to `sbatch`.
OPTIONS = {
    "cluster": "slurm", "minutes": "60", "memory": "", "cores": "", "gpus": "",
    "partition": "", "account": "", "qos": "", "constraint": "",
}  # fmt: skip


def execute(
    specs: Sequence[RunSpec], runs: Path, watcher: Watcher, options: ExecutionOptions | None = None
) -> Iterator[TrialSummary]:
    """Run trials as Slurm jobs, and yield the summary of each trial when the trial's record is in the runs folder.

    Args:
        specs: the trials.
        runs: folder with one subfolder per trial, which every node must see at the same path.
        watcher: object that is notified of every event.
        options: see `ExecutionOptions` and `OPTIONS`. At most `jobs` jobs are in the queue at once.

    Raises:
        UsageError: submitit or Slurm is not installed, an option is wrong, or a node has a hardware class other than
            the planned one.
        StoreError, Interrupted: see `run_all`.
    """
    options = options or ExecutionOptions()
    executor_options = check_options(options)
    if executor_options["cluster"] == "slurm" and (
        missing_programs := [name for name in ("sbatch", "srun") if not shutil.which(name)]
    ):
        missing = " and ".join(missing_programs)
        raise UsageError(f"Slurm is not installed here: cannot find {missing}", fix="run the command on a login node")
    runs = runs.absolute()
    return run_all(_Queue(runs, watcher, executor_options), specs, runs, watcher, options)


def check_options(options: ExecutionOptions) -> dict[str, str]:
    """Return the values of all options of this executor.

    Raises:
        UsageError: an option does not exist or has a wrong value.
    """
    executor_options = remote.checked_options("slurm", options, OPTIONS)
    if executor_options["cluster"] not in ("slurm", "local"):
        raise UsageError(
            f"executor option cluster={executor_options['cluster']} must be slurm or local",
            fix="--executor-option cluster=slurm",
        )
    for name in ("minutes", "memory", "cores", "gpus"):
        remote.parse_number(executor_options, name, 1)
    return executor_options


class _Queue:
    """A backend that runs each trial as a Slurm job, and keeps the jobs that are queued or running."""

    def __init__(self, runs: Path, watcher: Watcher, executor_options: dict[str, str]) -> None:
        self._runs = runs
        self._watcher = watcher
        self._executor_options = executor_options
        self._receiver = EventReceiver(watcher)
        self._folder = runs / ".slurm"
        self._jobs: dict[str, tuple[RunSpec, Any, _Journal]] = {}

    def start(self, spec: RunSpec, options: ExecutionOptions) -> bool:
        if len(self._jobs) >= _MAX_QUEUED:
            return False
        submitit = remote.import_optional("submitit", "slurm")
        identity = run_id(spec)
        # Another command may have submitted the same trial: one that was killed, or one whose job is still queued. Its
        # messages must not be read here.
        journal = _Journal(self._folder / f"{identity}-{secrets.token_hex(4)}.events")
        # The folder is named after the job's number, so that the files of one job can be removed.
        executor = submitit.AutoExecutor(folder=self._folder / "%j", cluster=self._executor_options["cluster"])
        executor.update_parameters(**parameters(spec, self._executor_options))
        work = TrialJob(msgspec.json.encode(spec), str(self._runs), options, str(journal.path))
        try:
            job = executor.submit(work)
        except submitit.core.utils.FailedJobError as error:
            reason = next((line for line in str(error).splitlines()[::-1] if line.strip()), "no reason given")
            nonempty_options = ", ".join(f"{name}={value}" for name, value in self._executor_options.items() if value)
            raise UsageError(
                f"sbatch refused a job: {reason.strip()}", fix=f"check the executor options: {nonempty_options}"
            ) from error
        self._receiver.expect(identity, spec)
        self._jobs[identity] = spec, job, journal
        return True

    def wait_for_ended(self) -> Iterable[tuple[str, Result]]:
        time.sleep(_POLL_INTERVAL_S)
        # Jobs are checked before messages are read, so that all messages of an ended trial have been written.
        done = [identity for identity, (_, job, _) in self._jobs.items() if job.done()]
        self._read_journals()
        for identity in done:
            spec, job, journal = self._jobs.pop(identity)
            journal.path.unlink(missing_ok=True)
            yield identity, self._result(identity, spec, job)

    def stop(self) -> None:
        for _, job, _ in self._jobs.values():
            job.cancel(check=False)
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline and not all(job.done() for _, job, _ in self._jobs.values()):
            time.sleep(0.1)
        self._read_journals()
        for _, _, journal in self._jobs.values():
            journal.path.unlink(missing_ok=True)
        self._jobs.clear()

    def _read_journals(self) -> None:
        for _, _, journal in self._jobs.values():
            for line in journal.read():
                self._receiver.receive(line)

    def _result(self, identity: str, spec: RunSpec, job: Any) -> Result:
        submitit = remote.import_optional("submitit", "slurm")
        try:
            delivery: Delivery = job.result()
        except submitit.core.utils.UncompletedJobError:
            return self._result_of_lost_job(identity, spec, job.state)
        except Exception as error:
            return RuntimeError(f"the job of {identity} failed (its logs: {job.paths.folder}): {error}")
        with contextlib.suppress(OSError):
            shutil.rmtree(job.paths.folder)
        return delivery.error or delivery.trial_summary or RuntimeError(f"the job of {identity} returned nothing")

    def _result_of_lost_job(self, identity: str, spec: RunSpec, state: str) -> Result:
        """Return the result of a trial whose job returned nothing. It depends on the job's state in Slurm."""
        ends: dict[str, tuple[Status, str]] = {
            "CANCELLED": ("interrupted", "its job was cancelled; run the command again to resume"),
            "OUT_OF_MEMORY": ("out-of-memory", "its job ran out of memory"),
        }
        if (end := state.split()[0] if state else "") not in ends:
            return LostTrial(f"its job ended without a result ({state.lower()})", self._receiver.steps(identity))
        try:
            return trial_summary(
                spec, self._runs, write_final_record(spec, self._runs, self._watcher, *ends[end]), kept=False
            )
        except StoreError as error:
            return error


class TrialJob:
    """The callable that submitit pickles and that the job calls on its node.

    Args:
        spec: the trial's `RunSpec` as JSON.
        runs: absolute path of the runs folder.
        options: see `ExecutionOptions`.
        journal: path of the file through which messages reach the user's machine.
    """

    def __init__(self, spec: bytes, runs: str, options: ExecutionOptions, journal: str) -> None:
        self._spec = spec
        self._runs = runs
        self._options = options
        self._journal = journal

    def __call__(self) -> Delivery:
        """Run the trial on a node."""
        journal = _Journal(Path(self._journal))
        return remote.run_on_shared_fs(
            msgspec.json.decode(self._spec, type=RunSpec), Path(self._runs), self._options, journal.write
        )

    def checkpoint(self) -> Any:
        """Return the job that submitit submits when it requeues this job.

        In the returned job, the options `force` and `retry_failed` are off, so that the trial resumes.
        """
        resume_options = msgspec.structs.replace(self._options, force=False, retry_failed=False)
        helpers = remote.import_optional("submitit.helpers", "slurm")
        return helpers.DelayedSubmission(type(self)(self._spec, self._runs, resume_options, self._journal))


class _Journal:
    """A file to which one machine appends lines that another machine reads.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def write(self, line: bytes) -> None:
        """Append a line.

        Raises:
            StoreError: the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise write_error(self.path, error) from error

    def read(self) -> list[bytes]:
        """Return the complete lines that were appended since the last call."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                new_bytes = file.read()
        except OSError:
            return []
        complete, newline, _ = new_bytes.rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        return complete.split(b"\n") if complete else []


def parameters(spec: RunSpec, executor_options: dict[str, str]) -> dict[str, Any]:
    """Return the resources of a trial's job as parameters of submitit."""
    cores, gpus = remote.required_cores_and_gpus(spec)
    sbatch_options = ("partition", "account", "qos", "constraint")
    values: dict[str, Any] = {
        f"slurm_{name}": executor_options[name] for name in sbatch_options if executor_options[name]
    }
    if gpus := int(remote.parse_number(executor_options, "gpus", gpus)):
        values["gpus_per_node"] = gpus
    if executor_options["memory"]:
        values["mem_gb"] = remote.parse_number(executor_options, "memory", 0)
    return {
        "name": f"bench-{spec.submission.name}"[:64],
        "timeout_min": max(1, int(remote.parse_number(executor_options, "minutes", 60))),
        "cpus_per_task": max(1, int(remote.parse_number(executor_options, "cores", cores))),
        **values,
    }
