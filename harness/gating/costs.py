"""What runs to a gate budget will cost, from the time per example of earlier runs of any length."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from harness.contract.run import RunSpec
from harness.planning.estimate import STARTUP_S
from harness.storage.records import iter_stored


class _NamedWorkload(msgspec.Struct):
    name: str


class _FactsOnly(msgspec.Struct):
    facts: _NamedWorkload


class _PricedSpec(msgspec.Struct):
    workload: _FactsOnly
    hardware: str


class _Examples(msgspec.Struct):
    examples: int = 0
    seconds: float = 0.0


class _OffClock(msgspec.Struct):
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0


class _PricedRun(msgspec.Struct):
    """The few fields of a record that say what an example cost; the rest is skipped."""

    spec: _PricedSpec
    counters: _Examples
    usage: _OffClock


class GateCosts:
    """Wall seconds of runs by hardware class and workload.

    Args:
        folders: where records lie.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        decoder = msgspec.json.Decoder(_PricedRun)
        self._rates: dict[tuple[str, str], list[float]] = defaultdict(list)
        for stored in iter_stored((folder for folder in folders if folder.is_dir()), []):
            try:
                run = decoder.decode(stored.content)
            except msgspec.DecodeError:
                continue
            seconds = run.counters.seconds + run.usage.evaluation_seconds + run.usage.checkpoint_seconds
            if run.counters.examples:
                place = run.spec.hardware, run.spec.workload.facts.name
                self._rates[place].append(seconds / run.counters.examples)

    def minutes(self, specs: Sequence[RunSpec]) -> float | None:
        """Wall minutes of these runs, one after the other; None where nothing is known of one of them."""
        total = 0.0
        for spec in specs:
            rates = self._rates.get((spec.hardware, spec.workload.facts.name))
            if not rates:
                return None
            total += STARTUP_S + statistics.median(rates) * spec.workload.facts.budget.horizon
        return total / 60
