"""A kind of stopping is one object: planning and tables take a new one without any other change."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError
from harness.planning import rulesets, stopping_rules
from harness.planning.phases import SubmissionOnWorkload, plan_phases
from harness.planning.stopping_rules import STOPPING_RULES, StoppingRule, stopping_rule
from harness.planning.trials import PlanSettings
from harness.report.stopping_tables import StoppingResults
from harness.scoring.result_table import ResultTable, TableContext
from tests import micro
from tests.helpers import NoParts, submission

QUICK = rulesets.ruleset("quick")


class StopAtHalf(StoppingRule):
    """Ends every trial at half the budget and counts the records."""

    name = "half"
    has_own_tables = True
    json_key = "halves"

    def stop(self, facts: WorkloadFacts, ruleset: Ruleset) -> int | None:
        return facts.budget.horizon // 2

    def tabulate(self, records: Sequence[Record], context: TableContext) -> list[ResultTable]:
        return [
            ResultTable(
                title="halves",
                heading=("records", "share"),
                formats=("d", ".2f"),
                rows=((len(records), 0.5),),
                data=({"records": len(records), "share": float("nan")},),
            )
        ]


@pytest.fixture
def _with_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping_rules, "STOPPING_RULES", {**STOPPING_RULES, "half": StopAtHalf()})
    monkeypatch.setattr("harness.report.stopping_tables.STOPPING_RULES", {"half": StopAtHalf()})


@pytest.mark.usefixtures("_with_half")
def test_a_new_kind_of_stopping_is_planned_and_tabulated() -> None:
    ruleset = msgspec.structs.replace(QUICK, name="mine", stopping="half")
    pair = SubmissionOnWorkload(
        submission=submission("tests.submissions_for_tests:Base"),
        workload=micro.ENTRY,
        settings=PlanSettings(ruleset=ruleset),
    )
    (spec,) = plan_phases([pair], NoParts(), ())
    assert spec.stop == micro.FACTS.budget.horizon // 2
    stops = StoppingResults([])
    assert stops.as_json() == {"halves": [{"records": 0, "share": None}]}
    assert [(grid.title, grid.rows) for grid in stops.grids()] == [("halves", [["0", "0.50"]])]


def test_an_unknown_kind_names_those_that_exist() -> None:
    with pytest.raises(UsageError, match="unknown kind of stopping 'chossen'; did you mean 'chosen'"):
        stopping_rule("chossen")


def test_names_are_those_that_rulesets_and_records_have() -> None:
    assert set(STOPPING_RULES) == {"first-hit", "share", "chosen", "drawn", "budget"}
    assert {ruleset.stopping for ruleset in rulesets.rulesets().values()} <= set(STOPPING_RULES)
