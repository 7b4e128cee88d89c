"""Reads AlgoPerf's files of targets and of held-out variants. A file with an error is refused as a whole."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.contract.workload import Target
from harness.errors import DataError, StoreError, UsageError, unknown_name_error
from harness.scoring.algoperf.targets import BASE_WORKLOADS, HELD_OUT_WORKLOADS, METRIC_GOALS, TARGETS
from harness.system.files import describe_json_error, parse_json, read_text

#: Version of AlgoPerf whose lists of workloads apply to a targets file without such lists.
DEFAULT_VERSION = "0.5"
#: Word that users give in the place of a file to score no held-out variants.
NO_VARIANTS = "none"

_GOALS: dict[str, Literal["min", "max"]] = {"minimize": "min", "maximize": "max"}
#: Keys of a targets file. Keys that begin with `_` are comments.
_FILE_KEYS = ("benchmark_version", "base_workloads", "held_out_workloads", "workloads")
#: Keys of a workload in a targets file. The last two do not affect AlgoPerf's scores.
_WORKLOAD_KEYS = (
    *("target_metric_name", "target_metric_goal", "validation_target_value"),
    *("step_hint", "max_allowed_runtime_sec"),
)
_FIX = "see AlgoPerf's workload_targets.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTable:
    """Targets by workload, the base workloads of the profile score, and the held-out variants.

    Args:
        targets: workload -> target.
        base: base workloads.
        held_out: held-out variants; empty if there are none. None if the variants of version 0.5 apply.
    """

    targets: Mapping[str, Target]
    base: tuple[str, ...]
    held_out: tuple[str, ...] | None = None


def make_target(workload: str, metric: str, value: float, goal: Literal["min", "max"] | None = None) -> Target:
    """Return a target.

    Args:
        workload: name of the workload, for messages.
        metric: name of the validation metric.
        value: value of the target.
        goal: direction in which the metric improves; by default the direction in `METRIC_GOALS`.

    Raises:
        UsageError: the metric has no direction, or the value is not a finite number.
    """
    if goal is None and metric not in METRIC_GOALS:
        raise unknown_name_error(f"metric of {workload}", metric, METRIC_GOALS)
    if not math.isfinite(value):
        raise UsageError(f"the target of {workload} is {value!r}", fix="give a finite number")
    return Target(metric=metric, goal=goal or METRIC_GOALS[metric], value=value)


def default_targets() -> TargetTable:
    """Return the targets of AlgoPerf's version 0.5."""
    return TargetTable(
        targets={workload: make_target(workload, metric, value) for workload, (metric, value) in TARGETS.items()},
        base=BASE_WORKLOADS,
        held_out=HELD_OUT_WORKLOADS,
    )


def read_targets(path: str | os.PathLike[str]) -> TargetTable:
    """Read targets from AlgoPerf's JSON: `{"workloads": {name: {"target_metric_name", "validation_target_value"}}}`.

    The lists `base_workloads` and `held_out_workloads` name the workloads that are scored; the second list may be
    empty. For a file without these lists, the lists of version 0.5 apply. The `benchmark_version` of a file without
    lists must be 0.5 or absent.

    Raises:
        DataError: the file is missing, is not JSON, lacks a field or a list, has an unknown field, or names a workload
            without a target.
        UsageError: the direction of a metric is unknown.
    """
    content = _read_json(path)
    entries = content.get("workloads") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise DataError(f"{path} has no table 'workloads'", fix=_FIX)
    _check_keys(f"{path}", content, _FILE_KEYS)
    targets = {workload: _read_target(path, workload, entry) for workload, entry in entries.items()}
    version = content.get("benchmark_version", DEFAULT_VERSION)
    base, held_out = (_read_list(path, content, key, version) for key in ("base_workloads", "held_out_workloads"))
    if base is None:
        base = tuple(w for w in BASE_WORKLOADS if w in targets)
    if not base:
        raise DataError(f"{path} has no base workload", fix="list the base workloads in 'base_workloads'")
    for kind, names in (("base", base), ("held-out", held_out or ())):
        missing = [w for w in names if w not in targets]
        if missing:
            problem = f"{path}: no target for the {kind} workload {', '.join(missing)}"
            raise DataError(problem, fix="add it to 'workloads'")
    return TargetTable(targets=targets, base=base, held_out=held_out)


