"""Compare two final metrics on streams: the metric at the end of the last stage, and the mean over the stages.

Run `python -m studies.stage_means`. It reads the published runs of the envelopes in `calibration/` and prints a table
in Markdown, which is in docs/adr/0029-mean-over-stages.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from harness.calibration.envelopes import spread_of_log_multiplier
from harness.contract.envelope import ReferenceEnvelope
from harness.contract.record import Record
from harness.plugins.registry import load_registry
from harness.storage.envelopes import ENVELOPES_FOLDER, read_envelopes
from harness.storage.layout import file_stem
from harness.storage.records import read_all
from tools.markdown import table_lines

ROOT = Path(__file__).resolve().parents[1]
#: Folder of the records of calibrations and envelopes.
RUNS = ROOT / "calibration" / "runs"


def last_metric(record: Record) -> float:
    """Return the primary metric at the last evaluation of a run."""
    return record.points[-1].metrics[record.spec.workload.facts.targets[0].metric]


def with_last_metrics(envelope: ReferenceEnvelope, records: Mapping[str, Record]) -> ReferenceEnvelope:
    """Return the envelope of a stream with the metrics at the end of the last stage.

    Args:
        envelope: the envelope.
        records: run ID -> record of a run of the envelope.
    """
    horizons = tuple(
        msgspec.structs.replace(horizon, metrics=tuple(last_metric(records[run]) for run in horizon.runs))
        for horizon in envelope.horizons
    )
    return msgspec.structs.replace(envelope, horizons=horizons)


def table_row(envelope: ReferenceEnvelope) -> list[str]:
    """Return the row of a stream: its budget, the number of seeds, and the spreads with both metrics."""
    records, problems = read_all([RUNS / file_stem(envelope.workload.partition("@")[0])])
    if problems:
        raise ValueError("; ".join(problems))
    at_the_end = with_last_metrics(envelope, {record.run_id: record for record in records})
    spreads = (f"{spread_of_log_multiplier(one):.2f}" for one in (at_the_end, envelope))
    return [f"`{envelope.workload}`", f"{envelope.budget:,}", str(envelope.seeds), *spreads]


def main() -> None:
    """Print the table."""
    registry = load_registry()
    heading = ("workload", "examples", "seeds", "spread of log *M*, end of the last stage", "mean over stages")
    envelopes = read_envelopes(ROOT / ENVELOPES_FOLDER).values()
    streams = [one for one in envelopes if registry.workload(one.workload.partition("@")[0]).facts.stages]
    print("\n".join(table_lines(heading, map(table_row, streams))))


if __name__ == "__main__":
    main()
