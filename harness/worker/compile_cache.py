"""Whether a loss is compiled, where the compiler keeps its files, and the warm-up that fills them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from harness.contract.run import Job, RunSpec
from harness.storage.layout import COMPILED
from harness.system import python_process


def uses_compiler(spec: RunSpec) -> bool:
    """Whether a trial's loss is compiled: its workload asks for it and, on the CPU, there is a C++ compiler.

    Source: `torch._inductor.config.cpp.cxx`: the program that `CXX` names, or g++.
    """
    if not spec.workload.facts.precision.compile:
        return False
    return not spec.device.startswith("cpu") or shutil.which(os.environ.get("CXX") or "g++") is not None


def fill_compile_cache(job: Job) -> str:
    """Fill a trial's compiler cache in a process of its own.

    Returns:
        Why it failed, or an empty string. The trial does not fail with it: it then compiles for itself, on the clock.
    """
    if (Path(job.folder) / COMPILED).exists():
        return ""  # the run is being resumed
    process = subprocess.run(
        python_process.command("harness.worker.compile_worker"),
        input=msgspec.json.encode(job) + b"\n",
        stdout=sys.stderr,
        env=python_process.environment(),
        check=False,
    )
    return "" if process.returncode == 0 else f"the compile warm-up ended with code {process.returncode}"


def redirect_compile_cache(job: Job) -> None:
    """Have the compiler keep its files in the trial's folder and nowhere else."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(job.folder) / COMPILED)
    os.environ["TRITON_CACHE_DIR"] = str(Path(job.folder) / COMPILED / "triton")
