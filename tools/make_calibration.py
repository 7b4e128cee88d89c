"""Write the tables of docs/calibration.md from `calibration/*.json` and `calibration/envelopes/*.json`.

usage: python -m tools.make_calibration            (a test fails if the tables are stale)
"""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec

from harness.calibration.envelopes import own_multiplier, spread_of_log_multiplier
from harness.calibration.results import Calibration, Level
from harness.contract.envelope import ReferenceEnvelope
from harness.scoring.multiplier_tables import format_interval, format_multiplier
from harness.storage.envelopes import read_envelopes
from tools.generated_block import replace_block
from tools.markdown import table_lines

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "calibration.md"
FOLDER = ROOT / "calibration"
POOL_COLUMNS = (
    "workload",
    "best reference",
    "easy target",
    "**main target**",
    "hard target",
    "`adamw-cosine` at the main target",
    "tolerance factor, further seeds",
    "resolution",
)
STREAM_COLUMNS = (
    "workload",
    "best reference",
    "targets of the stages, without the factor",
    "tolerance factor",
    "number of new seeds run with the factor",
    "evaluations after the minimum, median",
    "resolution",
)


ENVELOPE_COLUMNS = (
    "workload",
    "reference",
    "horizons, examples",
    "seeds",
    "mean metric at the budget",
    "spread of log *M* at the budget",
    "*M* of the reference on further seeds",
)


def tables() -> str:
    """Return the tables of pools and of streams as Markdown."""
    calibrations = [msgspec.json.decode(path.read_bytes(), type=Calibration) for path in sorted(FOLDER.glob("*.json"))]
    streams = [calibration for calibration in calibrations if calibration.stages or calibration.uncalibrated]
    pools = [calibration for calibration in calibrations if calibration not in streams]
    return "\n".join(
        [*table_lines(POOL_COLUMNS, map(pool_row, pools)), "", *table_lines(STREAM_COLUMNS, map(stream_row, streams))]
    )


def envelopes() -> str:
    """Return the table of envelopes as Markdown."""
    rows = [_envelope_row(envelope) for _, envelope in sorted(read_envelopes(FOLDER / "envelopes").items())]
    return "\n".join(table_lines(ENVELOPE_COLUMNS, rows))


def page() -> str:
    """Return the page with up-to-date tables."""
    command = "python -m tools.make_calibration"
    return replace_block(
        replace_block(PAGE.read_text(), "tables", command, tables()), "envelopes", command, envelopes()
    )


def _envelope_row(envelope: ReferenceEnvelope) -> list[str]:
    (at_budget,) = (horizon for horizon in envelope.horizons if horizon.examples == envelope.budget)
    own = own_multiplier(envelope)
    return [
        f"`{envelope.workload}`",
        f"`{envelope.reference.partition('@')[0]}`",
        f"{envelope.horizons[0].examples:,} to {envelope.horizons[-1].examples:,}",
        str(envelope.seeds),
        f"{statistics.geometric_mean(at_budget.metrics):.3g}",
        f"{spread_of_log_multiplier(envelope):.2g}",
        f"{format_multiplier(own)} [{format_interval(own)}], {len(envelope.checks)} seeds",
    ]


def pool_row(calibration: Calibration) -> list[str]:
    """Return the row of a pool. A level that too few seeds reached is missing in a calibration."""
    levels = [calibration.levels.get(name) for name in ("easy", "main", "hard")]
    easy, main, hard = ("–" if level is None else f"{level.value:g}" for level in levels)
    return [
        f"`{calibration.workload}`",
        _best(calibration),
        easy,
        f"**{main}**",
        hard,
        _examples_to_target(calibration.levels.get("main")),
        f"{calibration.slack:g}, {len(calibration.checks)} seeds" if calibration.slack else "–",
        _resolution(calibration),
    ]


def stream_row(calibration: Calibration) -> list[str]:
    """Return the row of a stream."""
    values = ", ".join(f"{stage.value:g}" for stage in calibration.stages) or "–"
    tolerance = calibration.missing_factor or f"{calibration.slack:g}"
    check_count = str(len(calibration.checks)) if calibration.checks else "–"
    evaluations = "–" if calibration.evaluations is None else f"{calibration.evaluations:g}"
    return [
        f"`{calibration.workload}`",
        _best(calibration),
        values,
        tolerance,
        check_count,
        evaluations,
        _resolution(calibration),
    ]


def _resolution(calibration: Calibration) -> str:
    return "unknown" if calibration.resolution is None else f"{100 * calibration.resolution:.2g} %"


def _best(calibration: Calibration) -> str:
    setting = next(s for s in calibration.settings if s.submission == calibration.best)
    return f"`{calibration.best.partition('@')[0]}`, lr {setting.hparams['lr']:g}"


def _examples_to_target(level: Level | None) -> str:
    if level is None:
        return "–"
    hits = [n for n in level.examples if n is not None]
    median = f"{statistics.median(hits):,.0f}" if hits else "–"
    return f"{len(hits)} of {len(level.examples)} seeds, median {median} examples"


if __name__ == "__main__":
    PAGE.write_text(page())
