"""What is shown of trials while they run: one after another, side by side, and kept from before."""

from __future__ import annotations

import io

from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec
from harness.report.gate_status import GateStatus
from harness.report.progress import LiveView, Plain
from harness.storage.layout import run_id
from tests.execution.helpers import stub_specs


def point(examples: int) -> Point:
    return Point(
        examples=examples, gradient_examples=examples, steps=examples // 16, seconds=1.0, process_seconds=1.0,
        metrics={"loss": 0.5},
    )  # fmt: skip


def record(spec: RunSpec) -> Record:
    return Record(run_id=run_id(spec), spec=spec, status="exhausted")


def kept(spec: RunSpec) -> TrialSummary:
    return TrialSummary(run_id=run_id(spec), spec=spec, status="exhausted", kept=True)


def test_trials_side_by_side_are_told_apart_by_their_numbers() -> None:
    output = io.StringIO()
    one, two = stub_specs(2)
    with Plain(2, output) as view:
        view.started(one, ())
        view.evaluated(one, point(64))
        view.started(two, (point(0), point(320)))
        view.evaluated(two, point(384))
        view.finished(record(one))
        view.evaluated(two, point(448))
        view.finished(record(two))
    lines = output.getvalue().splitlines()
    heads = [line.split()[0] for line in lines]
    assert lines[0] == "[1/2] base on micro"
    assert lines[2] == "[2/2] base on micro trial 1, continued from step 20"
    assert heads == ["[1/2]", "64/6,400", "[2/2]", "[2]", "[1/2]", "448/6,400", "[2/2]"]
    assert lines[4] == "[1/2] base on micro: exhausted"
    assert lines[6] == "[2/2] base on micro trial 1: exhausted"


def test_a_resumed_worker_keeps_its_number() -> None:
    output = io.StringIO()
    (spec,) = stub_specs(1)
    with Plain(1, output) as view:
        view.started(spec, ())
        view.started(spec, (point(64),))
        view.finished(record(spec))
    assert output.getvalue().count("[1/1]") == 3


def test_few_kept_trials_are_named_and_many_are_counted() -> None:
    for n, words in (
        (2, "[2/3] base on micro trial 1: exhausted (had already finished; --force repeats it)"),
        (9, "[1-9/10] 9 exhausted"),
    ):
        output = io.StringIO()
        specs = stub_specs(n + 1)
        with Plain(n + 1, output) as view:
            for spec in specs[:n]:
                view.kept(kept(spec))
            view.started(specs[n], ())
        assert words in output.getvalue()
        assert f"[{n + 1}/{n + 1}] base on micro" in output.getvalue()


def test_a_kept_failure_names_the_option_that_reruns_it() -> None:
    (spec,) = stub_specs(1)
    failed = TrialSummary(run_id=run_id(spec), spec=spec, status="crashed", reason="no memory", kept=True)
    output = io.StringIO()
    with Plain(1, output) as view:
        view.kept(failed)
    with GateStatus("pair 1", 1, is_terminal=False, stream=output) as status:
        status.kept(failed)
    lines = [line for line in output.getvalue().splitlines() if "crashed: no memory" in line]
    assert len(lines) == 2
    assert all("--retry-failed reruns failed trials" in line for line in lines)


def test_the_live_view_shows_few_in_detail_and_many_in_a_line_each() -> None:
    from rich.console import Console

    view = LiveView(5)
    view._live = type("Silent", (), {"console": Console(file=io.StringIO())})()  # nothing redraws itself here
    specs = stub_specs(4)
    for count, lines in ((1, 5), (2, 10), (4, 4)):
        for spec in specs[:count]:
            view.started(spec, (point(0), point(640)))
        screen = Console(file=io.StringIO(), width=120, record=True)
        screen.print(view._render())
        shown = screen.export_text().rstrip("\n").split("\n")
        assert len(shown) == lines, shown
        assert sum("base on micro" in line for line in shown) == count
        assert sum("10%" in line for line in shown) == count
