"""`bench calibrate`: targets, budgets and resolution of a workload from tuned references on seeds of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.calibration.rule import (
    Calibration,
)
from harness.calibration.runner import (
    VARIANT_STUDIES,
    Calibrator,
    _families,
    _kept,
    _known,
    _of_anchor,
    _shown,
    plan_name,
)
from harness.cli import resolve
from harness.cli.output import SCHEMA, json_out
from harness.cli.resolve import open_registry
from harness.planning import plan, rulesets
from harness.report import text
from harness.storage import layout
from harness.system import files


@click.command("calibrate")
@click.argument("workload", type=resolve.NameType("workload"))
@click.option("--families", help="References to tune (a,b); those tagged 'family' that can run there when not given.")
@click.option("--studies", type=click.IntRange(1), help="Fresh seeds of the best; the ruleset's when not given.")
@click.option("--rates", type=click.IntRange(1), help="Learning rates tried per family; the ruleset's when not given.")
@click.option("--variants/--no-variants", default=True, help="Run the best setting on the workload's variants too.")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="BENCH_RUNS", show_default=True,
    help="Folder of local runs.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("calibration"), show_default=True,
    help="Where the calibration and the records it came from are written.",
)  # fmt: skip
@click.option("--device", envvar="BENCH_DEVICE", help="cpu, cuda, mps; the workload's own when not given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Root of all seeds.")
@click.option("--executor", default="local", envvar="BENCH_EXECUTOR", show_default=True, help="Where trials run.")
@click.option("--jobs", type=click.IntRange(1), envvar="BENCH_JOBS", help="Trials at once; as many as fit by default.")
@click.option("--dry-run", is_flag=True, help="Print the first trials and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the calibrations as JSON.")
@click.pass_obj
def command(blocked: list[str], /, workload: str, **options: Any) -> None:
    """Calibrate a workload: tune references, rerun the best on fresh seeds, write what targets follow.

    A variant takes its base's best setting: from the base's calibration, where it alone is asked for.

    Tuning, fresh and leaderboard seeds never meet. Giving the same command again goes on.
    """
    registry = open_registry(blocked)
    (entry,) = resolve.workloads(workload, registry)
    ruleset = rulesets.ruleset("calibration")
    ruleset = msgspec.structs.replace(
        ruleset, trials=options["rates"] or ruleset.trials, studies=options["studies"] or ruleset.studies
    )
    chosen = plan.Settings(ruleset=ruleset, seed=options["seed"], device=options["device"])
    runner = Calibrator(registry, chosen, options)
    families = {
        f"{family.name}@{family.version}": family for family in _families(registry, entry, options["families"], chosen)
    }
    base = entry.name.partition("+")[0]
    if entry.name == base:
        specs = runner.tuning(entry, families)
        made = runner.with_variants(entry, families, specs)
    else:
        kept = _kept(options["out"] / f"{plan_name(base)}.json", base, entry.name)
        setting = _of_anchor(kept.settings, families) or kept.settings[0]
        specs = runner.specs(entry, _known(setting, families, base), "target", VARIANT_STUDIES, [setting.hparams])
        made = runner.variants([entry], families, setting)
    if options["dry_run"]:
        for spec in specs:
            click.echo(f"{layout.run_id(spec)} {spec.submission.name} {_shown(spec.hparams)}")
        return
    results = []
    for result in made:
        _write(options["out"], result)
        results.append(result)
    if options["as_json"]:
        json_out({"schema": SCHEMA, "calibrations": results})
    else:
        for result in results:
            _print(result)


def _write(out: Path, result: Calibration) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = plan_name(result.workload.partition("@")[0])
    payload = msgspec.json.format(msgspec.json.encode(result, order="deterministic"), indent=1)
    files.write_atomically(out / f"{name}.json", payload + b"\n")


def _print(result: Calibration) -> None:
    best = result.settings[0]
    click.echo(
        f"{result.workload}: best of {len(result.settings)} settings is {best.submission}, {_shown(best.hparams)}"
    )
    rows = [
        [f"  {name}", f"{result.metric} {level.value:g}", _hits(level.examples)]
        for name, level in result.levels.items()
    ]
    for stage in result.stages:
        floors = ", ".join(f"{name} {value:g}" for name, value in stage.floors.items())
        rows.append([f"  {stage.name}", f"{result.metric} {stage.value:g}", f"at the end: {floors}" if floors else ""])
    if result.stages:
        found = (
            "none holds" if result.slack is None else f"{result.slack:g} times the errors: {len(result.checks)} seeds"
        )
        rows.append(["  slack", found, ""])
    known = "unknown" if result.resolution is None else f"{result.resolution:.1%}"
    rows.append(["  resolution", known + (", coarse" if result.coarse else ""), ""])
    click.echo(text.columns(rows))


def _hits(examples: Sequence[int | None]) -> str:
    met = sorted(n for n in examples if n is not None)
    span = f", {met[0]:,} to {met[-1]:,} examples" if met else ""
    return f"{len(met)} of {len(examples)} seeds{span}"
