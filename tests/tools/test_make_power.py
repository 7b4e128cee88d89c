"""The tables of docs/power.md are those of the published rows."""

from __future__ import annotations

from harness.plugins.registry import load_registry
from studies.power.design import BUDGETS, read_design
from studies.power.rows import published_rows
from tools import make_power


def test_the_committed_page_is_up_to_date() -> None:
    committed = make_power.PAGE.read_text()
    assert committed == make_power.page(), "stale: run python -m tools.make_power and commit the page"


def test_every_workload_and_budget_has_a_complete_row_or_a_command() -> None:
    design, rows = read_design(), published_rows()
    commands = make_power.missing(rows, design)
    complete = {(row.workload, row.budget_name) for row in rows if not row.partial}
    registry = load_registry()
    for workload in design.workloads:
        # A row of an earlier version of the workload does not count.
        workload_id = registry.workload(workload).facts.id
        for budget in BUDGETS:
            command = f"--workloads {workload} --budgets {budget}`"
            assert ((workload_id, budget) in complete) != (command in commands)
