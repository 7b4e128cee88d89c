"""Writes the table of docs/calibration.md from `calibration/*.json`.

usage: python docs/make_calibration.py            (a test fails when the table is stale)
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.calibration.results import Calibration, Level
from harness.plugins.registry import load_registry

REGISTRY = load_registry()
HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "calibration"
BEGIN, END = "<!-- table: python docs/make_calibration.py -->\n", "<!-- end of table -->\n"


def tables() -> str:
    """The tables of pools and of streams, as Markdown."""
    made = [msgspec.json.decode(path.read_bytes(), type=Calibration) for path in sorted(FOLDER.glob("*.json"))]
    pools = [_pool(one) for one in made if not one.stages]
    streams = [_stream(one) for one in made if one.stages]
    heads = (
        ("calibrated", "best of the references", "easy", "**main**", "hard", "anchor's way to main", "resolution"),
        (
            "calibrated",
            "best of the references",
            "values by the rule",
            "slack",
            "fresh seeds that then reach the end",
            "evaluations that count",
            "resolution",
        ),
    )
    return "\n".join([*_table(heads[0], pools), "", *_table(heads[1], streams), ""])


def page() -> str:
    """The page with the tables as they should be."""
    text = (HERE / "calibration.md").read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{tables()}{END}{after}"


def _pool(made: Calibration) -> list[str]:
    level = made.levels["main"]
    values = [f"{made.levels[name].value:g}" for name in ("easy", "main", "hard")]
    return [f"`{made.workload}`", _best(made), values[0], f"**{values[1]}**", values[2], _way(level), _resolution(made)]


def _stream(made: Calibration) -> list[str]:
    values = ", ".join(f"{stage.value:g}" for stage in made.stages)
    slack = "none will do" if made.slack is None else f"{made.slack:g}"
    reach = str(len(made.checks)) if made.checks else "–"
    evaluations = "–" if made.evaluations is None else f"{made.evaluations:g}"
    return [f"`{made.workload}`", _best(made), values, slack, reach, evaluations, _resolution(made)]


def _resolution(made: Calibration) -> str:
    """That of the runs, or where they reported no standard error the one that was found otherwise."""
    if made.resolution is not None:
        return _percent(made.resolution)
    known = REGISTRY.workload(made.workload.partition("@")[0]).facts.resolution
    return "not known" if known is None else f"{_percent(known)}*"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _best(made: Calibration) -> str:
    setting = next(s for s in made.settings if s.submission == made.best)
    return f"`{made.best.partition('@')[0]}`, lr {setting.hparams['lr']:g}"


def _way(level: Level) -> str:
    hits = [n for n in level.examples if n is not None]
    return f"{len(hits)} of {len(level.examples)}, median {statistics.median(hits):,.0f} examples"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


if __name__ == "__main__":
    (HERE / "calibration.md").write_text(page())
