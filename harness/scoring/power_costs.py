"""The cost of a run in core-seconds: training, evaluation and start, from the ledger of its record."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from harness.contract.power import PowerCost
from harness.contract.record import ON_CLOCK, Phase, Record, Spent

#: The phases in which the worker waits for the evaluator, which is another process.
_EVALUATION: frozenset[Phase] = frozenset({"evaluation"})


def run_cost(record: Record) -> PowerCost:
    """Return the cost of a run. A core-second is a second of processor time.

    - Training and start cost the processor time of the worker. All phases off the clock except the evaluations count as
      start.
    - The cost of the evaluations is estimated, because the ledger does not contain the processor time of the evaluator
      process. The estimate is (wall seconds of the evaluations) × (processor time / wall time of the worker in
      training, at most 1). If the worker itself used more processor time during the evaluations, that time counts.

    If the record has no ledger, the times are taken from the counters and the usage. The usage contains no processor
    time of the start, so the wall seconds are used for it.
    """
    phases = _phases_of(record) if record.ledger is None else record.ledger.phases
    training, evaluation = _sum(phases, ON_CLOCK), _sum(phases, _EVALUATION)
    start = _sum(phases, phases.keys() - ON_CLOCK - _EVALUATION)
    share = min(1.0, training.process_seconds / training.seconds) if training.seconds > 0 else 1.0
    return PowerCost(
        training=training.process_seconds,
        evaluation=max(evaluation.process_seconds, evaluation.seconds * share),
        start=start.process_seconds,
        wall=training.seconds + evaluation.seconds + start.seconds,
    )


def _sum(phases: Mapping[Phase, Spent], names: Collection[Phase]) -> Spent:
    spent = [phases[name] for name in names if name in phases]
    # `fsum`, because the order of the names in a set differs between processes.
    return Spent(
        seconds=math.fsum(each.seconds for each in spent),
        process_seconds=math.fsum(each.process_seconds for each in spent),
    )


def _phases_of(record: Record) -> Mapping[Phase, Spent]:
    counters, usage = record.counters, record.usage
    start = usage.start_seconds + usage.checkpoint_seconds
    return {
        "training": Spent(seconds=counters.seconds, process_seconds=counters.process_seconds),
        "evaluation": Spent(seconds=usage.evaluation_seconds),
        "start": Spent(seconds=start, process_seconds=start),
    }
