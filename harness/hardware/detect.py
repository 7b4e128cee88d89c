"""Detect the processor and GPUs of this machine, and the hardware class of a run on them."""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.hardware import classes, drivers
from harness.hardware.classes import RecognisedHardware, slug
from harness.hardware.drivers import Driver, Gpu, program_output

#: Warnings for kinds of devices on which runs are untested.
UNTESTED = {
    "mps": "runs on Apple's GPU (MPS) are supported but untested",
    "amd": "runs on AMD's GPUs (ROCm) are supported but untested",
}


def hardware_class(device: str, threads: int, ranks: int = 1) -> str:
    """Return the hardware class of a run, within which results can be compared.

    On a CPU, the class consists of the model, the instruction set and the number of threads. On GPUs, the class
    consists of the number and the model of the GPUs.

    Args:
        device: `cpu`, `cuda`, `cuda:0`, `mps`.
        threads: number of intra-op threads of a process; used only in the class of a CPU.
        ranks: number of processes of the run, each on a separate device.
    """
    return recognise_hardware(device, threads, ranks).name


def recognise_hardware(device: str, threads: int, ranks: int = 1) -> RecognisedHardware:
    """Return the hardware class of a run and the evidence for it. The arguments are those of `hardware_class`."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return classes.recognise([gpu.device for gpu in gpus_of_run(device, ranks)])
    if kind == "cpu":
        count = f"{ranks}x" if ranks > 1 else ""
        name = f"{count}cpu-{slug(cpu_name())}-{_instruction_set()}-{threads}t"
        return RecognisedHardware(
            name=name, declared=True, evidence=f"{cpu_name()!r}, its instruction sets, {threads} thread(s)"
        )
    return RecognisedHardware(
        name=f"{ranks}x{slug(kind)}-{slug(cpu_name())}", declared=False, evidence=f"{cpu_name()!r}, {kind}"
    )


def gpus_of_run(device: str, ranks: int = 1, visible: Sequence[str] = ()) -> tuple[Gpu, ...]:
    """Return the GPUs of a run, one per rank, beginning with the GPU whose index is in `device`.

    Args:
        device, ranks: see `hardware_class`.
        visible: names of the GPUs that the run may use, as in `CUDA_VISIBLE_DEVICES`; empty for all GPUs that this
            process sees.
    """
    first = int(device.partition(":")[2] or 0)
    environment = drivers.visibility_variables(visible) if visible else os.environ
    return drivers.visible_gpus(all_gpus(), environment)[first : first + ranks]


@functools.cache
def find_driver() -> Driver:
    """Return the driver interface of this machine's GPUs."""
    return drivers.find_driver()


@functools.cache
def all_gpus() -> tuple[Gpu, ...]:
    """Return all GPUs of this machine, including those hidden by environment variables."""
    return find_driver().gpus()


def untested_warning(device: str) -> str:
    """Return the warning for a kind of device on which runs are untested; empty for other devices."""
    if device.startswith("mps"):
        return UNTESTED["mps"]
    amd = device.startswith("cuda") and any(gpu.maker == "amd" for gpu in gpus_of_run(device))
    return UNTESTED["amd"] if amd else ""


@functools.cache
def cpu_name() -> str:
    """Return the processor's model as the system reports it, with the model number if the name is generic."""
    fields = _cpuinfo()
    name = fields.get("model name") or fields.get("Hardware") or _sysctl_brand() or platform.processor() or "unknown"
    name = re.sub(r"\((R|TM|r|tm)\)|CPU|Processor|@.*$", " ", name)
    name = re.sub(r"\s+", " ", name).strip()
    if not re.search(r"\d", name) and "model" in fields:
        # Virtual machines report only a family name, so the number is added to distinguish generations.
        name = f"{name} model {fields['model']}"
    return name


def gpu_name() -> str:
    """Return the model of the first visible GPU, or an empty string."""
    return next((gpu.device.name for gpu in gpus_of_run("cuda")), "")


def driver_version() -> str:
    """Return the version of the GPU driver, or an empty string."""
    return next((gpu.device.driver for gpu in all_gpus()), "")


def _cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor in `/proc/cpuinfo`; empty if the file cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _instruction_set() -> str:
    """Return this processor's most capable declared instruction set, or else the machine's architecture."""
    fields = _cpuinfo()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    instructions = classes.declared_hardware().instructions
    return next((name for flag, name in instructions.items() if flag in flags), platform.machine())


def _sysctl_brand() -> str:
    """Return the processor's model on macOS; empty on other systems."""
    return program_output("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else ""
