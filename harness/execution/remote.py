"""Run a trial on a node of a cluster and return the trial's files.

The executors `ray` and `slurm` share this code.
"""

from __future__ import annotations

import importlib
import shutil
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.contract.record import Record, TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import BenchError, DamagedError, StoreError, UsageError
from harness.execution.event_stream import EventForwarder
from harness.execution.resources import Allocation, Machine
from harness.execution.state import Interrupted, ResourceSlot
from harness.execution.trial import run_trial, trial_summary
from harness.hardware import detect
from harness.storage import records
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder
from harness.system.files import read_file, read_text, write_atomically, write_error

#: Name of the marker file in a runs folder. A node recognises the folder by the random content of this file.
_MARKER_FILE = ".identity"
#: Seconds that a node waits for a trial's lock. A file server releases a dead machine's lock after about a minute.
LOCK_TIMEOUT_S = 120.0
#: Poll interval for GPUs held by other runs, in seconds.
_POLL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Delivery:
    """The message in which a node returns the result of a trial.

    Args:
        trial_summary: the trial's summary; None if an error prevented the trial from running.
        error: the error that prevented the trial from running, or None.
        files: content of the trial's files by name; empty after an error, or if the node shares the runs folder.
    """

    trial_summary: TrialSummary | None = None
    error: BenchError | None = None
    files: dict[str, bytes] = field(default_factory=dict)


def run_on_shared_fs(spec: RunSpec, runs: Path, options: ExecutionOptions, send: Callable[[bytes], None]) -> Delivery:
    """Run a trial on a node, in a runs folder to which the node has direct access. No files are returned.

    Args:
        spec: the trial.
        runs: absolute path of the runs folder.
        options: see `ExecutionOptions`.
        send: function that delivers a line of JSON to the user's machine.
    """
    identity = run_id(spec)
    forwarder = EventForwarder(identity, send)
    allocation = None
    try:
        _require_hardware(spec)
        allocation = _allocate(spec, forwarder)
        slot = allocation.slot if allocation else ResourceSlot()
        record, was_finished = run_trial(
            spec, runs, forwarder, options, slot=slot, persist=True, lock_timeout=LOCK_TIMEOUT_S
        )
    except Interrupted:
        record, was_finished = records.read_record(runs / identity / RECORD), False
    except BenchError as error:
        return Delivery(error=error)
    finally:
        if allocation is not None:
            allocation.release()
    return Delivery(trial_summary=trial_summary(spec, runs, record, was_finished))


def _allocate(spec: RunSpec, forwarder: EventForwarder) -> Allocation | None:
    """Reserve cores or GPUs for a trial, or return None for a CPU trial if all cores are reserved.

    A GPU trial waits until GPUs are free. Two trials on one GPU would slow each other down, and the score of a GPU
    trial is its wall time.
    """
    machine, has_warned = Machine(), False
    while (allocation := machine.allocate(spec)) is None:
        if spec.clock != "wall":
            forwarder.warned(
                spec, f"all cores of {socket.gethostname()} are reserved by other trials; the trial runs unpinned"
            )
            break
        if not has_warned:
            forwarder.warned(spec, f"the GPUs of {socket.gethostname()} are reserved by other trials; waiting for them")
            has_warned = True
        time.sleep(_POLL_INTERVAL_S)
    return allocation


def run_on_local_fs(spec: RunSpec, folder: Path, options: ExecutionOptions, send: Callable[[bytes], None]) -> Delivery:
    """Run a trial in a local folder of a node that does not share the runs folder, and return the trial's files.

    If an error prevents the trial from running, no files are returned.

    Args:
        spec: the trial.
        folder: local folder with one subfolder per trial.
        options: see `ExecutionOptions`.
        send: function that delivers a line of JSON to the user's machine.
    """
    delivery = run_on_shared_fs(spec, folder, options, send)
    if delivery.trial_summary is None:
        return delivery
    trial_folder = folder / run_id(spec)
    files = {
        path.name: read_file(path, limit=None)
        for path in trial_folder.iterdir()
        if path.is_file() and _is_delivered(path.name)
    }
    if delivery.trial_summary.status != "interrupted":
        shutil.rmtree(trial_folder, ignore_errors=True)
    return Delivery(trial_summary=delivery.trial_summary, files=files)


