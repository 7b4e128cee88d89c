"""Compare two final metrics on streams: the metric at the end of the last stage, and the mean over the stages.

Run `python -m studies.stage_means`. It reads the published runs of the envelopes in `calibration/` and prints a table
in Markdown, which is in docs/adr/0029-mean-over-stages.md.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.contract.envelope import ReferenceEnvelope
from harness.contract.record import Record
from harness.scoring.final_metric import final_metric
from harness.storage.envelopes import ENVELOPES_FOLDER, read_envelopes
from harness.storage.layout import file_stem
from harness.storage.records import read_all

ROOT = Path(__file__).resolve().parents[1]
#: Folder of the records of calibrations and envelopes.
RUNS = ROOT / "calibration" / "runs"


def spread_of_log_multiplier(metrics: Mapping[int, Sequence[float]], budget: int) -> float:
    """Return the standard deviation of the reference's log multiplier at a budget.

    It is the standard deviation of the metric over seeds, divided by the slope of the mean metric over the log budget.
    The slope is the one between the neighbouring horizons.

    Args:
        metrics: horizon in examples -> metrics of the seeds.
        budget: one of the horizons, but not the smallest or the largest one.
    """
    horizons = sorted(metrics)
    i = horizons.index(budget)
    below, above = horizons[i - 1], horizons[i + 1]
    slope = (statistics.fmean(metrics[above]) - statistics.fmean(metrics[below])) / math.log(above / below)
    return statistics.stdev(metrics[budget]) / abs(slope)


def last_metric(record: Record) -> float:
    """Return the primary metric at the last evaluation of a run."""
    return record.points[-1].metrics[record.spec.workload.facts.targets[0].metric]


def mean_over_stages(record: Record) -> float:
    """Return the final metric of a run.

    Raises:
        ValueError: the run broke down.
    """
    value, reason = final_metric(record)
    if value is None:
        raise ValueError(f"{record.run_id} broke down: {reason}")
    return value


def table_row(envelope: ReferenceEnvelope) -> str:
    """Return the row of a stream: its budget, the number of seeds, and the spreads with both metrics."""
    folder = RUNS / file_stem(envelope.workload.partition("@")[0])
    records, problems = read_all([folder])
    if problems:
        raise ValueError("; ".join(problems))
    by_id = {record.run_id: record for record in records}

    def spread(metric_of: Callable[[Record], float]) -> str:
        metrics = {one.examples: [metric_of(by_id[run]) for run in one.runs] for one in envelope.horizons}
        return f"{spread_of_log_multiplier(metrics, envelope.budget):.2f}"

    cells = (f"`{envelope.workload}`", f"{envelope.budget:,}", str(envelope.seeds))
    return f"| {' | '.join((*cells, spread(last_metric), spread(mean_over_stages)))} |"


def main() -> None:
    """Print the table."""
    print("| workload | examples | seeds | spread of log *M*, end of the last stage | mean over stages |")
    print("|---|---|---|---|---|")
    for envelope in read_envelopes(ROOT / ENVELOPES_FOLDER).values():
        if envelope.metric.endswith("(mean over stages)"):
            print(table_row(envelope))


if __name__ == "__main__":
    main()
