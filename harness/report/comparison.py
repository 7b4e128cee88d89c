"""Two submissions or two runs side by side: verdicts with their numbers, differences of settings and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.contract.record import Record
from harness.contract.workload import Target
from harness.report import text
from harness.report.values import finite_or_none, skipped_json, skipped_lines, spread_json
from harness.scoring.compare import Comparison, Pairing
from harness.scoring.throttling import slowdown

SCHEMA = 1


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, order="sorted")


# --- two submissions --------------------------------------------------------------------------------


def comparison_text(result: Comparison) -> str:
    """The verdict on A, a row per workload, and what was left out."""
    rows = [["", "verdict on A", "A / B", "95 %", "p (Holm)", "hits A", "hits B", "mean to budget A, B"]]
    rows += [_row(one) for one in (*result.workloads, *([result.overall] if result.overall else []))]
    lines = [f"A = {result.a}, B = {result.b}, by {result.by}", text.columns(rows, right=frozenset({4, 5, 6}))]
    lines += [f"{one.workload}: {_more(one)}" for one in (*result.workloads, result.overall) if one and _more(one)]
    lines += skipped_lines(result.skipped)
    if result.overall:
        lines.append(
            f"{result.a} is {_phrase(result.overall)} than {result.b}"
            if _decided(result.overall)
            else f"{result.a} against {result.b}: {result.overall}"
        )
    return "\n".join(lines)


def _decided(one: Pairing) -> bool:
    return one.verdict != "inconclusive"


def _phrase(one: Pairing) -> str:
    if not 0 < one.ratio < math.inf:
        return f"{one} (misses decide)"
    return f"{abs(one.ratio - 1):.1%} {one}"


def _more(one: Pairing) -> str:
    if _decided(one):
        return ""
    if one.n < 2 or not 0 < one.ratio < math.inf:
        return "at least 6 pairs with times are needed for a verdict"
    if one.more is None:
        return "how many more seeds would settle it cannot be said"
    if one.more == 0:
        return "a difference of 3 % would have shown"
    return f"{one.more} more seeds would show a difference of 3 %"


def _row(one: Pairing) -> list[str]:
    def ratio(value: float) -> str:
        return "∞" if math.isinf(value) else f"{value:.3f}"

    ends = f"{ratio(one.spread.low)} – {ratio(one.spread.high)}{' (range)' if one.spread.kind == 'range' else ''}"
    hits = [f"{rate.value:.0%}" if rate else "" for rate in (one.hits_a, one.hits_b)]
    means = ", ".join(text.number(m) for m in (one.mean_a, one.mean_b) if m is not None)
    return [one.workload, str(one), ratio(one.ratio), ends, f"{one.p_holm:.3g}", *hits, means]


def comparison_json(result: Comparison) -> dict[str, Any]:
    """Plain data; an infinite ratio is null."""
    return {
        "schema": SCHEMA,
        "a": result.a,
        "b": result.b,
        "by": result.by,
        "workloads": [_pairing_json(one) for one in result.workloads],
        "overall": _pairing_json(result.overall) if result.overall else None,
        "left_out": skipped_json(result.skipped),
    }


def _pairing_json(one: Pairing) -> dict[str, Any]:
    rates = {
        name: None if rate is None else {"value": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}
        for name, rate in (("hits_a", one.hits_a), ("hits_b", one.hits_b))
    }
    return {
        "workload": one.workload,
        "n": one.n,
        "verdict": one.verdict,
        "ratio": finite_or_none(one.ratio),
        "spread": spread_json(one.spread),
        "p": one.p,
        "p_holm": one.p_holm,
        "more": one.more,
        "both_missed": one.both_missed,
        **rates,
        "mean_a": one.mean_a,
        "mean_b": one.mean_b,
    }


# --- two runs ---------------------------------------------------------------------------------------


def differences(a: Record, b: Record) -> dict[str, dict[str, tuple[Any, Any]]]:
    """What differs, by section: `configuration`, `environment`, `outcome`; field -> (of A, of B), None where absent."""
    sections = {}
    for name, of_a, of_b in (
        ("configuration", _plain(a.spec), _plain(b.spec)),
        ("environment", _machine(a), _machine(b)),
        ("outcome", _outcome(a), _outcome(b)),
    ):
        left, right = _flat(of_a), _flat(of_b)
        keys = sorted({*left, *right})
        sections[name] = {k: (left.get(k), right.get(k)) for k in keys if left.get(k) != right.get(k)}
    return sections


def _machine(record: Record) -> dict[str, Any]:
    """The environment, and its GPUs in few words: what they are, and what they were like on average."""
    log = record.devices
    if log is None:
        return _plain(record.environment) or {}
    means = {
        field: sum(values) / len(values)
        for field in ("sm_mhz", "memory_mhz", "power_w", "temperature_c")
        if (values := [value for r in log.readings if (value := getattr(r, field)) is not None])
    }
    gpus = {"devices": [_plain(device) for device in log.devices], "slowdown": slowdown(log) or "none", **means}
    return {**(_plain(record.environment) or {}), "gpus": gpus}


def _outcome(record: Record) -> dict[str, Any]:
    point = record.points[record.hit] if record.hit is not None and record.hit < len(record.points) else None
    return {
        "status": record.status,
        "reason": record.reason,
        "evaluations": len(record.points),
        "hit": _plain(point) if point else None,
        "counters": _plain(record.counters),
        "usage": _plain(record.usage),
        "final_weights": record.final_weights[:12],
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by dots.

    >>> _flat({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping) and inner:
            found |= _flat(inner, f"{name}.")
        else:
            found[name] = inner
    return found


def diff_text(a: Record, b: Record) -> str:
    """Differences by section, then the curves of every metric both have, one line each."""
    blocks = [f"A {_title(a)}\nB {_title(b)}"]
    for section, rows in differences(a, b).items():
        if not rows:
            blocks.append(f"{section}: no difference")
            continue
        lines = [["  " + name, _short(left), _short(right)] for name, (left, right) in rows.items()]
        blocks.append(f"{section}\n{text.columns([['', 'A', 'B'], *lines])}")
    blocks.append("curves\n" + text.columns([["", "", "first", "best", "last", "", "at most"], *_curves(a, b)]))
    return "\n\n".join(blocks)


def _title(record: Record) -> str:
    spec = record.spec
    return f"{record.run_id}: {spec.submission.id} on {spec.workload.facts.id}, study {spec.study}, trial {spec.trial}"


def _short(value: Any, most: int = 44) -> str:
    shown = "–" if value is None else text.number(value) if isinstance(value, float) else str(value)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _curves(a: Record, b: Record) -> list[list[str]]:
    rows = []
    targets = {t.metric: t for r in (a, b) for t in r.spec.workload.facts.targets}
    for name in sorted({m for r in (a, b) for p in r.points for m in p.metrics}, key=lambda m: (m not in targets, m)):
        for side, record in (("A", a), ("B", b)):
            values = [p.metrics[name] for p in record.points if name in p.metrics]
            if values:
                rows.append(
                    ["  " + name, side, *_numbers(values, targets.get(name)), text.sparkline(values, 32), _end(record)]
                )
    return rows


def _numbers(values: Sequence[float], target: Target | None) -> list[str]:
    best = None if target is None else min(values) if target.goal == "min" else max(values)
    return [f"{values[0]:.4g}", "" if best is None else f"{best:.4g}", f"{values[-1]:.4g}"]


def _end(record: Record) -> str:
    last = record.points[-1]
    return f"{text.seconds(last.scored(record.spec.clock))}, {last.examples:,} examples"


def diff_json(a: Record, b: Record) -> dict[str, Any]:
    """Differences as plain data, and both curves."""
    return {
        "schema": SCHEMA,
        "a": a.run_id,
        "b": b.run_id,
        **{section: {name: list(pair) for name, pair in rows.items()} for section, rows in differences(a, b).items()},
        "curves": {"a": _plain(a.points), "b": _plain(b.points)},
    }
