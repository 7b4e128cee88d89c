"""Exports records: one row per run as CSV or Parquet, and evaluation results for model pages of the Hugging Face Hub.

Source: Evaluation Results, https://huggingface.co/docs/hub/eval-results, and the specification in
https://github.com/huggingface/hub-docs/blob/main/eval_results.yaml
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from harness.contract.attestation import Attestation
from harness.contract.marks import Mark
from harness.contract.record import Record
from harness.report.escaping import escape_csv
from harness.scoring.leaderboard import Leaderboard, LeaderboardRow
from harness.scoring.run_overview import run_overview
from harness.scoring.trust import trust_level

#: Columns of every export, before the columns of hyperparameters.
RUN_COLUMNS: Final = (
    *("run_id", "content_hash", "submission", "version", "source_hash", "distribution", "workload", "workload_version"),
    *("tier", "hardware", "ruleset", "ranked", "purpose", "study", "trial", "root_seed", "nonce", "status", "hit"),
    *("metric", "goal", "target", "best", "final", "examples", "gradient_examples", "steps", "seconds"),
    *("process_seconds", "scored_seconds", "clock", "parameters", "peak_memory_bytes", "trust", "sandbox", "doubt"),
    *("started", "finished"),
)
#: Name of the folder for evaluation results in the repository of a model.
EVAL_RESULTS: Final = ".eval_results"


def run_row(record: Record, attestations: Sequence[Attestation] = (), mark: Mark | None = None) -> dict[str, Any]:
    """Return the row of a run.

    `examples`, `gradient_examples`, `steps` and the seconds are measured at the hit, or at the end of a run without a
    hit. `best` and `final` are values of the primary metric.

    Args:
        record: the record.
        attestations: attestations that are stored beside the record.
        mark: the mark of the record; None if it has none.
    """
    spec, facts, overview = record.spec, record.spec.workload.facts, run_overview(record)
    end = record.points[-1 if record.hit is None else record.hit] if record.points else None
    target = overview.target
    values = (
        *(record.run_id, record.content_hash, spec.submission.name, spec.submission.version),
        *(spec.submission.source_hash, spec.submission.distribution, facts.name, facts.version, facts.tier),
        *(spec.hardware, spec.ruleset.id, spec.ruleset.ranked, spec.purpose),
        *(spec.study, spec.trial, spec.root_seed, spec.nonce.value if spec.nonce else "", record.status),
        record.hit is not None,
        *((target.metric, target.goal, target.value) if target else ("", "", None)),
        *(overview.best, overview.final),
        *((end.examples, end.gradient_examples, end.steps, end.seconds, end.process_seconds) if end else [None] * 5),
        *(end.scored(spec.clock) if end else None, spec.clock),
        *(record.usage.parameters, record.usage.peak_memory_bytes, trust_level(record, attestations), record.sandbox),
        *(mark.why if mark else "", record.started, record.finished),
    )
    hparams = {f"hparam.{name}": value for name, value in spec.hparams.items()}
    return {**dict(zip(RUN_COLUMNS, values, strict=True)), **hparams}


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as CSV. An apostrophe is put before a text that a spreadsheet would evaluate as a formula."""
    listed = list(rows)
    columns = dict.fromkeys([*RUN_COLUMNS, *(name for row in listed for name in row)])
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: escape_csv(value) for name, value in row.items()} for row in listed)
    return out.getvalue()


def hub_files(boards: Sequence[Leaderboard], dataset: str, dates: dict[str, str], source: str = "") -> dict[str, str]:
    """Return the contents of the files for the folder `.eval_results` of a model's repository, by file name.

    There is one file for each submission, hardware class and ruleset. It contains one result for each workload on which
    the reference reached the target: the time of the reference divided by the time of the submission. The result is
    above 1 if the submission is faster than the reference, and 0 for a miss. A further result, `anchored`, is the
    anchored score.

    Args:
        boards: the leaderboards. A leaderboard without a reference, or of a metric at a budget, gives no file.
        dataset: id of the dataset on the Hub that hosts the benchmark, such as `algorace/results`.
        dates: the day on which each submission last ran (ISO 8601), by `name@version` of the submission.
        source: address of the published records; may be empty.
    """
    files = {}
    for board in boards:
        reference = next((row for row in board.rows if row.submission == board.reference), None)
        if reference is None or board.query.metric_budget is not None:
            continue
        for row in board.rows:
            name = re.sub(r"[^A-Za-z0-9]+", "_", f"{row.submission}_{board.ruleset}_{board.hardware}").strip("_")
            results = _hub_results(board, row, reference, dataset, dates.get(row.submission, ""), source)
            files[f"algorace_{name}.yaml"] = yaml.safe_dump(results, sort_keys=False, allow_unicode=True)
    return files


def _hub_results(
    board: Leaderboard, row: LeaderboardRow, reference: LeaderboardRow, dataset: str, date: str, source: str
) -> list[dict[str, Any]]:
    values = {} if row.anchored is None else {"anchored": row.anchored}
    for workload, cell in row.cells.items():
        reference_cell = reference.cells.get(workload)
        if reference_cell is not None and math.isfinite(reference_cell.value):
            speed = reference_cell.value / cell.value if math.isfinite(cell.value) else 0.0
            values[workload.partition("@")[0]] = speed
    doubt = f", {row.doubted} doubted run(s)" if row.doubted else ""
    notes = (
        f"{row.submission}, speed relative to {reference.submission}, {board.ruleset}, {board.hardware}, "
        f"n = {row.n[0]}, {row.trust}{doubt}"
    )
    return [
        {
            "dataset": {"id": dataset, "task_id": task},
            "value": round(value, 4),
            **({"date": date} if date else {}),
            **({"source": {"url": source, "name": "AlgoRace records"}} if source else {}),
            "evaluation_framework": "algorace",
            "notes": notes,
        }
        for task, value in values.items()
    ]
