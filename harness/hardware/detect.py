"""Hardware classes and what software a result came from, without torch."""

from __future__ import annotations

import functools
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.hardware import classes, drivers
from harness.hardware.classes import RecognisedHardware, slug
from harness.hardware.drivers import Driver, Gpu, output

#: What is said of devices that nobody has tried this on.
UNTESTED = {
    "mps": "Apple's GPU (MPS) is recognised and run, but nobody has tested it here",
    "amd": "AMD's GPUs (ROCm) are recognised and run, but nobody has tested them here",
}


def hardware_class(device: str, threads: int, ranks: int = 1) -> str:
    """What results may be compared with: model, instruction set and threads on a CPU; count and model on a GPU.

    Args:
        device: `cpu`, `cuda`, `cuda:0`, `mps`.
        threads: intra-op threads of a process; part of the class on a CPU only.
        ranks: processes that share the run, each with a device of its own.
    """
    return recognised(device, threads, ranks).name


def recognised(device: str, threads: int, ranks: int = 1) -> RecognisedHardware:
    """The hardware class of a run with what it was recognised by; arguments as for `hardware_class`."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return classes.recognise([gpu.device for gpu in run_gpus(device, ranks)])
    if kind == "cpu":
        several = f"{ranks}x" if ranks > 1 else ""
        name = f"{several}cpu-{slug(cpu_name())}-{_instruction_set()}-{threads}t"
        return RecognisedHardware(
            name=name, declared=True, by=f"{cpu_name()!r}, its instruction sets, {threads} thread(s)"
        )
    return RecognisedHardware(
        name=f"{ranks}x{slug(kind)}-{slug(cpu_name())}", declared=False, by=f"{cpu_name()!r}, {kind}"
    )


def run_gpus(device: str, ranks: int = 1, own: Sequence[str] = ()) -> tuple[Gpu, ...]:
    """The GPUs of a run: from the one that `device` names on, one per rank, of those that can be seen.

    Args:
        device, ranks: as for `hardware_class`.
        own: those that the run is given, as `CUDA_VISIBLE_DEVICES` names them, in place of what this process sees.
    """
    first = int(device.partition(":")[2] or 0)
    seen = drivers.visible(all_gpus(), {"CUDA_VISIBLE_DEVICES": ",".join(own)}) if own else drivers.visible(all_gpus())
    return seen[first : first + ranks]


@functools.cache
def driver() -> Driver:
    """Whoever answers for the GPUs of this machine."""
    return drivers.driver()


@functools.cache
def all_gpus() -> tuple[Gpu, ...]:
    """Every GPU of this machine, hidden ones too."""
    return driver().gpus()


def untested_warning(device: str) -> str:
    """What a user should know of a device that nobody has tried this on; empty for all others."""
    if device.startswith("mps"):
        return UNTESTED["mps"]
    amd = device.startswith("cuda") and any(gpu.maker == "amd" for gpu in run_gpus(device))
    return UNTESTED["amd"] if amd else ""


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


def gpu_name() -> str:
    """The model of the first GPU that can be seen, or an empty string."""
    return next((gpu.device.name for gpu in run_gpus("cuda")), "")


def gpu_driver() -> str:
    """The version of the GPUs' driver, or an empty string."""
    return next((gpu.device.driver for gpu in all_gpus()), "")


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
    known = classes.declared().instructions
    return next((name for flag, name in known.items() if flag in flags), platform.machine())


def _sysctl_brand() -> str:
    return output("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else ""
