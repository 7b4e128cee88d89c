"""Describes the machine and the software of a run for its record."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

from harness.contract.record import Environment
from harness.contract.run import RunSpec
from harness.hardware import detect


def environment(spec: RunSpec, device: torch.device, git: str) -> Environment:
    """Return a description of the machine and the software on which a trial runs.

    Args:
        spec: the trial.
        device: device of this rank.
        git: commit of the current folder.
    """
    on_gpu = device.type == "cuda"
    return Environment(
        python=platform.python_version(),
        torch=str(torch.__version__),
        platform=platform.platform(),
        hardware_name=detect.cpu_name(),
        cpu_count=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device_name=torch.cuda.get_device_name(device) if on_gpu else "",
        driver=detect.driver_version() if on_gpu else "",
        cuda=str(torch.version.cuda or "") if on_gpu else "",
        distributions=_versions(spec),
        git=git,
    )


def _versions(spec: RunSpec) -> dict[str, str]:
    """Return the versions of the distributions that a trial uses, by name."""
    names = {"algorace", "torch", "numpy", spec.workload.distribution, spec.submission.distribution}
    versions = {}
    # Plugins in single files have the distribution "file", which is not installed.
    for name in sorted(names - {"", "file"}):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
