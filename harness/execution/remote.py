"""Shared by executors on other machines: running a trial on a node, and returning its files."""

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
from harness.errors import BenchError, UsageError
from harness.execution.event_stream import EventForwarder
from harness.execution.resources import Allocation, Machine
from harness.execution.state import Interrupted, ResourceSlot
from harness.execution.trial import run_trial, trial_summary
from harness.hardware import detect
from harness.storage import records
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder
from harness.system.files import write_atomically, write_error

#: File in a runs folder by which a node recognises it.
_MARK = ".identity"
#: Seconds that a node waits for a trial's lock: a file server releases a dead machine's lock after about a minute.
LOCK_TIMEOUT_S = 120.0
#: Poll interval for GPUs held by other runs, in seconds.
_POLL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Delivery:
    """What a node returns of a trial.

    Args:
        trial_summary: how it ended; None where an error kept it from running.
        error: that error.
        files: name and content of its files, where the node does not see the runs folder.
    """

    trial_summary: TrialSummary | None = None
    error: BenchError | None = None
    files: dict[str, bytes] = field(default_factory=dict)


def run_on_shared_fs(spec: RunSpec, runs: Path, options: ExecutionOptions, send: Callable[[bytes], None]) -> Delivery:
    """On a node: run a trial in a runs folder that the node sees.

    Args:
        runs: absolute path.
        send: delivers a line to the user's watcher.
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
    """Reserve cores or GPUs for a trial; None on a CPU whose cores are all held.

    Waits for GPUs: wall seconds are scored there, and sharing would distort both trials.
    """
    machine, warned = Machine(), False
    while (allocation := machine.allocate(spec)) is None:
        if spec.clock != "wall":
            forwarder.warned(
                spec, f"every core of {socket.gethostname()} is held by a trial; runs beside them, unpinned"
            )
            break
        if not warned:
            forwarder.warned(spec, f"the GPUs of {socket.gethostname()} are held by other trials; waiting for them")
            warned = True
        time.sleep(_POLL_INTERVAL_S)
    return allocation


def run_on_local_fs(spec: RunSpec, folder: Path, options: ExecutionOptions, send: Callable[[bytes], None]) -> Delivery:
    """On a node that does not see the runs folder: run a trial in a local folder, and return its files."""
    delivery = run_on_shared_fs(spec, folder, options, send)
    if delivery.trial_summary is None:
        return delivery
    local = folder / run_id(spec)
    files = {path.name: path.read_bytes() for path in local.iterdir() if path.is_file() and _is_delivered(path.name)}
    if delivery.trial_summary.status != "interrupted":
        shutil.rmtree(local, ignore_errors=True)
    return Delivery(trial_summary=delivery.trial_summary, files=files)


def unpack_delivery(spec: RunSpec, runs: Path, files: dict[str, bytes]) -> Record:
    """On the user's machine: write a delivered trial to the runs folder, its record last.

    Raises:
        StoreError: the folder is locked or cannot be written, or the record is damaged.
    """
    folder = RunFolder(runs, run_id(spec))
    record = records.decode(files[RECORD], f"of {folder.identity}, as delivered")
    with folder.lock():
        ending = records.read_ending(folder.record_path)
        if ending is not None and ending.status != "interrupted":
            folder.supersede()
        for name, content in files.items():
            if name != RECORD:
                write_atomically(folder.path / name, content)
        write_atomically(folder.record_path, files[RECORD])
        if record.status != "interrupted":
            folder.remove_checkpoints()
    return record


def write_fs_marker(runs: Path) -> str:
    """The marker of a runs folder, created if it has none.

    Raises:
        StoreError: it cannot be written.
    """
    path = runs / _MARK
    try:
        runs.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, uuid.uuid4().hex.encode())
        return path.read_text()
    except OSError as error:
        raise write_error(path, error) from error


def shares_fs(runs: Path, marker: str) -> bool:
    """Whether this machine sees the runs folder with that marker."""
    try:
        return (runs / _MARK).read_text() == marker
    except OSError:
        return False


def import_optional(name: str, extra: str) -> Any:
    """Import a package that only one executor needs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        fix = f"pip install 'algorace[{extra}]'"
        raise UsageError(f"the {extra} executor needs {name}: {error}", fix=fix) from error


def checked_options(executor: str, options: ExecutionOptions, known: dict[str, str]) -> dict[str, str]:
    """The executor's options, completed by their defaults.

    Args:
        known: names and default values.

    Raises:
        UsageError: an option that does not exist, or `--in-process`.
    """
    if options.in_process:
        raise UsageError(
            f"--in-process runs in this process, not with the {executor} executor", fix="use the local executor"
        )
    unknown = sorted(options.options.keys() - known)
    if unknown:
        raise UsageError(f"the {executor} executor has no option {unknown[0]!r}", fix=f"it has {', '.join(known)}")
    return {**known, **options.options}


def parse_number(executor_options: dict[str, str], name: str, default: float) -> float:
    """An option that is a non-negative number; the default where it is empty.

    Raises:
        UsageError: it is not one.
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
    """Cores and GPUs that a trial needs: a core for each thread, a GPU for each rank."""
    return spec.ranks * spec.threads, spec.ranks if spec.device.partition(":")[0] == "cuda" else 0


def _is_delivered(name: str) -> bool:
    return name != "lock" and not name.startswith((".", "checkpoint"))


def _require_hardware(spec: RunSpec) -> None:
    """Refuse a trial that was planned for another hardware class, which is part of its identity."""
    here = detect.hardware_class(spec.device, spec.threads, spec.ranks)
    if here != spec.hardware:
        raise UsageError(
            f"{socket.gethostname()} is {here}, and the trials were planned for {spec.hardware}",
            fix="give the command on a machine of the same kind as the nodes, and use only such nodes",
        )


def warn_once(watcher: Watcher, spec: RunSpec, issued: set[str], message: str) -> None:
    """Warn, once for each message; `issued` holds those of before."""
    if message not in issued:
        issued.add(message)
        watcher.warned(spec, message)
