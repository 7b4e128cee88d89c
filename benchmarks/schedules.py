"""Measure the microseconds per update of each installed schedule with its default hyperparameters.

An update creates a `Progress` and calls the schedule. Times are processor times of one thread. Each time is the minimum
over several repetitions, because other load on the machine can only increase a measured time.

    python benchmarks/schedules.py [--updates 20000] [--repetitions 7]
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from time import process_time

from harness.contract import hyperparameters
from harness.contract.entries import PartEntry
from harness.contract.schedule import Factors, Progress
from harness.plugins import loading
from harness.plugins.loading import select_keywords
from harness.plugins.registry import load_registry

#: Maximum microseconds per update.
LIMIT = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    bare = measure_schedule(lambda p: 1.0, options.updates, options.repetitions)
    print(f"{'(nothing)':<28}{bare:6.2f} µs")
    slow = []
    for part in load_registry().parts():
        if part.kind == "schedule":
            microseconds = measure_schedule(bind_defaults(part), options.updates, options.repetitions)
            print(f"{part.name:<28}{microseconds:6.2f} µs")
            slow += [part.name] if microseconds > LIMIT else []
    print(f"over {LIMIT:g} µs: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


def bind_defaults(part: PartEntry) -> Callable[[Progress], Factors | float]:
    """Return the schedule with its default hyperparameters bound, as a recipe calls it."""
    schedule = loading.load_object(part.load)
    values = {name: hyperparameters.default(domain) for name, domain in part.space.items()}
    return functools.partial(schedule, **select_keywords(schedule, values))


def measure_schedule(schedule: Callable[[Progress], Factors | float], updates: int, repetitions: int) -> float:
    """Return the microseconds per update: the minimum over the repetitions."""
    best = float("inf")
    for _ in range(repetitions):
        began = process_time()
        for t in range(updates):
            schedule(
                Progress(step=t, horizon=updates, examples=256 * t, tokens=2**20 * t, batch_size=256, task_index=None)
            )
        best = min(best, process_time() - began)
    return 1e6 * best / updates


if __name__ == "__main__":
    raise SystemExit(main())
