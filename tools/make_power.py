"""Write the tables of docs/power.md from `workloads/power.json` and the design of `studies.power`.

usage: python -m tools.make_power            (a test fails if the tables are stale)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.contract.power import PowerRow
from harness.plugins.registry import load_registry
from harness.report.power import HEADING, LEAST_PER_CORE_HOUR, power_cells, remarks
from studies.power.design import BUDGETS, PowerDesign, read_design
from studies.power.rows import published_rows
from tools.generated_block import replace_block
from tools.markdown import table_lines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "power.md"
COMMAND = "python -m tools.make_power"
#: Columns of the first table, after the first three headings and before `COSTS`.
FIRST = ("pairs separated", "per core-hour", "hard pairs separated", "hard per core-hour", "order at full budget")
COSTS = ("core-seconds per run", "training + evaluation + start")
#: Number of separated pairs per core-hour that at least four workloads should reach.
GOAL = 80


def tables(rows: Sequence[PowerRow]) -> str:
    """Return the two tables and the remarks as Markdown."""
    first = (*HEADING[:3], *FIRST, *COSTS)
    second = (*HEADING[:2], *(name for name in HEADING[3:-1] if name not in first))
    lines = [*_table(first, rows), "", *_with_hardware(_table(second, rows), rows), "", "Remarks:", ""]
    lines += [f"* `{row.workload}`, {row.budget_name}: {note}." for row in rows for note in remarks(row)]
    return "\n".join(lines)


def _table(names: Sequence[str], rows: Sequence[PowerRow]) -> list[str]:
    picked = [HEADING.index(name) for name in names]
    cells = [[power_cells(row)[i] for i in picked] for row in rows]
    marked = [
        [f"`{line[0]}`" + (" (partial)" if row.partial else ""), *line[1:]]
        for row, line in zip(rows, cells, strict=True)
    ]
    return table_lines(names, marked)


def _with_hardware(lines: Sequence[str], rows: Sequence[PowerRow]) -> list[str]:
    """Return a table with the hardware class of each row as another column."""
    return [
        line + cell
        for line, cell in zip(
            lines, [" hardware class |", "---|", *(f" `{row.hardware}` |" for row in rows)], strict=True
        )
    ]


def summary(rows: Sequence[PowerRow]) -> str:
    """Return a table that says which rows separate at least `GOAL` pairs per core-hour, and which fewer."""
    least = LEAST_PER_CORE_HOUR
    rows_by_range = {
        f"At least {GOAL} pairs": [row for row in rows if row.per_core_hour >= GOAL],
        f"Between {least:g} and {GOAL} pairs": [row for row in rows if least <= row.per_core_hour < GOAL],
        f"Fewer than {least:g} pairs": [row for row in rows if row.per_core_hour < least],
    }
    lines = []
    for pairs, chosen in rows_by_range.items():
        names = [
            ", ".join(f"`{row.workload}`" for row in chosen if row.budget_name == budget) or "none"
            for budget in BUDGETS
        ]
        lines.append([pairs, str(len(chosen)), *names])
    heading = ("pairs per core-hour", "rows", *(f"at the {budget} budget" for budget in BUDGETS))
    return "\n".join(table_lines(heading, lines))


def missing(rows: Sequence[PowerRow], design: PowerDesign) -> str:
    """Return a table of the missing and partial rows of the design, with the commands that complete them.

    Only rows of the installed versions count.
    """
    registry = load_registry()
    row_of = {(row.workload, row.budget_name): row for row in rows}
    lines = []
    for workload in design.workloads:
        for budget in BUDGETS:
            row = row_of.get((registry.workload(workload).facts.id, budget))
            if row is None or row.partial:
                state = "no row" if row is None else f"{row.seeds} of {row.planned_seeds} seeds"
                command = f"`python -m studies.power --workloads {workload} --budgets {budget}`"
                lines.append([f"`{workload}`", budget, state, command])
    return "\n".join(table_lines(("workload", "budget", "state", "command that continues"), lines))


def page() -> str:
    """Return the page with up-to-date tables."""
    rows, text = published_rows(), PAGE.read_text()
    for name, content in (
        ("summary", summary(rows)),
        ("tables", tables(rows)),
        ("missing", missing(rows, read_design())),
    ):
        text = replace_block(text, name, COMMAND, content)
    return text


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
