"""The tables of docs/power.md are those of the published rows."""

from __future__ import annotations

from studies.power.design import BUDGETS, read_design
from studies.power.rows import published_rows
from tools import make_power


def test_the_committed_page_is_up_to_date() -> None:
    committed = make_power.PAGE.read_text()
    assert committed == make_power.page(), "stale: run python -m tools.make_power and commit the page"


def test_every_workload_and_budget_has_a_complete_row_or_a_command() -> None:
    design, rows = read_design(), published_rows()
    commands = make_power.missing(rows, design)
    complete = {(row.workload.partition("@")[0], row.budget_name) for row in rows if not row.partial}
    for workload in design.workloads:
        for budget in BUDGETS:
            command = f"--workloads {workload} --budgets {budget}`"
            assert ((workload, budget) in complete) != (command in commands)
