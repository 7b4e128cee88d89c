"""Start and end the processes of a trial: the worker, and an evaluator if the worker does not evaluate its weights."""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import socket
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from harness.contract.forking import Role
from harness.contract.run import Job, RunSpec
from harness.datasets.paths import data_folder
from harness.execution.confinement import confine
from harness.execution.event_pipe import open_event_pipe
from harness.execution.launching import LaunchedWorker, Launcher, StartingWorker, WorkerStart, evaluates_outside
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.planning.seeds import without_secrets
from harness.storage.layout import WORKER
from harness.storage.run_folder import RunFolder
from harness.system import python_process
from harness.system.files import write_error
from harness.system.private_folders import is_shared, make_folders, private_variables

#: Folder for the home directory and the temporary files of each process, relative to the trial's folder. The worker's
#: scratch folder is inside `WORKER`, the only folder to which the worker may write.
_SCRATCH: dict[Role, str] = {"worker": f"{WORKER}/scratch", "evaluator": "scratch-evaluator"}


class TrialProcesses:
    """The processes of one trial.

    Args:
        folder: the trial's folder, whose lock the processes inherit.
        trial: the trial; its watcher receives warnings.
        slot: cores and GPUs of the processes. Worker and evaluator share them, because they alternate.
        stop: signal that ends the trial.
        launcher: starts the processes.

    Attributes:
        log: path of the file with the output of all processes.
        readers: reading ends of the event pipes.
    """

    def __init__(
        self, folder: RunFolder, trial: Trial, slot: ResourceSlot, stop: StopSignal, launcher: Launcher
    ) -> None:
        self.log = folder.path / "worker.log"
        self.readers: dict[Role, int] = {}
        self._folder = folder
        self._trial = trial
        self._slot = slot
        self._stop = stop
        self._launcher = launcher
        self._launched: dict[Role, LaunchedWorker] = {}
        self._log_offset = 0

    @property
    def worker(self) -> LaunchedWorker:
        return self._launched["worker"]

    def start(self, job: Job) -> None:
        """Start the processes. The worker then waits until `send` is called.

        The evaluator gets its job at once, and builds the workload while the worker starts. It needs no sandbox,
        because it runs no submission.

        Args:
            job: the trial's job. An evaluator receives it unchanged.

        Raises:
            StoreError: a folder or the log cannot be written.
            KeyboardInterrupt: the trial was stopped.
        """
        starting: dict[Role, StartingWorker] = {}
        try:
            with contextlib.ExitStack() as opened:
                output = opened.enter_context(open(self.log, "ab"))
                self._log_offset = output.tell()
                if evaluates_outside(job.spec):
                    ends = [opened.enter_context(end) for end in socket.socketpair()]
                    # Both processes start at the same time. The submission is imported after `send`, and therefore when
                    # the evaluator exists.
                    starting["evaluator"] = self._begin("evaluator", job.spec, output, opened, ends[0].fileno())
                    starting["worker"] = self._begin("worker", job.spec, output, opened, ends[1].fileno())
                    self._launched["evaluator"] = starting.pop("evaluator").finish()
                    self._launched["evaluator"].send(msgspec.json.encode(job) + b"\n")
                else:
                    starting["worker"] = self._begin("worker", job.spec, output, opened)
                self._launched["worker"] = starting.pop("worker").finish()
        except OSError as error:
            raise write_error(self._folder.path, error) from error
        finally:
            for process in starting.values():
                process.cancel()

    def _begin(
        self, role: Role, spec: RunSpec, output: BinaryIO, opened: contextlib.ExitStack, peer: int = -1
    ) -> StartingWorker:
        """Begin to start a process. `opened` closes the writing end of its event pipe once the process has started."""
        scratch = self._folder.path / _SCRATCH[role]
        shutil.rmtree(scratch, ignore_errors=True)
        make_folders(scratch)
        self.readers[role], write_end = open_event_pipe()
        opened.callback(os.close, write_end)
        return self._launcher.begin(
            WorkerStart(
                events=write_end,
                lock=self._folder.lock_descriptor,
                log=output.fileno(),
                cores=self._slot.cores,
                environment=worker_environment(spec, scratch, self._slot),
                stop=self._stop,
                warn=partial(self._trial.watcher.warned, spec),
                peer=peer,
                role=role,
                # The fork server receives this spec and later forks the worker, which gets a copy of the server's
                # memory. The spec must therefore contain no secrets.
                evaluated=without_secrets(spec, evaluates=False) if role == "evaluator" else None,
            )
        )

    def send(self, job: Job) -> None:
        """Send the job to the worker. The worker's sandbox is added, and seeds that it must not know are removed."""
        spec = without_secrets(job.spec, evaluates=not evaluates_outside(job.spec))
        self.worker.send(msgspec.json.encode(confine(msgspec.structs.replace(job, spec=spec))) + b"\n")

    def wait(self, role: Role, timeout: float) -> int | None:
        """Return the exit code of a process; None if it does not exist, or still runs after `timeout` seconds."""
        process = self._launched.get(role)
        return None if process is None else process.wait(timeout)

    def kill(self) -> int | None:
        """Kill all processes with their children. Return the exit code of the worker; None if it did not start."""
        code = None
        for role, process in self._launched.items():
            killed_code = process.kill()
            code = killed_code if role == "worker" else code
            process.close()
        return code

    def clean_up(self) -> None:
        """Close the pipes and remove the temporary files of processes that have ended."""
        for descriptor in self.readers.values():
            os.close(descriptor)
        for name in _SCRATCH.values():
            shutil.rmtree(self._folder.path / name, ignore_errors=True)

    def last_log_line(self) -> str:
        """Return the last line that these processes wrote to the log; an empty string if there is none."""
        return read_last_line(self.log, self._log_offset)


def read_last_line(log: Path, offset: int) -> str:
    """Return the last line of a log after an offset in bytes; an empty string if there is none.

    If the beginning of a long log was removed, the offset may lie beyond the end of the log. The offset is then
    ignored.
    """
    try:
        with open(log, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(offset if offset <= size else 0, size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def worker_environment(spec: RunSpec, scratch: Path, slot: ResourceSlot) -> dict[str, str]:
    """Return the environment variables of a process that trains or evaluates.

    The variables fix the number of threads and the hash seed, and give the process its own home, temporary folder and
    caches.
    """
    threads = str(spec.threads)
    fixed = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    # CUDA must use the driver's numbers of the GPUs, so that telemetry reads the GPU of the run.
    fixed["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    # HOME is replaced, so the folders of packages installed with --user and of datasets must be given explicitly.
    shared = {"PYTHONUSERBASE": site.getuserbase(), "BENCH_DATA": str(data_folder().absolute())}
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(slot.gpus)} if slot.gpus else {}
    inherited = {name: value for name, value in python_process.environment().items() if not is_shared(name)}
    return {**inherited, **shared, **private_variables(scratch), **fixed, **counts, **gpus}
