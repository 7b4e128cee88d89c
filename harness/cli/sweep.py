"""Read a sweep file: a YAML file in which each key is an option of `bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from harness.cli.resolve import format_grid
from harness.contract.base import Data
from harness.contract.domains import Scalar
from harness.contract.limits import check_integers
from harness.errors import DamagedError, StoreError, UsageError, unknown_name_error
from harness.system.yaml_text import read_yaml


class Sweep(Data, frozen=True, kw_only=True):
    """The content of a sweep file.

    A field that is not listed below sets the option of `bench run` with the same name.

    Args:
        submissions: names of submissions (option `-s`).
        workloads: names of workloads (option `-w`).
        tuning_studies: number of tuning studies (option `--tuning-studies`), or numbers by the name of the workload.
        set: values of hyperparameters by name (option `--set`). A list of values is a grid. Runs with such values are
            never ranked.
        options: options of the executor by name (option `--executor-option`).
    """

    submissions: tuple[str, ...]
    workloads: tuple[str, ...]
    ruleset: str | None = None
    studies: int | None = None
    tuning_studies: int | dict[str, int] | None = None
    seed: int | None = None
    nonce: str | None = None
    set: dict[str, Scalar | tuple[Scalar, ...]] = msgspec.field(default_factory=dict)
    device: str | None = None
    threads: int | None = None
    ranks: int | None = None
    runs: str | None = None
    executor: str | None = None
    options: dict[str, Scalar] = msgspec.field(default_factory=dict)
    jobs: int | None = None
    prune: bool | None = None


#: Fix for errors about an invalid sweep file. It shows the shortest valid file.
_EXAMPLE = "write for example submissions: [wsd], workloads: [lm-tiny]"


def read(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UsageError: the file cannot be read, has an unknown key, or has a value of the wrong type or outside its range.
            The message names the key.
    """
    try:
        content = read_yaml(path)
    except StoreError as error:
        fix = _EXAMPLE if isinstance(error, DamagedError) else "give the path of a YAML file"
        raise UsageError(error.what, fix=fix) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must be a mapping of keys to values", fix=_EXAMPLE)
    for key in content:
        if key not in Sweep.__struct_fields__:
            unknown_key = unknown_name_error("key", str(key), Sweep.__struct_fields__)
            raise UsageError(f"{path}: {unknown_key.what}", fix=unknown_key.fix)
    for key in ("submissions", "workloads"):
        if isinstance(content.get(key), str):
            content[key] = [content[key]]
    try:
        sweep = msgspec.convert(content, Sweep)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}", fix=_EXAMPLE) from None
    check_integers({name: getattr(sweep, name) for name in ("studies", "seed", "threads", "ranks", "jobs")}, f"{path}")
    for name in ("ruleset", "nonce", "device", "runs", "executor"):
        if getattr(sweep, name) is not None and not getattr(sweep, name).strip():
            raise UsageError(f"{path}: {name} is an empty text", fix=f"give a value, or remove the key {name}")
    by_workload = sweep.tuning_studies if isinstance(sweep.tuning_studies, dict) else {}
    for name in by_workload:
        if name not in sweep.workloads:
            unknown_workload = unknown_name_error("workload of this plan", name, sweep.workloads)
            raise UsageError(f"{path}: tuning_studies: {unknown_workload.what}", fix=unknown_workload.fix)
    for number in by_workload.values() if by_workload else (sweep.tuning_studies,):
        check_integers({"tuning_studies": number}, f"{path}")
    return sweep


def apply(context: click.Context, sweep: Sweep, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `bench run` with the values of a sweep.

    Flags and environment variables take precedence over the sweep.
    """
    values: dict[str, Any] = {
        "submissions": sweep.submissions,
        "workloads": sweep.workloads,
        "settings": format_grid({k: v if isinstance(v, tuple) else (v,) for k, v in sweep.set.items()}),
        "executor_options": tuple(f"{name}={_format_scalar(value)}" for name, value in sweep.options.items()),
    }
    scalars = ("ruleset", "studies", "tuning_studies", "seed", "nonce", "device", "threads", "ranks")
    for name in (*scalars, "runs", "executor", "jobs", "prune"):
        values[name] = getattr(sweep, name)
    if values["runs"] is not None:
        values["runs"] = Path(values["runs"])
    explicit = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    effective_values = {
        name: value
        for name, value in values.items()
        if value not in (None, ()) and context.get_parameter_source(name) not in explicit
    }
    return {**options, **effective_values}


def _format_scalar(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
