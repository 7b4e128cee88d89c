"""Whether a run's GPUs were slowed down, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.contract.record import DeviceLog

#: What a card does to protect itself: seconds measured then are not those of its class.
SLOWDOWNS = frozenset({"hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "power brake"})
#: Below this share of the readings nothing is said: a card may cross a threshold for a moment.
SHARE = 0.05


def slowdown(log: DeviceLog | None) -> str:
    """What slowed a run's GPUs down and how often; empty when nothing did, or nobody looked.

    A power limit is no slowdown: at full load many cards run at theirs, and it is part of what they are.

    >>> from harness.contract.record import Device, GpuSample
    >>> hot = GpuSample(device=0, sm_mhz=900, temperature_c=91, slowed=("software thermal slowdown",))
    >>> slowdown(DeviceLog(by="NVML", devices=(Device(name="NVIDIA H200"),), readings=(hot, hot)))
    'software thermal slowdown in 2 of 2 readings, down to 900 MHz, up to 91 °C'
    """
    if log is None or not log.readings:
        return ""
    counts = Counter(why for reading in log.readings for why in reading.slowed if why in SLOWDOWNS)
    often = {why: count for why, count in counts.items() if count >= SHARE * len(log.readings)}
    if not often:
        return ""
    slow = [reading for reading in log.readings if SLOWDOWNS & set(reading.slowed)]
    reasons = ", ".join(f"{why} in {count} of {len(log.readings)} readings" for why, count in sorted(often.items()))
    heat = [reading.temperature_c for reading in slow if reading.temperature_c is not None]
    return f"{reasons}, down to {min(r.sm_mhz for r in slow)} MHz" + (f", up to {max(heat)} °C" if heat else "")


def throttling_note(runs: Iterable[tuple[str, str]], total: int, most: int = 3) -> str:
    """One line for a table: which runs were slowed down; empty when no run was.

    Args:
        runs: name and `slowdown` of each.
        total: runs in the table.
        most: how many are named.
    """
    slowed = [f"{name} ({why})" for name, why in runs if why]
    if not slowed:
        return ""
    more = f", and {len(slowed) - most} more" if len(slowed) > most else ""
    return (
        f"{len(slowed)} of {total} runs were on a GPU that slowed itself down, so their seconds are too many: "
        + ", ".join(slowed[:most])
        + more
    )