def read_held_out(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of held-out variants from a JSON list. The word `none` stands for an empty list.

    Raises:
        DataError: the file is missing or is not a list of names.
    """
    if os.fspath(path) == NO_VARIANTS and not Path(path).exists():
        return ()
    return _names(f"{path}", _read_json(path))


def held_out_names(held_out: str | os.PathLike[str] | Sequence[str] | None, table: TargetTable) -> tuple[str, ...]:
    """Return the held-out variants that are scored.

    Args:
        held_out: file with a list of variants, their names, or `none`; None for the variants of the table.
        table: table of targets. If `table.held_out` is None, a variant of version 0.5 is scored if the table has its
            target and its base workload.

    Raises:
        DataError: the file is missing or is not a list of names.
    """
    if isinstance(held_out, (str, os.PathLike)):
        return read_held_out(held_out)
    if held_out is not None:
        return tuple(held_out)
    if table.held_out is not None:
        return table.held_out
    return tuple(w for w in HELD_OUT_WORKLOADS if w in table.targets and any(w.startswith(f"{b}_") for b in table.base))


def _read_target(path: str | os.PathLike[str], workload: str, entry: Any) -> Target:
    place = f"{path}: workloads.{workload}"
    if not isinstance(entry, dict):
        raise DataError(f"{place} is not a table", fix=_FIX)
    _check_keys(place, entry, _WORKLOAD_KEYS)
    metric, value = entry.get("target_metric_name"), entry.get("validation_target_value")
    if not isinstance(metric, str) or isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{place} lacks 'target_metric_name' or a number 'validation_target_value'", fix=_FIX)
    goal = entry.get("target_metric_goal")
    if "target_metric_goal" in entry and not (isinstance(goal, str) and goal in _GOALS):
        raise DataError(f"{place}: target_metric_goal is {goal!r}", fix=f"write one of: {', '.join(_GOALS)}")
    try:
        number = float(value)
    except OverflowError:
        raise DataError(f"{place}: validation_target_value exceeds the range of a float", fix=_FIX) from None
    return make_target(workload, metric, number, _GOALS[goal] if goal is not None else None)


def _read_list(
    path: str | os.PathLike[str], content: dict[str, Any], key: str, version: object
) -> tuple[str, ...] | None:
    """Return a list of workloads in a targets file, or None if the list of version 0.5 applies."""
    if key in content:
        return _names(f"{path}: {key}", content[key])
    if version != DEFAULT_VERSION:
        raise DataError(
            f"{path} has the version {version!r} and no list '{key}'",
            fix=f"add the list '{key}', or [] for no workloads",
        )
    return None


def _check_keys(place: str, table: dict[str, Any], known: Collection[str]) -> None:
    unknown = [key for key in table if key not in known and not key.startswith("_")]
    if unknown:
        problem = f"{place} has the unknown field {', '.join(map(repr, unknown))}"
        raise DataError(problem, fix=f"remove it; the known fields are: {', '.join(known)}")


def _read_json(path: str | os.PathLike[str]) -> Any:
    try:
        return parse_json(read_text(Path(path)))
    except StoreError as error:
        raise DataError(error.what, fix="give a JSON file in AlgoPerf's format") from None
    except (ValueError, RecursionError) as error:
        problem = f"cannot read {path}: {describe_json_error(error)}"
        raise DataError(problem, fix="give a JSON file in AlgoPerf's format") from None


def _names(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DataError(f"{place}: the workloads are not a list of names", fix='write them as ["ogbg", "wmt"]')
    return tuple(dict.fromkeys(value))
