"""Detects the processor and GPUs of this machine, and the hardware class of a run on them."""

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

#: Warnings for kinds of devices on which this was never tested.
UNTESTED = {
    "mps": "Apple's GPU (MPS) is recognised and run, but this was never tested",
    "amd": "AMD's GPUs (ROCm) are recognised and run, but this was never tested",
}


def hardware_class(device: str, threads: int, ranks: int = 1) -> str:
    """The class whose results compare: model, instruction set and threads of a CPU; count and model of GPUs.

    Args:
        device: `cpu`, `cuda`, `cuda:0`, `mps`.
        threads: intra-op threads of a process; part of a CPU's class only.
        ranks: processes of the run, each with its own device.
    """
    return recognise_hardware(device, threads, ranks).name


def recognise_hardware(device: str, threads: int, ranks: int = 1) -> RecognisedHardware:
    """The hardware class of a run and how it was recognised; arguments as for `hardware_class`."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return classes.recognise([gpu.device for gpu in run_gpus(device, ranks)])
    if kind == "cpu":
        count = f"{ranks}x" if ranks > 1 else ""
        name = f"{count}cpu-{slug(cpu_name())}-{_instruction_set()}-{threads}t"
        return RecognisedHardware(
            name=name, declared=True, by=f"{cpu_name()!r}, its instruction sets, {threads} thread(s)"
        )
    return RecognisedHardware(
        name=f"{ranks}x{slug(kind)}-{slug(cpu_name())}", declared=False, by=f"{cpu_name()!r}, {kind}"
    )


def run_gpus(device: str, ranks: int = 1, visible: Sequence[str] = ()) -> tuple[Gpu, ...]:
    """The GPUs of a run: one per rank, the first of them named by `device`.

    Args:
        device, ranks: as for `hardware_class`.
        visible: names, as in `CUDA_VISIBLE_DEVICES`, of the GPUs that the run may use; if empty, all that this process
            sees.
    """
    first = int(device.partition(":")[2] or 0)
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(visible)} if visible else os.environ
    return drivers.visible_gpus(all_gpus(), environment)[first : first + ranks]


@functools.cache
def find_driver() -> Driver:
    """The driver interface of this machine's GPUs."""
    return drivers.find_driver()


@functools.cache
def all_gpus() -> tuple[Gpu, ...]:
    """Every GPU of this machine, hidden ones included."""
    return find_driver().gpus()


def untested_warning(device: str) -> str:
    """The warning for a device of a kind that was never tested; empty for other devices."""
    if device.startswith("mps"):
        return UNTESTED["mps"]
    amd = device.startswith("cuda") and any(gpu.maker == "amd" for gpu in run_gpus(device))
    return UNTESTED["amd"] if amd else ""


@functools.cache
def cpu_name() -> str:
    """The processor's model as it reports it; with the model number if the name is generic."""
    fields = _cpuinfo()
    name = fields.get("model name") or fields.get("Hardware") or _sysctl_brand() or platform.processor() or "unknown"
    name = re.sub(r"\((R|TM|r|tm)\)|CPU|Processor|@.*$", " ", name)
    name = re.sub(r"\s+", " ", name).strip()
    if not re.search(r"\d", name) and "model" in fields:
        # Virtual machines report a family name only; the number distinguishes generations.
        name = f"{name} model {fields['model']}"
    return name


def gpu_name() -> str:
    """The model of the first visible GPU, or an empty string."""
    return next((gpu.device.name for gpu in run_gpus("cuda")), "")


def driver_version() -> str:
    """The version of the GPU driver, or an empty string."""
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
    known = classes.declared_hardware().instructions
    return next((name for flag, name in known.items() if flag in flags), platform.machine())


def _sysctl_brand() -> str:
    return program_output("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else ""
