"""What is shown of a gate: the line after a pair, the line while runs train."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest

from harness.report.gate import GateReport, gate_json, gate_text, progress_line
from harness.report.gate_status import GateStatus
from harness.scoring.gate import GateLook, GatePair, judge_pairs, look_without_pairs
from tests.gating.builders import ENVELOPE, finish, pair
from tests.scoring import builders


def look(pairs: list[GatePair]) -> GateLook:
    return judge_pairs(pairs, {"w": ENVELOPE}, alpha=0.05, min_effect=math.log(1.03))


def pairs(n: int, ratio: float = 0.99) -> list[GatePair]:
    return [pair(ratio * (1.9 + 0.01 * k) * (1 + 0.001 * (k % 3)), 1.9 + 0.01 * k, k) for k in range(n)]


UNKNOWN = "number of further pairs unknown"


@pytest.mark.parametrize(
    ("losses", "minutes", "line"),
    [
        (pairs(1), None, f"1: A ahead, 1.11× (no interval yet), evidence 0.876 of 20, {UNKNOWN}"),
        (pairs(3), 2.0, "3: A ahead, 1.09× (no interval yet), evidence 3 of 20, about 3 more pairs, 2 min 00 s"),
        (pairs(7), 0.0, "7: A ahead, 1.09× (1.08 – 1.11), evidence 42.1 of 20, better"),
        ([pair(2, 2)], None, f"1: even, 1.000× (no interval yet), evidence 0.5 of 20, {UNKNOWN}"),
    ],
)  # fmt: skip
def test_a_line_after_each_pair(losses: list[GatePair], minutes: float | None, line: str) -> None:
    assert progress_line(look(losses), minutes) == f"pair {line}"


def test_breaks_leave_a_side_open() -> None:
    line = progress_line(look([pair(1.9, None, k) for k in range(6)]), 0.0)
    assert line.startswith("pair 6: A ahead, ∞×")
    assert line.endswith("better")


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        (
            1,
            [
                "1 run lies outside the envelope; its multiplier is extrapolated",
                "to continue (about 1 more pair): bench",
            ],
        ),
        (2, ["2 runs lie outside the envelope; their multipliers are", "to continue (about 2 more pairs): bench"]),
    ],
)
def test_nouns_agree_with_numbers(number: int, lines: list[str]) -> None:
    made = pairs(3)
    shown = gate_text(
        GateReport(
            a="a",
            b="b",
            budgets={"w@1": 100},
            envelopes={"w": ENVELOPE},
            fallback="",
            pairs=made,
            look=replace(look(made), pairs_needed=number, outside=number),
            stopped="",
            minutes=0.0,
            minutes_needed=None,
            command="bench gate",
            series={},
        )
    )
    assert all(line in shown for line in lines)


def test_a_gate_without_pairs_has_no_ratio() -> None:
    report = GateReport(
        a="a",
        b="b",
        budgets={"v@1": 100, "w@1": 100},
        envelopes={},
        fallback="",
        pairs=(),
        look=look_without_pairs(["v", "w"], alpha=0.05, min_effect=0.03),
        stopped="no pair has run",
        minutes=1.0,
        minutes_needed=None,
        command="bench gate",
        series={},
    )
    first, *rest = gate_text(report).splitlines()
    assert first == "undecided: a (A) against b (B) on v@1, w@1, 0 pairs"
    assert not any("×" in line or "nan" in line for line in rest)
    assert "note: no pair has run" in rest
    shown = gate_json(report)
    assert (shown["verdict"], shown["pairs"], shown["estimate"], shown["interval"]) == (
        "undecided", 0, None, [None, None],
    )  # fmt: skip
    assert [one["estimate"] for one in shown["workloads"]] == [None, None]


def test_the_status_is_redrawn_on_a_terminal_alone() -> None:
    spec = builders.spec("a", builders.facts("w"), stop=100)
    record = finish(spec, 1.5)
    for lively, label in ((True, ""), (False, ""), (False, "envelope of w")):
        stream = io.StringIO()
        with GateStatus(label, 2, lively, stream) as status:
            status.started(spec, ())
            status.evaluated(spec, record.points[-1])
            status.finished(record)
            status.warned(spec, "slow")
        shown = stream.getvalue()
        assert ("\r" in shown) is lively
        assert "warning: a on w: slow\n" in shown
        assert ("running a on w: 0 of 2 runs ended, 50% of the examples" in shown) is lively
        assert ("envelope of w: 1 of 2 runs have ended\n" in shown) is bool(label)
