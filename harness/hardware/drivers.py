"""Read names, limits and current state of GPUs from their driver, without torch.

Source: NVIDIA, NVML API reference, nvmlClocksEventReasons (bits of throttle reasons).
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.contract.record import Device, GpuSample

#: Timeout in seconds of a vendor's program such as `nvidia-smi`. The program hangs if a card is lost from the PCI bus.
TIMEOUT_S = 10.0
#: Reasons why clock rates are below their maximum, by bit. Bits 0x002 and 0x010 are settings of the user: fixed clock
#: rates, or a group of GPUs (sync boost) whose clock rates are kept equal.
THROTTLE_REASONS = {
    0x001: "idle",
    0x002: "clocks set",
    0x004: "power limit",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "power brake",
    0x100: "display clocks",
}
#: The fields of `nvidia-smi` from which `Device` is made.
_STATIC = "index,uuid,name,memory.total,driver_version,power.limit,clocks.max.sm,clocks.max.mem,mig.mode.current"
#: The fields of `nvidia-smi` from which `GpuSample` is made.
_STATE = "index,clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_throttle_reasons.active"
#: Prefix of the names of partitions (MIG).
_PARTITION = "MIG-"

#: A function that runs a program and returns its standard output.
RunProgram = Callable[..., str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU of this machine.

    Args:
        index: index in the driver's numbering, which follows the PCI bus.
        uuid: the driver's UUID of the GPU.
        device: the GPU's description in records. (In `GpuSample`, `device` is the index of the GPU.)
        maker: the manufacturer.
    """

    index: int
    uuid: str
    device: Device
    maker: Literal["nvidia", "amd"] = "nvidia"


class Driver(Protocol):
    """An interface to a GPU driver."""

    name: str

    def gpus(self) -> tuple[Gpu, ...]:
        """Return all GPUs of this machine; empty if there are no GPUs or no driver."""
        ...

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        """Return the current states of these GPUs. A GPU whose state cannot be read is left out."""
        ...


def program_output(*command: str) -> str:
    """Return the standard output of a program; empty if the program does not exist, fails or hangs."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def find_driver() -> Driver:
    """Try NVML (package `nvidia-ml-py`), `nvidia-smi` and `rocm-smi`, and return the first that finds a GPU.

    If none finds a GPU, the result is `NvidiaSmi`.
    """
    for open_driver in (Nvml.open, NvidiaSmi, RocmSmi):
        driver = open_driver()
        if driver is not None and driver.gpus():
            return driver
    return NvidiaSmi()


# --- NVIDIA -------------------------------------------------------------------------------------


class Nvml:
    """NVIDIA's library NVML through the module `pynvml`, which takes samples without starting a process.

    Args:
        nvml: the initialised module `pynvml`.
    """

    name = "NVML"

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._handles: dict[int, Any] = {}

    @classmethod
    def open(cls) -> Nvml | None:
        """Return the interface, or None if the package or a driver is missing."""
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # ImportError, NVMLError, or any error of a broken installation
            return None
        return cls(pynvml)

    def gpus(self) -> tuple[Gpu, ...]:
        gpus = []
        for index in range(self._ask(self._nvml.nvmlDeviceGetCount) or 0):
            handle = self._ask(self._nvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None:
                self._handles[index] = handle
                gpus.append(self._gpu(index, handle))
        return tuple(gpus)

    def _gpu(self, index: int, handle: Any) -> Gpu:
        nvml, ask = self._nvml, self._ask
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        mig = ask(nvml.nvmlDeviceGetMigMode, handle)
        return Gpu(
            index=index,
            uuid=_text(ask(nvml.nvmlDeviceGetUUID, handle)),
            device=Device(
                name=_text(ask(nvml.nvmlDeviceGetName, handle)),
                memory_mib=0 if memory is None else memory.total >> 20,
                driver=_text(ask(nvml.nvmlSystemGetDriverVersion)),
                power_limit_w=_watts(ask(nvml.nvmlDeviceGetPowerManagementLimit, handle)),
                max_sm_mhz=ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
                max_memory_mhz=ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM),
                partitioned=bool(mig and mig[0]),
            ),
        )

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        nvml, ask = self._nvml, self._ask
        samples = []
        for gpu in gpus:
            handle = self._handles.get(gpu.index)
            sm = None if handle is None else ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)
            if sm is None:
                continue
            samples.append(
                GpuSample(
                    device=gpu.index,
                    sm_mhz=sm,
                    memory_mhz=ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
                    power_w=_watts(ask(nvml.nvmlDeviceGetPowerUsage, handle)),
                    temperature_c=ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
                    slowed=throttle_reasons(ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0),
                )
            )
        return samples

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a call, or None if the card or driver does not support it."""
        with contextlib.suppress(self._nvml.NVMLError):
            return function(*arguments)
        return None


