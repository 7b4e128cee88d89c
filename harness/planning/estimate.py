"""How long trials will take, from records of trials like them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from harness.contract.record import Status, is_complete
from harness.contract.run import RunSpec
from harness.storage import records

#: Wall seconds of a trial outside its clock, evaluations and checkpoints: starting the interpreter, importing torch.
STARTUP_S = 4.0
#: Purposes whose trials are shorter or longer than the workload's budget.
GATE_PURPOSES = frozenset({"gate", "gate-envelope", "confirm"})


class _Name(msgspec.Struct):
    name: str


class _Workload(msgspec.Struct):
    facts: _Name


class _Spec(msgspec.Struct):
    submission: _Name
    workload: _Workload
    hardware: str
    purpose: str = "score"
    smoke: bool = False


class _Spent(msgspec.Struct):
    seconds: float = 0.0


class _Off(msgspec.Struct):
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    import_seconds: float = 0.0


class _Cost(msgspec.Struct):
    """The few fields of a record that say what it cost; the rest is skipped, so that thousands are read quickly."""

    spec: _Spec
    status: Status
    counters: _Spent
    usage: _Off


class Estimates:
    """Wall seconds of trials, from earlier ones of the same hardware class.

    Args:
        folders: where records lie.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        decoder = msgspec.json.Decoder(_Cost)
        self._pairs: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._workloads: dict[tuple[str, str], list[float]] = defaultdict(list)
        for stored in records.iter_json(folders, []):
            try:
                cost = decoder.decode(stored.content)
            except msgspec.DecodeError:
                continue
            if not (is_complete(cost.status) or cost.status == "timeout") or cost.spec.smoke:
                continue
            # Gates run to budgets of their own, a fraction of the workload's.
            if cost.spec.purpose in GATE_PURPOSES:
                continue
            off = cost.usage
            wall = cost.counters.seconds + off.evaluation_seconds + off.checkpoint_seconds + off.import_seconds
            place = cost.spec.hardware, cost.spec.workload.facts.name
            self._pairs[(*place, cost.spec.submission.name)].append(wall + STARTUP_S)
            self._workloads[place].append(wall + STARTUP_S)

    def of(self, spec: RunSpec) -> float | None:
        """Median wall seconds of such trials: of this submission, else of any on this workload; None for no record.

        A smoke run is of another length.
        """
        if spec.smoke:
            return None
        place = spec.hardware, spec.workload.facts.name
        seconds = self._pairs.get((*place, spec.submission.name)) or self._workloads.get(place)
        return statistics.median(seconds) if seconds else None

    def total(self, specs: Sequence[RunSpec], jobs: int = 1) -> tuple[float, int]:
        """Wall seconds for all of them, so many at once, and how many trials nothing is known of."""
        known = [seconds for spec in specs if (seconds := self.of(spec)) is not None]
        return sum(known) / max(1, jobs), len(specs) - len(known)
