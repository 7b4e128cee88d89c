"""Describes how a run's GPUs were throttled (slowed down by heat or by hardware limits)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.contract.record import DeviceLog

#: GPU states with reduced clocks. Seconds measured in these states are not comparable with those of other runs of the
#: hardware class.
THROTTLING_STATES = frozenset(
    {"hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "power brake"}
)
#: A state is reported only if at least this fraction of the readings shows it. A state that a GPU has for a short time
#: may have no effect on the result.
MIN_FRACTION = 0.05


def slowdown(log: DeviceLog | None) -> str:
    """Return a description of the throttling states of a run's GPUs; empty if too few readings show one.

    A GPU at its power limit is not reported. Many GPUs reach their power limit at full load, so the limit is a property
    of the hardware class.

    >>> from harness.contract.record import Device, GpuSample
    >>> hot = GpuSample(device=0, sm_mhz=900, temperature_c=91, slowed=("software thermal slowdown",))
    >>> slowdown(DeviceLog(by="NVML", devices=(Device(name="NVIDIA H200"),), readings=(hot, hot)))
    'software thermal slowdown in 2 of 2 readings, down to 900 MHz, up to 91 °C'
    """
    if log is None or not log.readings:
        return ""
    counts = Counter(state for reading in log.readings for state in reading.slowed if state in THROTTLING_STATES)
    frequent = {state: count for state, count in counts.items() if count >= MIN_FRACTION * len(log.readings)}
    if not frequent:
        return ""
    throttled = [reading for reading in log.readings if THROTTLING_STATES & set(reading.slowed)]
    states = ", ".join(
        f"{state} in {count} of {len(log.readings)} readings" for state, count in sorted(frequent.items())
    )
    degrees = [reading.temperature_c for reading in throttled if reading.temperature_c is not None]
    hottest = f", up to {max(degrees)} °C" if degrees else ""
    return f"{states}, down to {min(reading.sm_mhz for reading in throttled)} MHz{hottest}"


def throttling_note(runs: Iterable[tuple[str, str]], total: int, max_names: int = 3) -> str:
    """Return a line that names the throttled runs of a table; empty if no run was throttled.

    Args:
        runs: name and result of `slowdown` of each run.
        total: number of runs in the table.
        max_names: largest number of names in the line.
    """
    throttled = [f"{name} ({states})" for name, states in runs if states]
    if not throttled:
        return ""
    more = f", and {len(throttled) - max_names} more" if len(throttled) > max_names else ""
    names = ", ".join(throttled[:max_names]) + more
    return f"{len(throttled)} of {total} runs were on a throttled GPU, so their seconds are too high: {names}"
