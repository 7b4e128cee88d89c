"""Hardware classes and what software a result came from, without torch."""

from __future__ import annotations

import functools
import platform
import re
import subprocess
import sys
from pathlib import Path

#: Instruction sets that change how fast a training step is, best first; the best one present names the class.
_INSTRUCTION_SETS = ("amx_tile", "avx512f", "avx2", "asimd")


def hardware_class(device: str, threads: int, ranks: int = 1) -> str:
    """What results may be compared with: model, instruction set and threads on a CPU; count and model on a GPU.

    Args:
        device: `cpu`, `cuda`, `cuda:0`, `mps`.
        threads: intra-op threads of a process; part of the class on a CPU only.
        ranks: processes that share the run, each with a device of its own.
    """
    kind = device.partition(":")[0]
    if kind == "cpu":
        several = f"{ranks}x" if ranks > 1 else ""
        return f"{several}cpu-{_slug(cpu_name())}-{_instruction_set()}-{threads}t"
    if kind == "cuda":
        return f"{ranks}x{_slug(gpu_name() or 'unknown-gpu')}"
    return f"{ranks}x{_slug(kind)}-{_slug(cpu_name())}"


@functools.cache
def cpu_name() -> str:
    """The processor's model, as it names itself; with its model number where the name alone is generic."""
    fields = _cpuinfo()
    name = fields.get("model name") or fields.get("Hardware") or _sysctl_brand() or platform.processor() or "unknown"
    name = re.sub(r"\((R|TM|r|tm)\)|CPU|Processor|@.*$", " ", name)
    name = re.sub(r"\s+", " ", name).strip()
    if not re.search(r"\d", name) and "model" in fields:
        # Virtual machines hide the model behind a family name; the number tells generations apart.
        name = f"{name} model {fields['model']}"
    return name


@functools.cache
def gpu_name() -> str:
    """The first NVIDIA GPU's model, or an empty string."""
    return _nvidia_smi("name")


@functools.cache
def gpu_driver() -> str:
    """The NVIDIA driver's version, or an empty string."""
    return _nvidia_smi("driver_version")


@functools.cache
def git_state() -> str:
    """Commit of the working directory, with `+` when it has changes; empty outside a repository."""
    commit = _output("git", "rev-parse", "--short=12", "HEAD")
    return f"{commit}+" if commit and _output("git", "status", "--porcelain", "-uno") else commit


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _instruction_set() -> str:
    fields = _cpuinfo()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    best = next((name for name in _INSTRUCTION_SETS if name in flags), platform.machine())
    return best.removesuffix("_tile").removesuffix("f")


def _sysctl_brand() -> str:
    return _output("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else ""


def _nvidia_smi(field: str) -> str:
    lines = _output("nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader").splitlines()
    return lines[0].strip() if lines else ""


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _slug(name: str) -> str:
    """
    >>> _slug("NVIDIA H200"), _slug("Intel Xeon model 167")
    ('h200', 'intel-xeon-model-167')
    """
    name = re.sub(r"^(NVIDIA|AMD Instinct) ", "", name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