def unpack_delivery(spec: RunSpec, runs: Path, files: dict[str, bytes]) -> Record:
    """Write the files of a delivered trial to the runs folder of the user's machine, the record last.

    Args:
        spec: the trial.
        runs: folder with one subfolder per trial.
        files: content of the trial's files by name.

    Raises:
        StoreError: the trial's folder is locked or cannot be written, or the record is damaged.
    """
    folder = RunFolder(runs, run_id(spec))
    record = records.decode(files[RECORD], f"of {folder.identity}, as delivered")
    if record.run_id != folder.identity:
        problem = f"the record that was delivered for {folder.identity} belongs to another trial, {record.run_id}"
        raise DamagedError(problem, fix="repeat the command")
    with folder.lock():
        previous = records.find_valid_record(folder.record_path)
        if previous is not None and previous.status != "interrupted":
            folder.supersede()
        for name, content in files.items():
            if name != RECORD:
                write_atomically(folder.path / name, content)
        write_atomically(folder.record_path, files[RECORD])
        if record.status != "interrupted":
            folder.remove_checkpoints()
    return record


def write_fs_marker(runs: Path) -> str:
    """Return the random content of a runs folder's marker file, which is created if it does not exist.

    Raises:
        StoreError: the file cannot be written.
    """
    path = runs / _MARKER_FILE
    try:
        runs.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, uuid.uuid4().hex.encode())
        return read_text(path)
    except OSError as error:
        raise write_error(path, error) from error


def shares_fs(runs: Path, marker: str) -> bool:
    """Return whether this machine sees the runs folder whose marker file has this content."""
    try:
        return read_text(runs / _MARKER_FILE) == marker
    except StoreError:
        return False


def import_optional(name: str, extra: str) -> Any:
    """Import and return a module that only one executor needs.

    Args:
        name: name of the module.
        extra: the extra of the package `algorace` that installs the module.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        fix = f"pip install 'algorace[{extra}]'"
        raise UsageError(f"the {extra} executor needs {name}: {error}", fix=fix) from error


def checked_options(executor: str, options: ExecutionOptions, known: dict[str, str]) -> dict[str, str]:
    """Return the values of all options of an executor. An option that the user did not give has its default value.

    Args:
        executor: the executor's name.
        options: see `ExecutionOptions`.
        known: default values of all options of the executor, by name.

    Raises:
        UsageError: an option does not exist, or `--in-process` was given.
    """
    if options.in_process:
        raise UsageError(
            f"--in-process runs trials in this process, which the {executor} executor cannot do",
            fix="use --executor local",
        )
    unknown = sorted(options.options.keys() - known)
    if unknown:
        fix = f"choose one of {', '.join(known)}"
        raise UsageError(f"the {executor} executor has no option {unknown[0]!r}", fix=fix)
    return {**known, **options.options}


def parse_number(executor_options: dict[str, str], name: str, default: float) -> float:
    """Return the value of an option that must be a non-negative number, or the default if the option is empty.

    Raises:
        UsageError: the value is not a non-negative number.
    """
    try:
        value = float(executor_options[name] or default)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(
            f"executor option {name}={executor_options[name]} must be a non-negative number",
            fix=f"--executor-option {name}=1",
        )
    return value


def required_cores_and_gpus(spec: RunSpec) -> tuple[int, int]:
    """Return the number of cores and GPUs that a trial needs: one core per thread, one GPU per rank."""
    return spec.ranks * spec.threads, spec.ranks if spec.device.partition(":")[0] == "cuda" else 0


def _is_delivered(name: str) -> bool:
    """Return whether a file is sent to the user's machine. Locks, checkpoints and hidden files are not sent."""
    return name != "lock" and not name.startswith((".", "checkpoint"))


def _require_hardware(spec: RunSpec) -> None:
    """Raise UsageError if a trial was planned for a hardware class other than that of this node.

    The hardware class is part of the run_id, so a planned trial cannot change its class.
    """
    node_class = detect.hardware_class(spec.device, spec.threads, spec.ranks)
    if node_class != spec.hardware:
        raise UsageError(
            f"the trials were planned for {spec.hardware}; {socket.gethostname()} has the hardware class {node_class}",
            fix="run the command on a machine of the same kind as the nodes, and use only such nodes",
        )


def warn_once(watcher: Watcher, spec: RunSpec, issued: set[str], message: str) -> None:
    """Issue a warning unless the set `issued` already contains it."""
    if message not in issued:
        issued.add(message)
        watcher.warned(spec, message)
