"""Compares two runs: the differences in configuration, environment and outcome, and the curves of both runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.contract.record import Record
from harness.contract.workload import Target
from harness.report import text
from harness.report.values import NO_VALUE
from harness.scoring.throttling import slowdown

SCHEMA = 1
#: Largest number of characters of a value. Longer values are cut at the end of a word.
_MAX_CHARACTERS = 44


def differences(a: Record, b: Record) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return the differences of two runs.

    Returns:
        section (`configuration`, `environment` or `outcome`) -> field -> (value of A, value of B). The value is None if
        a run does not have the field.
    """
    sections = {}
    for name, fields_a, fields_b in (
        ("configuration", _to_builtins(a.spec), _to_builtins(b.spec)),
        ("environment", _environment_fields(a), _environment_fields(b)),
        ("outcome", _outcome_fields(a), _outcome_fields(b)),
    ):
        flat_a, flat_b = _flatten(fields_a), _flatten(fields_b)
        keys = sorted({*flat_a, *flat_b})
        sections[name] = {k: (flat_a.get(k), flat_b.get(k)) for k in keys if flat_a.get(k) != flat_b.get(k)}
    return sections


def _to_builtins(value: Any) -> Any:
    return msgspec.to_builtins(value, order="sorted")


def _environment_fields(record: Record) -> dict[str, Any]:
    """Return the environment, the models of the GPUs, and the means of the GPU samples."""
    log = record.devices
    if log is None:
        return _to_builtins(record.environment) or {}
    means = {
        field: sum(values) / len(values)
        for field in ("sm_mhz", "memory_mhz", "power_w", "temperature_c")
        if (values := [value for r in log.readings if (value := getattr(r, field)) is not None])
    }
    gpus = {"devices": [_to_builtins(device) for device in log.devices], "slowdown": slowdown(log) or "none", **means}
    return {**(_to_builtins(record.environment) or {}), "gpus": gpus}


def _outcome_fields(record: Record) -> dict[str, Any]:
    point = record.points[record.hit] if record.hit is not None and record.hit < len(record.points) else None
    return {
        "status": record.status,
        "reason": record.reason,
        "evaluations": len(record.points),
        "hit": _to_builtins(point) if point else None,
        "counters": _to_builtins(record.counters),
        "usage": _to_builtins(record.usage),
        "final_weights": record.final_weights[:12],
    }


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one mapping. The names of nested fields are joined by dots.

    >>> _flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def diff_text(a: Record, b: Record, width: int | None = None) -> str:
    """Return the differences by section, and one line with a curve for each metric and run.

    Args:
        a: record of run A.
        b: record of run B.
        width: characters per line; None for the terminal's width.
    """
    blocks = ["\n".join(text.wrap(line, width) for line in (f"A {_title(a)}", f"B {_title(b)}"))]
    for section, fields in differences(a, b).items():
        if not fields:
            blocks.append(f"{section}: no difference")
            continue
        rows = [["  " + name, _shorten(value_a), _shorten(value_b)] for name, (value_a, value_b) in fields.items()]
        blocks.append(f"{section}\n{text.fit_table([['', 'A', 'B'], *rows], width=width, split=False)}")
    heading = ["  metric", "run", "first", "best", "last", "curve", "end"]
    blocks.append("curves\n" + text.fit_table([heading, *_curves(a, b)], leading_columns=2, width=width))
    return "\n\n".join(blocks)


def _title(record: Record) -> str:
    spec = record.spec
    return f"{record.run_id}: {spec.submission.id} on {spec.workload.facts.id}, study {spec.study}, trial {spec.trial}"


def _shorten(value: Any, max_characters: int = _MAX_CHARACTERS) -> str:
    """Return a value as text. A long text is cut at a space. A single long word, such as a hash, is not cut.

    >>> _shorten("a rather long reason", 14), _shorten("f" * 16, 8), _shorten(None)
    ('a rather …', 'ffffffffffffffff', '–')
    """
    shown = NO_VALUE if value is None else text.number(value) if isinstance(value, float) else str(value)
    if len(shown) <= max_characters or " " not in shown[: max_characters - 1]:
        return shown
    return shown[: max_characters - 1].rpartition(" ")[0] + " …"


def _curves(a: Record, b: Record) -> list[list[str]]:
    rows = []
    targets = {t.metric: t for r in (a, b) for t in r.spec.workload.facts.targets}
    metrics = {m for r in (a, b) for p in r.points for m in p.metrics}
    for name in sorted(metrics, key=lambda m: (m not in targets, m)):
        for side, record in (("A", a), ("B", b)):
            values = [p.metrics[name] for p in record.points if name in p.metrics]
            # The curve includes screened evaluations. The first, best and last value omit them, because estimates would
            # bias the best value.
            whole = [p.metrics[name] for p in record.points if name in p.metrics and not p.screened]
            if whole:
                numbers = _first_best_last(whole, targets.get(name))
                rows.append(["  " + name, side, *numbers, text.sparkline(values, 32), _format_end(record)])
    return rows


def _first_best_last(values: Sequence[float], target: Target | None) -> list[str]:
    best = None if target is None else min(values) if target.goal == "min" else max(values)
    return [f"{values[0]:.4g}", "–" if best is None else f"{best:.4g}", f"{values[-1]:.4g}"]


def _format_end(record: Record) -> str:
    last = record.points[-1]
    return f"{text.seconds(last.scored(record.spec.clock))}, {last.examples:,} examples"


def diff_json(a: Record, b: Record) -> dict[str, Any]:
    """Return the differences of two runs and the curves of each run as plain data."""
    return {
        "schema": SCHEMA,
        "a": a.run_id,
        "b": b.run_id,
        **{section: {name: list(pair) for name, pair in rows.items()} for section, rows in differences(a, b).items()},
        "curves": {"a": _to_builtins(a.points), "b": _to_builtins(b.points)},
    }
