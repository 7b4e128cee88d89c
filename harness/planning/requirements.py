"""Check that this machine has the device and the data that a workload needs."""

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
    """Yield the workloads with these names, each with the device on which it will run.

    Args:
        names: names of workloads or tiers; see `resolve_workloads`.
        registry: the plugins.
        device: `cpu`, `cuda`, `cuda:0` …, `mps`; None to choose the device by the workload's tier.
        allow_slow: whether a GPU workload may run on the CPU.
        skipped: list to which a one-line message is appended for each workload of a tier whose data are missing.

    Raises:
        UsageError: a name does not exist, or a workload needs a GPU and this machine has none.
        DataError: the data of a workload that was requested by name are missing. The message contains the command that
            fetches the data.
    """
    for name in names:
        for workload in resolve_workloads(name, registry):
            target_device = choose_device(workload, registry, device, allow_slow)
            problems = find_missing_data(workload, registry)
            damaged = "".join(f": {problem}" for problem in problems.values() if problem)
            if not problems:
                yield workload, target_device
            elif is_tier(name):
                skipped.append(f"skipped: {workload.name} needs data{damaged} ({'; '.join(problems)})")
            else:
                problem = f"{workload.name} needs data{damaged or ' that are not installed'}"
                raise DataError(problem, fix="; ".join(problems))


def find_missing_data(workload: WorkloadEntry, registry: Registry) -> dict[str, str]:
    """Return the missing or damaged data of a workload. Only the names and sizes of the files are checked.

    Returns:
        A description of the damage for each command that fetches data. The description is empty if files are missing.
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
    """Return the device on which a workload will run.

    Args:
        workload, registry, device, allow_slow: see `runnable_workloads`.

    Raises:
        UsageError: the device does not exist, or the workload needs a GPU and this machine has none.
    """
    if device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"unknown device {device!r}", fix="choose one of cpu, cuda, cuda:0 …, mps")
    target_device = device or ("cpu" if workload.facts.tier == "cpu" else "cuda")
    if target_device.startswith("cuda") and not detect.gpu_name():
        if workload.facts.tier == "cpu":
            raise UsageError(
                f"--device {target_device}: this machine has no GPU",
                fix=f"leave out --device to run {workload.name} on the CPU",
            )
        if allow_slow:
            return "cpu"
        sibling = _cpu_sibling(workload, registry)
        advice = f"run its CPU sibling {sibling}, or " if sibling else ""
        raise UsageError(
            f"{workload.name} runs on a GPU and this machine has none",
            fix=f"{advice}add --allow-slow to run it on the CPU",
        )
    if target_device == "cpu" and workload.facts.tier != "cpu" and not allow_slow:
        problem = f"{workload.name} is in the tier {workload.facts.tier}, which runs on GPUs"
        raise UsageError(problem, fix="add --allow-slow to run it on the CPU")
    return target_device


def _cpu_sibling(workload: WorkloadEntry, registry: Registry) -> str | None:
    """Return the name of the related workload in the CPU tier; None if there is none.

    A sibling is a smaller workload of the same kind. The siblings are followed until a workload is in the CPU tier.
    """
    while workload.facts.tier != "cpu" and workload.sibling:
        workload = registry.workload(workload.sibling)
    return workload.name if workload.facts.tier == "cpu" else None