class NvidiaSmi:
    """NVIDIA's program `nvidia-smi`, which is started for each sample.

    Args:
        run: function that runs a program and returns its output.
    """

    name = "nvidia-smi"

    def __init__(self, run: RunProgram = program_output) -> None:
        self._run = run

    def gpus(self) -> tuple[Gpu, ...]:
        gpus = []
        for row in self._query(_STATIC):
            index, uuid, name, memory, driver_, power, sm, memory_clock, mig = row
            device = Device(
                name=name,
                memory_mib=int(_number(memory) or 0),
                driver=driver_,
                power_limit_w=_number(power),
                max_sm_mhz=_whole(sm),
                max_memory_mhz=_whole(memory_clock),
                partitioned=mig == "Enabled",
            )
            gpus.append(Gpu(index=int(index), uuid=uuid, device=device))
        return tuple(gpus)

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        indices = {gpu.index for gpu in gpus}
        # NVIDIA renamed the field of the throttle reasons. A driver may support only the old or only the new name.
        rows = self._query(_STATE) or self._query(_STATE.replace("throttle", "event"))
        return [
            GpuSample(
                device=int(index),
                sm_mhz=int(_number(sm) or 0),
                memory_mhz=_whole(memory),
                power_w=_number(power),
                temperature_c=_whole(temperature),
                slowed=throttle_reasons(int(bits, 16) if bits.startswith("0x") else 0),
            )
            for index, sm, memory, power, temperature, bits in rows
            if int(index) in indices and _number(sm) is not None
        ]

    def _query(self, fields: str) -> list[list[str]]:
        """Return the rows of the output. Other lines, such as a message about a lost card, are left out."""
        text = self._run("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
        return [row for row in rows if len(row) == fields.count(",") + 1 and row[0].isdecimal()]


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """Return the reasons, in words, why clock rates are below their maximum.

    >>> throttle_reasons(0x24), throttle_reasons(0)
    (('power limit', 'software thermal slowdown'), ())
    """
    return tuple(word for bit, word in THROTTLE_REASONS.items() if bits & bit)


# --- AMD ----------------------------------------------------------------------------------------


class RocmSmi:
    """AMD's program `rocm-smi`, for names and memory. This class follows AMD's documentation and is untested.

    Args:
        run: function that runs a program and returns its output.
    """

    name = "rocm-smi"

    def __init__(self, run: RunProgram = program_output) -> None:
        self._run = run

    def gpus(self) -> tuple[Gpu, ...]:
        text = self._run("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json")
        try:
            cards = json.loads(text or "{}")
        except ValueError:
            return ()
        # Whether keys are in upper or lower case depends on the program's version.
        fields_of = {card: {key.lower(): str(value) for key, value in raw.items()} for card, raw in cards.items()}
        version = fields_of.get("system", {}).get("driver version", "")
        return tuple(
            Gpu(
                index=int(card.removeprefix("card")),
                uuid="",
                device=Device(
                    name=fields.get("card series", "unknown AMD GPU"),
                    memory_mib=int(_number(fields.get("vram total memory (b)", "")) or 0) >> 20,
                    driver=version,
                ),
                maker="amd",
            )
            for card, fields in fields_of.items()
            if card.removeprefix("card").isdecimal()
        )

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        """Return no samples, since clocks and power of AMD's GPUs are not read."""
        return []


# --- visible GPUs -------------------------------------------------------------------------------


def visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Return the GPUs that a program with these environment variables sees, in the program's order.

    The variables list the GPUs by index or by the beginning of their UUID (see `visible_names`). Like CUDA, this
    function stops at the first name that is unknown, ambiguous or repeated: it ignores this name and all names after
    it.
    """
    names = visible_names(gpus, environment)
    if names is None:
        return tuple(gpus)
    visible: list[Gpu] = []
    for name in names:
        matches = [gpu for gpu in gpus if _has_name(gpu, name)]
        if len(matches) != 1 or matches[0] in visible:
            break
        visible += matches
    return tuple(visible)


def visible_names(gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ) -> tuple[str, ...] | None:
    """Return the names of the visible GPUs in the environment variables; None if the variables hide no GPU.

    CUDA reads `CUDA_VISIBLE_DEVICES`. ROCm reads the first of `HIP_VISIBLE_DEVICES` and `CUDA_VISIBLE_DEVICES` that is
    not empty (`Device::init` in rocdevice.cpp of ROCm's clr). An empty name, a negative number or a repeated name ends
    the list, and hides the GPUs after it. Names that no GPU has are not removed.

    Args:
        gpus: the GPUs of this machine, whose maker decides which variable counts.
        environment: the environment variables.

    >>> visible_names((), {"CUDA_VISIBLE_DEVICES": "0,-1,1"})
    ('0',)
    """
    setting = environment.get("CUDA_VISIBLE_DEVICES")
    if gpus and gpus[0].maker == "amd":
        setting = environment.get("HIP_VISIBLE_DEVICES") or setting or None
    if setting is None:
        return None
    names: list[str] = []
    for name in (part.strip() for part in setting.split(",")):
        if not name or name.startswith("-") or name in names:
            break
        names.append(name)
    return tuple(names)


def common_name(gpus: Sequence[Gpu], name: str) -> str:
    """Return the name of a GPU that does not depend on how `CUDA_VISIBLE_DEVICES` names it: its UUID.

    If the driver gives no UUID, the name is returned. A partition of a GPU has only one name.

    Args:
        gpus: the GPUs of this machine.
        name: name as in `CUDA_VISIBLE_DEVICES`.
    """
    uuids = [gpu.uuid for gpu in gpus if _has_name(gpu, name)]
    is_known = len(uuids) == 1 and uuids[0] and not name.startswith(_PARTITION)
    return uuids[0] if is_known else name


def visibility_variables(names: Sequence[str]) -> dict[str, str]:
    """Return the environment variables with which a program sees only the named GPUs, of either maker.

    Without names, the program sees no GPU: `-1` is no GPU's name. An empty text would hide no GPU from ROCm.
    """
    return dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), ",".join(names) or "-1")


def _has_name(gpu: Gpu, name: str) -> bool:
    """Return whether a name in `CUDA_VISIBLE_DEVICES` denotes a GPU."""
    if name.isdecimal():
        return int(name) == gpu.index
    # `MIG-GPU-…/1/0` is the name of a partition of `GPU-…`.
    return bool(name) and gpu.uuid.startswith(name.removeprefix(_PARTITION).partition("/")[0])


def _number(cell: str) -> float | None:
    """Return a cell as a number, or None for text such as `[N/A]`."""
    try:
        return float(cell)
    except ValueError:
        return None


def _whole(cell: str) -> int | None:
    """Return a cell as a rounded number, or None if the cell is not a number."""
    value = _number(cell)
    return None if value is None else round(value)


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _text(value: str | bytes | None) -> str:
    """Return a value as text. Older versions of `pynvml` return bytes."""
    return value.decode() if isinstance(value, bytes) else value or ""
