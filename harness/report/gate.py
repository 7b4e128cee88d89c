"""Formats `bench gate`: the line after each pair of runs, and the result as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import text
from harness.scoring.gate import GateAxis, GateLook, GatePair, GateRun, median_cost_ratio
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.sequential.verdict import GateVerdict

#: Version of the JSON schema.
SCHEMA = 1
#: Largest number of broken runs that the text lists.
MAX_LISTED_RUNS = 10
#: Ratios that differ from 1 by less than this are printed with three decimals.
CLOSE = 0.02


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """The result of a gate. Estimates and bounds are logarithms of a ratio of A to B (see `unit`).

    Args:
        a: name of submission A.
        b: name of submission B.
        budgets: workload id -> number of examples at which the runs end.
        envelopes: workload name -> envelope, which converts a metric to the budget at which the reference reaches it.
            Empty if metrics were compared instead of budgets.
        fallback: reason for comparing metrics instead of budgets; empty if budgets were compared.
        by: quantity that was compared: compute multipliers (`examples`), or these multipliers divided by the ratio of
            the costs per example (`time`).
        pairs: all pairs in order. A pair is a mapping from a workload name to the runs of A and B.
        look: the verdict on all pairs.
        stopped: reason why an undecided gate stopped; empty for a decided gate.
        minutes: wall minutes of this call.
        minutes_needed: estimated wall minutes of the pairs that are still needed; None if unknown.
        command: the command that continues the gate; empty if no further pair could change the verdict.
        series: state of the series after this gate; empty without `--series`.
    """

    a: str
    b: str
    budgets: Mapping[str, int]
    envelopes: Mapping[str, GateEnvelope]
    fallback: str
    by: GateAxis = "examples"
    pairs: Sequence[GatePair]
    look: GateLook
    stopped: str
    minutes: float
    minutes_needed: float | None
    command: str
    series: Mapping[str, Any]

    @property
    def verdict(self) -> GateVerdict:
        return self.look.verdict.overall

    @property
    def unit(self) -> str:
        """The name of the printed ratio of A to B."""
        if self.by == "time":
            return "time multiplier" if self.envelopes else "metric ratio / cost ratio"
        return "compute multiplier" if self.envelopes else "metric ratio"


def progress_line(look: GateLook, minutes_needed: float | None) -> str:
    """Return the line that is printed after a pair: estimate, interval, evidence, and number of pairs still needed.

    The evidence is an e-value: without an effect, it reaches 20 with a probability of at most 1/20. The line has the
    larger of the e-values for `better` and `worse`. These outcomes require evidence of at least 1 / alpha.
    """
    verdict = look.verdict.overall
    evidence = max(verdict.e_better, verdict.e_worse)
    parts = [
        f"pair {verdict.pairs}: {_describe_lead(verdict.estimate)}",
        f"{_ratio_text(verdict.estimate)}× {_interval_text(verdict)}",
        f"evidence {text.number(evidence)} of {text.number(1 / verdict.alpha)}",
    ]
    if verdict.decided:
        parts.append(verdict.outcome)
    elif look.is_over:
        parts.append(f"worse on {', '.join(look.verdict.worse)}")
    elif look.pairs_needed is None:
        parts.append("number of further pairs unknown")
    else:
        parts.append(_describe_need(look.pairs_needed, minutes_needed))
    return ", ".join(parts)


def gate_text(report: GateReport) -> str:
    """Return the result as text."""
    verdict = report.verdict
    workload_ids = ", ".join(report.budgets)
    pairs = f"{verdict.pairs} {'pair' if verdict.pairs == 1 else 'pairs'}"
    lines = [f"{verdict.outcome}: {report.a} (A) against {report.b} (B) on {workload_ids}, {pairs}"]
    if verdict.pairs:
        lines.append(
            f"{report.unit} {describe_multiplier(verdict)}, "
            f"evidence {text.number(max(verdict.e_better, verdict.e_worse))} of {text.number(1 / verdict.alpha)}"
        )
    lines += [f"  {line}" for line in _workload_lines(report)]
    cost = median_cost_ratio(report.pairs)
    if cost is not None:
        counted = "included in the multiplier" if report.by == "time" else "not included; --by time includes it"
        lines.append(f"cost per example of A relative to B {cost:.2f}× (median of the pairs; {counted})")
    if report.fallback:
        lines.append(f"compared by metric, not by compute, because {report.fallback}")
        lines.append("min-effect is in percent of the metric")
    elif report.look.outside:
        number = report.look.outside
        runs, owner = ("run lies", "its multiplier is") if number == 1 else ("runs lie", "their multipliers are")
        lines.append(f"{number} {runs} outside the envelope; {owner} extrapolated")
    lines += [f"broke: {_broken_line(run)}" for run in report.look.broken[:MAX_LISTED_RUNS]]
    if len(report.look.broken) > MAX_LISTED_RUNS:
        lines.append(f"broke: {len(report.look.broken) - MAX_LISTED_RUNS} more")
    lines += [f"note: {remark}" for remark in (verdict.note, report.stopped) if remark]
    if report.series:
        lines.append(_series_line(report.series))
    if report.command:
        needed = report.look.pairs_needed
        estimate = "" if not needed else f" ({_describe_need(needed, report.minutes_needed)})"
        lines.append(f"to continue{estimate}: {report.command}")
    return "\n".join(lines)


def gate_json(report: GateReport) -> dict[str, Any]:
    """Return the result as plain data. Ratios are not given as logarithms. A ratio of 0 or infinity is null."""
    verdict = report.verdict
    return {
        "schema": SCHEMA,
        "verdict": verdict.outcome,
        "a": report.a,
        "b": report.b,
        "unit": report.unit,
        "by": report.by,
        "cost_ratio": median_cost_ratio(report.pairs),
        "estimate": _ratio_or_none(verdict.estimate),
        "interval": [_ratio_or_none(verdict.low), _ratio_or_none(verdict.high)],
        "alpha": verdict.alpha,
        "min_effect": math.expm1(verdict.min_effect),
        "evidence": {"better": verdict.e_better, "worse": verdict.e_worse, "needed": 1 / verdict.alpha},
        "pairs": verdict.pairs,
        "ties": verdict.ties,
        "pairs_needed": report.look.pairs_needed,
        "minutes": report.minutes,
        "minutes_needed": report.minutes_needed,
        "workloads": [_workload_json(report, workload_id) for workload_id in report.budgets],
        "broken": [
            {
                "side": run.side,
                "submission": run.submission,
                "workload": run.workload,
                "study": run.study,
                "status": run.status,
                "reason": run.reason,
                "run_id": run.run_id,
            }
            for run in report.look.broken
        ],
        "outside_envelope": report.look.outside,
        "fallback": report.fallback,
        "notes": [remark for remark in (verdict.note, report.stopped) if remark],
        "runs": [_pair_json(pair) for pair in report.pairs],
        "series": dict(report.series) or None,
        "command": report.command,
    }


def _workload_json(report: GateReport, workload_id: str) -> dict[str, Any]:
    name = workload_id.partition("@")[0]
    verdict, envelope = report.look.verdict.workloads[name], report.envelopes.get(name)
    return {
        "workload": workload_id,
        "budget": report.budgets[workload_id],
        "verdict": verdict.outcome,
        "estimate": _ratio_or_none(verdict.estimate),
        "interval": [_ratio_or_none(verdict.low), _ratio_or_none(verdict.high)],
        "p_worse": report.look.verdict.p_worse[name],
        "envelope": None
        if envelope is None
        else {"reference": envelope.reference, "provisional": envelope.provisional, "hardware": envelope.hardware},
    }


def _pair_json(pair: GatePair) -> dict[str, Any]:
    return {
        name: {"study": a.study, "a": a.run_id, "b": b.run_id, "metric_a": a.metric, "metric_b": b.metric}
        for name, (a, b) in pair.items()
    }


def _workload_lines(report: GateReport) -> list[str]:
    """Return one line per workload with budget and envelope. If there are several workloads, add the ratio of each."""
    rows = []
    for workload_id, budget in report.budgets.items():
        name = workload_id.partition("@")[0]
        verdict, envelope = report.look.verdict.workloads[name], report.envelopes.get(name)
        row = [workload_id, f"at {budget:,} examples"]
        if len(report.budgets) > 1:
            row.append(describe_multiplier(verdict))
        if envelope is not None:
            kind = "provisional envelope" if envelope.provisional else "envelope"
            row.append(f"{kind} of {envelope.reference}")
        rows.append(row)
    return text.columns(rows).splitlines()


def _broken_line(run: GateRun) -> str:
    reason = f": {run.reason}" if run.reason else ""
    return f"{run.side} ({run.submission}) on {run.workload}, study {run.study}, {run.status}{reason} ({run.run_id})"


def _series_line(series: Mapping[str, Any]) -> str:
    kept = "kept" if series["keep"] else "not kept"
    return (
        f"series {series['name']}: candidate {series['candidate']} at significance level {series['level']:.3g}: "
        f"{kept}; {series['kept']} of {series['tested']} kept so far"
    )


def _describe_lead(estimate: float) -> str:
    if estimate == 0:
        return "even"
    return f"{'A' if estimate > 0 else 'B'} ahead"


def _ratio_text(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "0"
    ratio = math.exp(min(value, 700.0))
    if ratio >= 100:
        return text.number(ratio)
    return f"{ratio:.3f}" if abs(ratio - 1) < CLOSE else f"{ratio:.2f}"


def describe_multiplier(verdict: GateVerdict) -> str:
    """Return the estimated ratio of a verdict with its interval, such as `1.07× (1.011 – 1.14)`.

    The text is empty if there are no pairs.
    """
    if not verdict.pairs:
        return ""
    return f"{_ratio_text(verdict.estimate)}× {_interval_text(verdict)}"


def _interval_text(verdict: GateVerdict) -> str:
    if math.isinf(verdict.low) and math.isinf(verdict.high):
        return "(no interval yet)"
    return f"({_ratio_text(verdict.low)} – {_ratio_text(verdict.high)})"


def _ratio_or_none(value: float) -> float | None:
    """Return exp of a log ratio, or None if the log ratio is +∞, −∞ or unknown."""
    return None if not math.isfinite(value) else math.exp(min(value, 700.0))


def _describe_need(pairs: int, minutes: float | None) -> str:
    """Return the forecast of further pairs with their estimated time, such as `about 3 more pairs, 40 s`."""
    time = "" if minutes is None else f", {text.seconds(60 * minutes)}"
    return f"about {pairs} more {'pair' if pairs == 1 else 'pairs'}{time}"
