"""`bench show RUN`, the part of a curve that decides, and the titles of trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.judging import Judgement
from harness.contract.record import Record
from harness.contract.run import Point
from harness.contract.workload import Target
from harness.report import text
from harness.report.curve import Panel, characters, vertical_limits
from harness.report.progress import metric_summary
from harness.report.run_page import draw_metric, run_text
from harness.report.trial_titles import TrialTitles
from harness.report.values import format_metric
from tests.helpers import spec_of, submission
from tests.report import synthetic

Bench = Callable[..., Any]
LOSS = Target(metric="loss", goal="min", value=1.0)


def points(values: list[float], stage: int = 0) -> list[Point]:
    return [
        Point(examples=100 * i, gradient_examples=100 * i, steps=i, seconds=1.0, process_seconds=1.0,
              metrics={"loss": value}, train_loss=value, stage=stage)
        for i, value in enumerate(values)
    ]  # fmt: skip


def test_a_large_first_value_does_not_flatten_the_end() -> None:
    """Of a curve from 100 to 1.05, the sparkline shows how it comes to the target of 1."""
    values = [100.0, 10.0, 3.0, 2.0, 1.5, 1.3, 1.2, 1.1, 1.05]
    assert text.sparkline(values) == "█▁▁▁▁▁▁▁▁"
    assert vertical_limits(values, LOSS) == (1.0, 1.5)
    assert text.sparkline(values, bounds=vertical_limits(values, LOSS)) == "█████▅▃▂▁"
    rising = Target(metric="accuracy", goal="max", value=0.9)
    assert vertical_limits([0.1, 0.1, 0.7, 0.8], rising) == (0.7, 0.9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_bounds_hold_the_target_the_best_value_and_the_last_one(values: list[float]) -> None:
    low, high = vertical_limits(values, LOSS)
    assert low <= min(*values, LOSS.value)
    assert low <= values[-1] <= high
    assert low <= LOSS.value <= high
    assert len(text.sparkline(values, 10, (low, high))) == min(10, len(values))
    assert len(characters(Panel(label="", x=range(len(values)), y=values, limits=(low, high)), 20, 5)) == 6


def test_the_target_is_a_dotted_line_at_its_value() -> None:
    lines = draw_metric(points([3.0, 2.5, 2.0, 2.0]), LOSS, height=4)
    assert lines[1].endswith("dotted line is the target ≤ 1")
    assert lines[2].startswith("2 ┤")
    dotted = lines[5].partition("┤")
    assert dotted[0].strip() == "1"
    assert 20 < sum(character != "⠀" for character in dotted[2]) < len(dotted[2])
    assert draw_metric(points([3.0]), LOSS) == [], "a single evaluation is no curve"


@pytest.fixture
def run(results: Path) -> Record:
    """One of the stored runs, which missed its target."""
    missed = synthetic.exploring(study=7, lr=0.1)
    synthetic.write(results, [missed])
    return missed


def test_a_run_is_shown_by_its_id_its_beginning_and_its_path(bench: Bench, results: Path, run: Record) -> None:
    shown = bench("show", run.run_id)
    assert shown.code == 0
    for words in (run.run_id, "ended", "lr=0.1*", "set by the user", "best", "final", "target ≤ 1", "evaluation"):
        assert words in shown.out, words
    (path,) = (path for path in results.rglob("*.json") if run.run_id in str(path))
    assert bench("show", str(path)).out == shown.out
    assert "\x1b" not in shown.out


def test_a_run_as_json_has_its_numbers_and_the_record(bench: Bench, run: Record) -> None:
    shown = json.loads(bench("show", run.run_id, "--json").out)
    assert shown["run_id"] == shown["record"]["run_id"] == run.run_id
    assert shown["target"] == 1.0
    assert shown["best"] == min(point["metrics"]["loss"] for point in shown["record"]["points"])


def test_a_schedule_of_a_run_and_an_unknown_run_are_refused(bench: Bench, run: Record) -> None:
    refused = bench("show", run.run_id, "--set", "lr=1", "--at", "3")
    assert refused.code == 2
    assert "is a run, and --set cannot be used for runs (leave out --set, --at)" in refused.err
    assert "no run 'run-nothing'" in bench("show", "run-nothing").err


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_drawing_keeps_to_the_terminal(width: int, run: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = run_text(run)
    drawn = [line for line in shown.splitlines() if any("⠀" <= character <= "⣿" for character in line)]
    assert drawn
    assert max(map(len, drawn)) <= width


def test_every_status_ends_with_its_metric_beside_the_target() -> None:
    for status in ("reached", "exhausted", "diverged", "timeout", "crashed", "rejected", "pruned", "interrupted"):
        record = synthetic.record("alpha", evaluations=4, speed=9.0, status=status)
        assert metric_summary(record).startswith("loss best 2."), status
        assert metric_summary(record).endswith("target ≤ 1")
    assert metric_summary(msgspec.structs.replace(record, points=())) == ""


def test_a_metric_that_was_not_finite_is_said() -> None:
    (point,) = points([1.23456])
    assert format_metric(point, "loss") == "1.235"
    assert format_metric(point, "accuracy") == "nan"


def test_a_title_has_what_tells_trials_apart() -> None:
    specs = [synthetic.record("alpha", lr=lr).spec for lr in (0.001, 0.003)]
    titles = TrialTitles(specs)
    assert [titles.title(spec) for spec in specs] == ["alpha on hills lr=0.001", "alpha on hills lr=0.003"]
    assert TrialTitles(specs[:1]).title(specs[0]) == "alpha on hills", "one trial needs nothing"
    exploring = synthetic.exploring(study=2, lr=0.1).spec
    assert TrialTitles().title(exploring) == "alpha on hills study 2 lr=0.1"


@pytest.mark.parametrize(
    ("audit", "words"),
    [
        ({"loss": 0.1, "se": 0.01}, "evaluated; loss 0.1 on the split audit, meets the target"),
        ({"loss": 0.145, "se": 0.01}, "meets the target within one standard error"),
        ({"loss": 0.2, "se": 0.01}, "misses the target by more than one standard error"),
        ({}, "trust     evaluated"),
    ],
)
def test_a_hit_is_compared_with_audit(audit: dict[str, float], words: str) -> None:
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    judgement = Judgement(point=0, score={"loss": 0.1}, audit=audit)
    record = Record(
        run_id="run-1", spec=spec, status="reached", points=tuple(points([0.1])), hit=0, judgements=(judgement,),
        trust="evaluated",
    )  # fmt: skip
    assert words in run_text(record)
