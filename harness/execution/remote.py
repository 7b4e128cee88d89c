"""What the executors of other machines share: a trial as a node carries it out, and what comes back of it."""

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

#: In a runs folder: by what a node knows it again.
_MARK = ".identity"
#: Seconds that a node waits for a trial's lock: a file server gives back a dead machine's lock after a minute or so.
SILENCE_S = 120.0
#: Seconds after which it is looked again for GPUs that others had.
_POLL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Delivery:
    """What a node gives back of a trial.

    Args:
        outcome: how it ended; None where an error kept it from running.
        error: that error.
        files: name and content of what it left, where the runs folder is not one that the node sees.
    """

    trial_summary: TrialSummary | None = None
    error: BenchError | None = None
    files: dict[str, bytes] = field(default_factory=dict)


def run_on_shared_fs(spec: RunSpec, runs: Path, how: ExecutionOptions, send: Callable[[bytes], None]) -> Delivery:
    """On a node: a trial in a runs folder that the node sees.

    Args:
        runs: absolute.
        send: passes on a line for the user's watcher.
    """
    identity = run_id(spec)
    relay = EventForwarder(identity, send)
    claim = None
    try:
        _require_hardware(spec)
        claim = _claim_folder(spec, relay)
        slot = claim.slot if claim else ResourceSlot()
        record, kept = run_trial(spec, runs, relay, how, slot=slot, persist=True, patience=SILENCE_S)
    except Interrupted:
        record, kept = records.read_record(runs / identity / RECORD), False
    except BenchError as error:
        return Delivery(error=error)
    finally:
        if claim is not None:
            claim.release()
    return Delivery(trial_summary=trial_summary(spec, runs, record, kept))


def _claim_folder(spec: RunSpec, relay: EventForwarder) -> Allocation | None:
    """What the trial has for itself; None on a CPU whose cores all have trials. GPUs are waited for: wall seconds are
    scored there, and sharing would spoil both."""
    machine, waits = Machine(), False
    while (claim := machine.allocate(spec)) is None:
        if spec.clock != "wall":
            relay.warned(spec, f"every core of {socket.gethostname()} has a trial on it; runs beside them, unpinned")
            break
        if not waits:
            relay.warned(spec, f"trials of others have the GPUs of {socket.gethostname()}; waiting for them")
            waits = True
        time.sleep(_POLL_INTERVAL_S)
    return claim


def run_on_local_fs(spec: RunSpec, folder: Path, how: ExecutionOptions, send: Callable[[bytes], None]) -> Delivery:
    """On a node that does not see the runs folder: in a folder of its own, whose files are delivered."""
    delivery = run_on_shared_fs(spec, folder, how, send)
    if delivery.trial_summary is None:
        return delivery
    left = folder / run_id(spec)
    files = {path.name: path.read_bytes() for path in left.iterdir() if path.is_file() and _files_to_deliver(path.name)}
    if delivery.trial_summary.status != "interrupted":
        shutil.rmtree(left, ignore_errors=True)
    return Delivery(trial_summary=delivery.trial_summary, files=files)


def unpack_delivery(spec: RunSpec, runs: Path, files: dict[str, bytes]) -> Record:
    """Where the user sits: put a delivered trial into the runs folder, its record last.

    Raises:
        StoreError: the folder cannot be had or written, or the record is damaged.
    """
    folder = RunFolder(runs, run_id(spec))
    record = records.decode(files[RECORD], f"of {folder.identity}, as delivered")
    with folder.locked():
        ending = records.read_ending(folder.record_path)
        if ending is not None and ending.status != "interrupted":
            folder.set_aside()
        for name, content in files.items():
            if name != RECORD:
                write_atomically(folder.path / name, content)
        write_atomically(folder.record_path, files[RECORD])
        if record.status != "interrupted":
            folder.drop_checkpoints()
    return record


def write_fs_marker(runs: Path) -> str:
    """The mark of a runs folder, made if it has none.

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


def shares_fs(runs: Path, write_fs_marker: str) -> bool:
    """Whether this machine sees the runs folder with that mark."""
    try:
        return (runs / _MARK).read_text() == write_fs_marker
    except OSError:
        return False


def optional_module(name: str, extra: str) -> Any:
    """A package that only one executor needs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        fix = f"pip install 'algorace[{extra}]'"
        raise UsageError(f"the {extra} executor needs {name}: {error}", fix=fix) from error


def checked_options(executor: str, how: ExecutionOptions, known: dict[str, str]) -> dict[str, str]:
    """The executor's options, with the values that were not given.

    Args:
        known: names and default values.

    Raises:
        UsageError: an option that does not exist, or `--in-process`.
    """
    if how.in_process:
        raise UsageError(f"--in-process runs here, not with {executor}", fix="use the local executor")
    unknown = sorted(how.options.keys() - known)
    if unknown:
        raise UsageError(f"the {executor} executor has no option {unknown[0]!r}", fix=f"it has {', '.join(known)}")
    return {**known, **how.options}


def number(options: dict[str, str], name: str, default: float) -> float:
    """An option that is a number from 0 on; the default where it is empty.

    Raises:
        UsageError: it is not.
    """
    try:
        value = float(options[name] or default)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"executor option {name}={options[name]} is no number from 0 on")
    return value


def cores_and_gpus(spec: RunSpec) -> tuple[int, int]:
    """What a trial takes of a node: a core for each of its threads, a GPU for each of its ranks."""
    return spec.ranks * spec.threads, spec.ranks if spec.device.partition(":")[0] == "cuda" else 0


def _files_to_deliver(name: str) -> bool:
    return name != "lock" and not name.startswith((".", "checkpoint"))


def _require_hardware(spec: RunSpec) -> None:
    """Its hardware class is a part of a trial: what would run on another would be filed under the wrong one."""
    here = detect.hardware_class(spec.device, spec.threads, spec.ranks)
    if here != spec.hardware:
        raise UsageError(
            f"{socket.gethostname()} is {here}, and the trials were planned for {spec.hardware}",
            fix="give the command on a machine of the kind that it is to run on, and let only such nodes take part",
        )


def warn_about_release(watcher: Watcher, spec: RunSpec, said: set[str], message: str) -> None:
    """Warn, once for each message."""
    if message not in said:
        said.add(message)
        watcher.warned(spec, message)
