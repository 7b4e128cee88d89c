"""`bench power` and the row of `bench show`: published numbers, workloads without numbers, and damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from harness import cli
from harness.contract.power import OrderAgreement, PowerCost, PowerRow
from harness.errors import StoreError
from harness.plugins import package_files
from harness.plugins.package_files import published_power
from harness.plugins.registry import load_registry
from harness.report.power import power_cells, power_summary, remarks

ROW = PowerRow(
    workload="w@1", budget_name="gate", budget=100, metric="loss", goal="min", scale="log M", arms=("a", "b"), seeds=5,
    planned_seeds=5, pairs=120, separated=60, hard=10, hard_separated=2, core_hours=0.5,
    cost=PowerCost(training=1.0, evaluation=1.0, start=1.0, wall=4.0), spread_metric=0.1, spread_multiplier=0.2,
    residual=0.1, correlation=0.5, range_over_spread=3.0, false_rate=0.03, false_low=0.02, false_high=0.04,
    permutations=1000, agreement=OrderAgreement(decided=60, same_order=50, both=40, both_same_order=38), hardware="cpu",
    torch="2",
)  # fmt: skip


def change(**fields: object) -> PowerRow:
    return msgspec.structs.replace(ROW, **fields)


def test_a_complete_row_that_meets_the_goals_has_no_remark() -> None:
    assert remarks(ROW) == []
    assert power_summary(ROW) == "60 of 120 pairs at 100 examples × 5 seeds, 120 per core-hour, 3 core-seconds per run"


def test_the_parts_of_a_cost_are_shown_if_they_are_known() -> None:
    assert "1 + 1 + 1" in power_cells(ROW)
    assert "4 + 0 + 0" not in power_cells(change(cost=PowerCost(training=4.0, evaluation=0.0, start=0.0, wall=4.0)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"seeds": 2}, "partial: 2 of 5 seeds"),
        ({"scale": "log metric"}, "no envelope"),
        ({"outside": 0.25}, "extrapolated beyond the envelope in 25%"),
        ({"left_out": ("muon",)}, "a run broke: muon"),
        ({"core_hours": 10.0}, "low power"),
        ({"false_low": 0.06}, "not valid"),
        ({"agreement": OrderAgreement(decided=9, same_order=9, both=9, both_same_order=7)}, "too short"),
        ({"agreement": OrderAgreement(decided=9, same_order=9, both=0, both_same_order=0)}, "no pair"),
        ({"agreement": None}, "not compared"),
        ({"notes": ("a note",)}, "a note"),
    ],
)
def test_what_a_reader_must_know_is_a_remark(fields: dict[str, object], expected: str) -> None:
    assert any(expected in note for note in remarks(change(**fields)))


def test_published_rows_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["power"]) == 0
    assert "per core-hour" in capsys.readouterr().out
    assert cli.invoke(["power", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["power"]
    assert rows
    assert all(each["per_core_hour"] > 0 for each in rows)
    name = rows[0]["row"]["workload"].partition("@")[0]
    assert cli.invoke(["show", name]) == 0
    assert "per core-hour" in capsys.readouterr().out


def test_a_workload_without_numbers_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["power", "lm-124m"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "has no published power" in captured.err


def test_only_rows_of_the_current_version_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = load_registry().workload("lm-tiny")
    current, old = change(workload=entry.facts.id), change(workload="lm-tiny@0")
    full = msgspec.structs.replace(current, budget_name="full")
    (tmp_path / "power.json").write_bytes(msgspec.json.encode({"schema": 1, "rows": [full, old, current]}))
    monkeypatch.setattr(package_files, "locate_top", lambda top: ((str(tmp_path),), None))
    assert published_power([entry]) == (current, full)
    (tmp_path / "power.json").write_text("{")
    with pytest.raises(StoreError, match="published power"):
        published_power([entry])
