"""Which runs of a table count if its runs have several versions, budgets or targets of a workload."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.workload import Target, WorkloadFacts, scale_budget
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.selection import keep_newest_versions
from harness.scoring.summary import LeaderboardQuery, summarize
from tests.scoring.builders import facts, record, spec, stream

INSTALLED = facts()
EASY = facts(targets=(Target(metric="loss", goal="min", value=1.9),))


def runs(
    workload: WorkloadFacts = INSTALLED, started: str = "2026-01-01T00:00:00+00:00", **changes: Any
) -> list[Record]:
    return [record(spec("a", workload, study=study, **changes), started=started) for study in range(3)]


@pytest.mark.parametrize(
    "invented",
    [record(spec("b", EASY), started="9999-01-01T00:00:00+00:00"), record(spec("b", facts(version="999")))],
    ids=["later start", "higher version"],
)
def test_one_invented_record_does_not_displace_the_others(invented: Record) -> None:
    selected, skipped = keep_newest_versions([*runs(), invented], [INSTALLED])
    assert selected == runs()
    assert [item.reason for item in skipped] in (
        ["the installed workload w@1 has another budget or target"],
        ["w@1 is the installed version"],
    )
    query = LeaderboardQuery()
    (board,) = build_leaderboards([summarize(run, query) for run in [*runs(), invented]], query, [INSTALLED])
    assert [row.submission for row in board.rows] == ["a@1"]


def test_runs_of_earlier_versions_alone_are_compared_as_if_nothing_were_installed() -> None:
    old, newer = runs(facts(version="1")), runs(facts(version="2"))
    for installed in ([], [facts(version="3")], [facts(name="other")]):
        selected, skipped = keep_newest_versions([*old, *newer], installed)
        assert selected == newer
        assert {item.reason for item in skipped} == {"w@2 is newer"}


def test_without_a_run_of_the_installed_target_the_latest_run_decides() -> None:
    earlier, later = runs(EASY), runs(facts(levels={}), started="2026-02-01T00:00:00+00:00")
    other = facts(targets=(Target(metric="loss", goal="min", value=0.5),))
    selected, skipped = keep_newest_versions([*earlier, *later], [other])
    assert selected == later
    assert {item.reason for item in skipped} == {"the latest run of w@1 has another budget or target"}


@pytest.mark.parametrize("workload", [INSTALLED, stream()], ids=["pool", "stream"])
def test_the_installed_budget_is_multiplied_as_the_ruleset_says(workload: WorkloadFacts) -> None:
    rules = Ruleset(name="longer", version="1", summary="", trials=1, studies=1, budget_factor=1.5)
    honest = runs(scale_budget(workload, 1.5), ruleset=rules)
    invented = msgspec.structs.replace(runs(EASY, ruleset=rules)[0], started="9999-01-01T00:00:00+00:00")
    assert keep_newest_versions([*honest, invented], [workload])[0] == honest
