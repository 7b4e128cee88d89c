"""What a workload needs of this machine before it can run: a device, and its data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from harness.contract.entries import WorkloadEntry
from harness.datasets.local import dataset_path, missing_names
from harness.datasets.selection import DataRequirement
from harness.errors import DataError, UsageError
from harness.hardware import detect
from harness.planning.resolve import is_tier, resolve_workloads
from harness.plugins.registry import Registry


def runnable_workloads(
    names: Iterable[str], registry: Registry, device: str | None, allow_slow: bool, skipped: list[str]
) -> Iterator[tuple[WorkloadEntry, str]]:
    """The workloads of these names, each with the device it will run on.

    Args:
        names: see `resolve_workloads`.
        device: `cpu`, `cuda`, `cuda:0` …, `mps`; by the workload's tier when None.
        allow_slow: whether a GPU workload may run on the CPU.
        skipped: gets one line for each workload of a tier whose data are missing.

    Raises:
        UsageError: a name that does not exist, or a GPU is needed and there is none.
        DataError: a workload asked for by its own name lacks its data; names the command that fetches them.
    """
    for name in names:
        for workload in resolve_workloads(name, registry):
            chosen = choose_device(workload, registry, device, allow_slow)
            problems = find_missing_data(workload, registry)
            damaged = "".join(f": {problem}" for problem in problems.values() if problem)
            if not problems:
                yield workload, chosen
            elif is_tier(name):
                skipped.append(f"skipped: {workload.name} needs data{damaged} ({'; '.join(problems)})")
            else:
                raise DataError(f"{workload.name} needs data{damaged or ' that are not here'}", fix="; ".join(problems))


def find_missing_data(workload: WorkloadEntry, registry: Registry) -> dict[str, str]:
    """What a workload lacks: the command that fetches it, to what is wrong with the files that are here.

    Judged by names and sizes. The problem is empty where files are absent.
    """
    problems = {}
    for requirement in map(DataRequirement.parse, workload.needs_data):
        dataset = registry.dataset(requirement.dataset)
        if missing_names(dataset, requirement.only(dataset)):
            problems[requirement.fetch_command] = ""
            continue
        try:
            dataset_path(dataset, requirement.only(dataset))
        except DataError as error:
            problems[requirement.fetch_command] = error.what
    return problems


def choose_device(workload: WorkloadEntry, registry: Registry, device: str | None, allow_slow: bool) -> str:
    """The device that a workload will run on; arguments as for `runnable_workloads`.

    Raises:
        UsageError: a GPU is needed and there is none, or there is no such device.
    """
    if device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"unknown device {device!r}", fix="one of cpu, cuda, cuda:0 …, mps")
    target_device = device or ("cpu" if workload.facts.tier == "cpu" else "cuda")
    if target_device.startswith("cuda") and not detect.gpu_name():
        if workload.facts.tier == "cpu":
            raise UsageError(
                f"--device {target_device}: this machine has no GPU",
                fix=f"without --device {workload.name} runs on the CPU",
            )
        if allow_slow:
            return "cpu"
        sibling = _cpu_sibling(workload, registry)
        advice = f"its CPU sibling is {sibling}; " if sibling else ""
        raise UsageError(
            f"{workload.name} runs on a GPU and this machine has none", fix=f"{advice}--allow-slow runs it on the CPU"
        )
    if target_device == "cpu" and workload.facts.tier != "cpu" and not allow_slow:
        raise UsageError(f"{workload.name} is of tier {workload.facts.tier}", fix="--allow-slow runs it on the CPU")
    return target_device


def _cpu_sibling(workload: WorkloadEntry, registry: Registry) -> str | None:
    """The name of the first sibling, tier by tier downward, that a CPU is enough for."""
    while workload.facts.tier != "cpu" and workload.sibling:
        workload = registry.workload(workload.sibling)
    return workload.name if workload.facts.tier == "cpu" else None
