"""What the driver says of the GPUs: their names, limits and present state, without torch.

Source: NVIDIA, NVML API reference, nvmlClocksEventReasons (bits of why clocks are below their maximum).
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

#: Seconds that a program of a driver may take; a card that has fallen off the bus makes it hang.
PATIENCE_S = 10.0
#: Why clocks are below their maximum, by bit; 2 and 16 are somebody's setting.
REASONS = {
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
_STATIC = "index,uuid,name,memory.total,driver_version,power.limit,clocks.max.sm,clocks.max.mem,mig.mode.current"
_PRESENT = "index,clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_throttle_reasons.active"

Run = Callable[..., str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU of this machine: `index` in the driver's order (by bus), `device` for records."""

    index: int
    uuid: str
    device: Device
    maker: Literal["nvidia", "amd"] = "nvidia"


class Driver(Protocol):
    """A way to ask a driver."""

    name: str

    def gpus(self) -> tuple[Gpu, ...]:
        """Every GPU of this machine; empty when there is none, or no driver."""
        ...

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        """Their present state; without those that cannot be read."""
        ...


def output(*command: str) -> str:
    """What a program prints, or an empty string when it is not there, fails or hangs."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def driver() -> Driver:
    """NVML where the package `nvidia-ml-py` is installed and finds a driver; otherwise NVIDIA's or AMD's program."""
    for made in (Nvml.opened, NvidiaSmi, RocmSmi):
        found = made()
        if found is not None and found.gpus():
            return found
    return NvidiaSmi()


# --- NVIDIA -------------------------------------------------------------------------------------


class Nvml:
    """The driver's library through `pynvml`: a reading is a few calls, and no process is started for it.

    Args:
        nvml: the module, after `nvmlInit`.
    """

    name = "NVML"

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._handles: dict[int, Any] = {}

    @classmethod
    def opened(cls) -> Nvml | None:
        """None without the package or without a driver."""
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # ImportError, NVMLError, or whatever a broken installation raises
            return None
        return cls(pynvml)

    def gpus(self) -> tuple[Gpu, ...]:
        found = []
        for index in range(self._ask(self._nvml.nvmlDeviceGetCount) or 0):
            handle = self._ask(self._nvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None:
                self._handles[index] = handle
                found.append(self._gpu(index, handle))
        return tuple(found)

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
        readings = []
        for gpu in gpus:
            handle = self._handles.get(gpu.index)
            sm = None if handle is None else ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)
            if sm is None:
                continue
            readings.append(
                GpuSample(
                    device=gpu.index,
                    sm_mhz=sm,
                    memory_mhz=ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
                    power_w=_watts(ask(nvml.nvmlDeviceGetPowerUsage, handle)),
                    temperature_c=ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
                    slowed=throttle_reasons(ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0),
                )
            )
        return readings

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The answer, or None: cards and drivers do not answer every question."""
        with contextlib.suppress(self._nvml.NVMLError):
            return function(*arguments)
        return None


class NvidiaSmi:
    """NVIDIA's program: a process for each reading.

    Args:
        run: runs a program and gives its output.
    """

    name = "nvidia-smi"

    def __init__(self, run: Run = output) -> None:
        self._run = run

    def gpus(self) -> tuple[Gpu, ...]:
        found = []
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
            found.append(Gpu(index=int(index), uuid=uuid, device=device))
        return tuple(found)

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        wanted = {gpu.index for gpu in gpus}
        # The field was renamed; drivers know one name, the other, or both.
        rows = self._query(_PRESENT) or self._query(_PRESENT.replace("throttle", "event"))
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
            if int(index) in wanted and _number(sm) is not None
        ]

    def _query(self, fields: str) -> list[list[str]]:
        """Rows with a cell per field; what is none, such as a complaint about a lost card, is left out."""
        text = self._run("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
        return [row for row in rows if len(row) == fields.count(",") + 1 and row[0].isdecimal()]


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """Why clocks are below their maximum, in words.

    >>> reasons(0x24), reasons(0)
    (('power limit', 'software thermal slowdown'), ())
    """
    return tuple(word for bit, word in REASONS.items() if bits & bit)


# --- AMD ----------------------------------------------------------------------------------------


class RocmSmi:
    """AMD's program, for names and memory; written from its documentation, and untested on such a machine.

    Args:
        run: runs a program and gives its output.
    """

    name = "rocm-smi"

    def __init__(self, run: Run = output) -> None:
        self._run = run

    def gpus(self) -> tuple[Gpu, ...]:
        text = self._run("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json")
        try:
            cards = json.loads(text or "{}")
        except ValueError:
            return ()
        # Versions write the keys in different case.
        plain = {card: {key.lower(): str(value) for key, value in said.items()} for card, said in cards.items()}
        version = plain.get("system", {}).get("driver version", "")
        return tuple(
            Gpu(
                index=int(card.removeprefix("card")),
                uuid="",
                device=Device(
                    name=said.get("card series", "unknown AMD GPU"),
                    memory_mib=int(_number(said.get("vram total memory (b)", "")) or 0) >> 20,
                    driver=version,
                ),
                maker="amd",
            )
            for card, said in plain.items()
            if card.removeprefix("card").isdecimal()
        )

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        """Nothing: clocks and power of these are not read."""
        return []


# --- which of them ------------------------------------------------------------------------------


def visible(gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """The GPUs that a program in this environment sees, in its order.

    `CUDA_VISIBLE_DEVICES` names them by index or by the beginning of their UUID, and ends at the first that is unknown;
    `HIP_VISIBLE_DEVICES` does so for AMD's.
    """
    amd = bool(gpus) and gpus[0].maker == "amd"
    named = environment.get("HIP_VISIBLE_DEVICES" if amd else "CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(gpus)
    seen: list[Gpu] = []
    for name in (part.strip() for part in named.split(",")):
        found = [gpu for gpu in gpus if _is_called(gpu, name)]
        if len(found) != 1 or found[0] in seen:
            break
        seen += found
    return tuple(seen)


def _is_called(gpu: Gpu, name: str) -> bool:
    if name.isdecimal():
        return int(name) == gpu.index
    # `MIG-GPU-…/1/0` is a part of `GPU-…`.
    return bool(name) and gpu.uuid.startswith(name.removeprefix("MIG-").partition("/")[0])


def _number(cell: str) -> float | None:
    """A cell as a number; None where a card does not answer (`[N/A]`, `[Not Supported]`)."""
    try:
        return float(cell)
    except ValueError:
        return None


def _whole(cell: str) -> int | None:
    value = _number(cell)
    return None if value is None else round(value)


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _text(said: str | bytes | None) -> str:
    """Older versions of the package answer in bytes."""
    return said.decode() if isinstance(said, bytes) else said or ""
