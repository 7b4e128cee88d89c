"""Whether a run's GPUs were slowed down, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.contract.record import DeviceLog

#: States in which a GPU protects itself; seconds measured then are not those of its hardware class.
THROTTLING_STATES = frozenset({"hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "power brake"})
#: Below this share of the readings a state is ignored: a GPU may cross a threshold for a moment.
SHARE = 0.05


def slowdown(log: DeviceLog | None) -> str:
    """The states that slowed a run's GPUs down, and how often; empty without such a state or without readings.

    A power limit is not a slowdown: many GPUs run at theirs under full load, so it belongs to their class.

    >>> from harness.contract.record import Device, GpuSample
    >>> hot = GpuSample(device=0, sm_mhz=900, temperature_c=91, slowed=("software thermal slowdown",))
    >>> slowdown(DeviceLog(by="NVML", devices=(Device(name="NVIDIA H200"),), readings=(hot, hot)))
    'software thermal slowdown in 2 of 2 readings, down to 900 MHz, up to 91 °C'
    """
    if log is None or not log.readings:
        return ""
    counts = Counter(state for reading in log.readings for state in reading.slowed if state in THROTTLING_STATES)
    frequent = {state: count for state, count in counts.items() if count >= SHARE * len(log.readings)}
    if not frequent:
        return ""
    slow = [reading for reading in log.readings if THROTTLING_STATES & set(reading.slowed)]
    states = ", ".join(
        f"{state} in {count} of {len(log.readings)} readings" for state, count in sorted(frequent.items())
    )
    degrees = [reading.temperature_c for reading in slow if reading.temperature_c is not None]
    return f"{states}, down to {min(r.sm_mhz for r in slow)} MHz" + (f", up to {max(degrees)} °C" if degrees else "")


def throttling_note(runs: Iterable[tuple[str, str]], total: int, most: int = 3) -> str:
    """One line for a table: which runs were slowed down; empty when no run was.

    Args:
        runs: name and `slowdown` of each run.
        total: runs in the table.
        most: names that are listed.
    """
    slowed = [f"{name} ({states})" for name, states in runs if states]
    if not slowed:
        return ""
    more = f", and {len(slowed) - most} more" if len(slowed) > most else ""
    return (
        f"{len(slowed)} of {total} runs were on a GPU that slowed itself down, so their seconds are too high: "
        + ", ".join(slowed[:most])
        + more
    )
