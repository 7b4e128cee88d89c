"""Check that this machine has the device and the data for a workload."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.contract.entries import WorkloadEntry
from harness.contract.workload import default_device
from harness.datasets.local import dataset_path, missing_names
from harness.datasets.paths import data_folder
from harness.datasets.selection import DataRequirement, fetch_command
from harness.errors import BenchError, DataError, UsageError, combine_errors
from harness.hardware import detect
from harness.planning.resolve import is_tier, resolve_workloads
from harness.plugins.registry import Registry
from harness.system.units import format_size


@dataclass(frozen=True, kw_only=True)
class WorkloadChoice:
    """The workloads that the user's names denote, and all problems that prevent their trials.

    Args:
        workloads: the workloads, each with the device on which its trials run.
        unknown: errors about names that denote no workload, and about an unknown device.
        missing: errors about devices and data that this machine lacks, and about devices on which a workload does not
            run.
        skipped: one-line messages, one for each workload of a tier that is left out because its data are missing.
    """

    workloads: tuple[tuple[WorkloadEntry, str], ...]
    unknown: tuple[BenchError, ...]
    missing: tuple[BenchError, ...]
    skipped: tuple[str, ...]


def choose_workloads(
    names: Iterable[str], registry: Registry, device: str | None, allow_slow: bool, ranks: int = 1
) -> WorkloadChoice:
    """Look up workloads, and check that this machine has the device and the data that they need.

    Problems are not raised. The result contains all of them.

    Args:
        names: names of workloads or tiers, as for `resolve_workloads`.
        registry: the plugins.
        device: `cpu`, `cuda`, `cuda:0` …, `mps`; None for the device of the workload's tier.
        allow_slow: whether a GPU workload may run on the CPU.
        ranks: number of devices that share a trial.
    """
    chosen: list[tuple[WorkloadEntry, str]] = []
    unknown: list[BenchError] = []
    missing: list[BenchError] = []
    skipped: list[str] = []
    if device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        unknown.append(UsageError(f"unknown device {device!r}", fix="choose one of cpu, cuda, cuda:0 …, mps"))
    for name in names:
        try:
            workloads = resolve_workloads(name, registry)
        except BenchError as error:
            unknown.append(error)
            continue
        for workload in workloads:
            # Two names may denote one workload, such as `tier:cpu` and the name of a workload of this tier.
            if any(workload == known for known, _ in chosen):
                continue
            commands = find_missing_data(workload, registry)
            if commands and is_tier(name):
                damaged = "".join(f": {problem}" for problem in commands.values() if problem)
                skipped.append(f"skipped: {workload.name} needs data{damaged} ({'; '.join(commands)})")
                continue
            chosen.append((workload, choose_device(workload, device, allow_slow)))
            missing += _device_problems(workload, registry, chosen[-1][1], allow_slow, ranks)
            missing += _data_problems(workload, registry, commands)
    return WorkloadChoice(
        workloads=tuple(chosen), unknown=tuple(unknown), missing=tuple(missing), skipped=tuple(skipped)
    )


def runnable_workloads(
    names: Iterable[str],
    registry: Registry,
    device: str | None,
    allow_slow: bool,
    skipped: list[str],
    missing: list[BenchError] | None = None,
) -> tuple[tuple[WorkloadEntry, str], ...]:
    """Return the workloads with these names, each with the device on which it will run.

    Args:
        names, registry, device, allow_slow: see `choose_workloads`.
        skipped: list to which a one-line message is appended for each workload of a tier whose data are missing.
        missing: list to which the errors about missing devices and missing data are appended. If None, these errors are
            raised.

    Raises:
        UsageError: a name does not exist, or a workload needs a GPU and this machine has none. If there are several
            problems, the message lists all of them.
        DataError: the data of a workload that was requested by name are missing. The error suggests the command that
            fetches the data.
    """
    choice = choose_workloads(names, registry, device, allow_slow)
    if missing is not None:
        missing += choice.missing
    problems = [*choice.unknown, *(choice.missing if missing is None else ())]
    if problems:
        raise combine_errors(problems)
    skipped += choice.skipped
    return choice.workloads


def _data_problems(workload: WorkloadEntry, registry: Registry, commands: Mapping[str, str]) -> Iterator[BenchError]:
    """Yield the errors for the missing data of a workload.

    Args:
        workload: the workload.
        registry: the plugins.
        commands: command that fetches missing or damaged data -> description of the damage (see `find_missing_data`).
    """
    if not commands:
        return
    damaged = "".join(f": {problem}" for problem in commands.values() if problem)
    size = missing_size(workload, registry)
    download = f", {format_size(size)} to download" if size else ""
    problem = f"{workload.name} needs data{damaged or f' that are not installed{download}'}"
    yield DataError(problem, fix="; ".join(commands))
    folder = data_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        yield DataError(
            f"the data of {workload.name} need {format_size(size)}, and {folder} has {format_size(free)} of free space",
            fix="set BENCH_DATA to a folder with more space",
        )


def missing_size(workload: WorkloadEntry, registry: Registry) -> int:
    """Return the bytes to download for the missing files of a workload. Files of unknown size count as 0 bytes."""
    size = 0
    for requirement in map(DataRequirement.parse, workload.needs_data):
        dataset = registry.dataset(requirement.dataset)
        names = set(missing_names(dataset, requirement.only(dataset)))
        size += sum(file.size for file in dataset.files if file.name in names)
    return size


def find_missing_data(workload: WorkloadEntry, registry: Registry) -> dict[str, str]:
    """Find the missing or damaged data of a workload. Only the names and sizes of the files are checked.

    Returns:
        command that fetches missing or damaged data -> description of the damage; "" if files are missing.
    """
    problems = {}
    for requirement in map(DataRequirement.parse, workload.needs_data):
        dataset = registry.dataset(requirement.dataset)
        command = requirement.fetch_command if requirement.only(dataset) else fetch_command(dataset)
        if missing_names(dataset, requirement.only(dataset)):
            problems[command] = ""
            continue
        try:
            dataset_path(dataset, requirement.only(dataset))
        except DataError as error:
            problems[command] = error.what
    return problems


def choose_device(workload: WorkloadEntry, device: str | None, allow_slow: bool) -> str:
    """Return the device on which a workload will run.

    Args:
        workload, device, allow_slow: see `choose_workloads`.
    """
    wanted_device = device or default_device(workload.facts)
    if wanted_device.startswith("cuda") and workload.facts.tier != "cpu" and allow_slow and not detect.gpu_name():
        return "cpu"
    return wanted_device


def _device_problems(
    workload: WorkloadEntry, registry: Registry, device: str, allow_slow: bool, ranks: int
) -> Iterator[UsageError]:
    """Yield the errors for a device that this machine lacks, or on which the workload does not run.

    Args:
        workload, registry, allow_slow, ranks: see `choose_workloads`.
        device: the device on which the workload would run.
    """
    if device == "cpu" and workload.facts.tier != "cpu" and not allow_slow:
        problem = f"{workload.name} is in the tier {workload.facts.tier}, which runs on GPUs"
        yield UsageError(problem, fix="add --allow-slow to run it on the CPU")
    if not device.startswith("cuda"):
        return
    available = len(detect.gpus_of_run(device, ranks))
    if not detect.gpu_name() and workload.facts.tier == "cpu":
        yield UsageError(
            f"--device {device}: this machine has no GPU",
            fix=f"leave out --device to run {workload.name} on the CPU",
        )
    elif not detect.gpu_name():
        sibling = _cpu_sibling(workload, registry)
        advice = f"run its CPU sibling {sibling}, or " if sibling else ""
        yield UsageError(
            f"{workload.name} runs on a GPU and this machine has none",
            fix=f"{advice}add --allow-slow to run it on the CPU",
        )
    elif available < ranks:
        yield UsageError(
            f"--device {device} --gpus {ranks}: this machine has {available} of these GPUs",
            fix=f"use --gpus {available}" if available else "choose another --device; bench hardware lists the GPUs",
        )


def _cpu_sibling(workload: WorkloadEntry, registry: Registry) -> str | None:
    """Return the name of the workload in the CPU tier with the same kind of task, or None.

    The sibling of a workload is a smaller workload for the same kind of task, on the same or the next smaller tier. The
    function goes from sibling to sibling until it finds a workload in the CPU tier.
    """
    while workload.facts.tier != "cpu" and workload.sibling:
        workload = registry.workload(workload.sibling)
    return workload.name if workload.facts.tier == "cpu" else None
