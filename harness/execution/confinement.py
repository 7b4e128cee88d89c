"""Decide which files a trial's worker may use in its sandbox: its folder, software and data, but not other runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from harness.contract.run import Job, RunSpec
from harness.contract.sandbox import NO_SANDBOX, SandboxOffer, SandboxRequest
from harness.datasets.generated import FOLDER
from harness.datasets.paths import data_folder
from harness.datasets.prepared import find_unprepared
from harness.plugins.loading import is_file, split_load
from harness.system import python_process, sandbox

#: Folders of programs, libraries and their settings, and `/sys`, which describes the hardware. Missing folders are
#: ignored.
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/sys", "/nix/store", "/gnu/store")
#: Files and folders that describe the machine. The worker's own folder in /proc is added by `harness.system.sandbox`.
_MACHINE = tuple(
    f"/proc/{name}"
    for name in ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "devices", "sys")
)
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
#: Variables whose values are search paths for programs and libraries.
_SEARCH_PATHS = ("PATH", "LD_LIBRARY_PATH")


def confine(job: Job) -> Job:
    """Return a job with the sandbox of its worker, and with the data to open before the worker enters the sandbox.

    Raises:
        UsageError: the variable `BENCH_SANDBOX` has an unknown value.
    """
    folder = Path(job.folder)  # its parent is the trial's folder, which is in the runs folder
    sandbox = sandbox_request(job.spec, folder, folder.parent.parent)
    unprepared = () if sandbox.name == NO_SANDBOX else find_unprepared(job.spec)
    return msgspec.structs.replace(job, sandbox=sandbox, unprepared=unprepared)


def sandbox_request(spec: RunSpec, folder: Path, runs: Path) -> SandboxRequest:
    """Return the sandbox of a trial's worker. The sandbox uses the mechanisms that this machine offers.

    A trial on a GPU has no sandbox. The files and devices that the drivers need differ between machines.

    Args:
        spec: the trial.
        folder: the worker's folder, which exists.
        runs: folder with the folders of all trials.

    Raises:
        UsageError: the variable `BENCH_SANDBOX` has an unknown value.
    """
    runs, folder = runs.resolve(), folder.resolve()
    offer = sandbox.find_offer(runs) if spec.device.partition(":")[0] == "cpu" else SandboxOffer()
    if not (offer.landlock or offer.namespaces):
        return SandboxRequest(offer=offer)
    readable, listable = exclude_hidden(_resolved(_needed_paths(spec)), runs)
    return SandboxRequest(
        offer=offer,
        readable=readable,
        listable=listable,
        usable=_DEVICES,
        writable=(str(folder),),
        hidden=str(runs),
        network=spec.ranks > 1,
    )


def _needed_paths(spec: RunSpec) -> Iterator[str | Path]:
    """Yield the files and folders that a worker reads: the system, Python, installed packages, plugins and data."""
    yield from (*_SYSTEM, *_MACHINE)
    yield from (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, os.path.dirname(sys.executable))
    path = python_process.import_path()
    yield from path
    yield from python_process.iter_editable_links(path)
    for variable in _SEARCH_PATHS:
        yield from filter(os.path.isabs, os.environ.get(variable, "").split(os.pathsep))
    yield from _data_folders()
    for load in filter(None, (spec.submission.load, *(part.load for part in spec.submission.parts))):
        # If a submission is a file, its hash covers this file only. The worker may therefore not read files beside it.
        if is_file(module := split_load(load)[0]):
            yield Path(module).expanduser()
    if is_file(module := split_load(spec.workload.load)[0]):
        yield Path(module).expanduser().parent


def _data_folders() -> Iterator[str]:
    """Yield the folder of the datasets, and all links in it and its subfolders. A link leads to a user's own copy."""
    data = str(data_folder())
    yield data
    with contextlib.suppress(OSError):
        for dataset in os.scandir(data):
            if dataset.is_symlink():
                yield dataset.path
            if dataset.is_dir() and dataset.name != FOLDER:
                yield from (entry.path for entry in os.scandir(dataset) if entry.is_symlink())


def _list_names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _resolved(paths: Iterable[str | Path]) -> tuple[Path, ...]:
    """Resolve the links in the paths. Leave out missing paths, duplicates, and paths that lie inside another path."""
    resolved = sorted({Path(path).resolve() for path in paths if os.path.exists(path)}, key=lambda path: path.parts)
    # The root of the file system is on the import path if a command is started in it. It would make all files readable.
    resolved = [path for path in resolved if path != path.parent]
    outer: list[Path] = []
    for path in resolved:
        if not (outer and path.is_relative_to(outer[-1])):
            outer.append(path)
    return tuple(outer)


def exclude_hidden(paths: Iterable[Path], hidden: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Leave out the hidden folder from paths that may be read.

    A path that contains the hidden folder is replaced by the other files and folders in it. For example, `/home/me`
    with the hidden folder `/home/me/runs` becomes `/home/me/src` and `/home/me/data`. `/home/me` may still be listed,
    because the import system lists the folders of the import path.

    Args:
        paths: files and folders without links.
        hidden: the hidden folder, without links.

    Returns:
        The paths that may be read, and the folders that may be listed.
    """
    readable, listable, queue = list[str](), list[str](), list(paths)
    while queue:
        path = queue.pop()
        if not hidden.is_relative_to(path):
            if not path.is_relative_to(hidden):
                readable.append(str(path))
        elif path != hidden:
            listable.append(str(path))
            queue += [path / name for name in _list_names(path) if not (path / name).is_symlink()]
    return tuple(sorted(readable)), tuple(sorted(listable))
