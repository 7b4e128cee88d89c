"""Decides whether the loss is compiled with `torch.compile`, and manages the trial's compiler cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from harness.contract.run import Job, RunSpec
from harness.storage.layout import COMPILED
from harness.system import python_process


def uses_compiler(spec: RunSpec) -> bool:
    """Return whether a trial's loss is compiled.

    The workload's facts must request compilation. On the CPU, the C++ compiler must also be installed: the one in the
    environment variable `CXX`, or g++ if the variable is not set. torch finds its compiler by the same rule
    (`torch._inductor.config.cpp.cxx`).
    """
    if not spec.workload.facts.precision.compile:
        return False
    return not spec.device.startswith("cpu") or shutil.which(os.environ.get("CXX") or "g++") is not None


def fill_compile_cache(job: Job) -> str:
    """Fill a trial's compiler cache in a separate process with its own home and temporary folder.

    If that process fails, the worker compiles the loss itself, in its warm-up step. The clock is stopped during this
    step. A graph that the step does not need (for example, for another batch size) is compiled later, while the clock
    runs.

    Returns:
        A description of the failure, or an empty string on success.
    """
    if (Path(job.folder) / COMPILED).exists():
        return ""  # the run is resumed, and its cache is filled already
    with tempfile.TemporaryDirectory() as home:
        folders = {"HOME": home, "TMPDIR": home, "XDG_CACHE_HOME": home}
        process = subprocess.run(
            python_process.command("harness.worker.compile_worker"),
            input=msgspec.json.encode(job) + b"\n",
            stdout=sys.stderr,
            env={**python_process.environment(), **folders},
            check=False,
        )
    return "" if process.returncode == 0 else f"the compile warm-up ended with code {process.returncode}"


def redirect_compile_cache(job: Job) -> None:
    """Set the environment variables that make the compilers store their files in the trial's folder."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(job.folder) / COMPILED)
    os.environ["TRITON_CACHE_DIR"] = str(Path(job.folder) / COMPILED / "triton")
