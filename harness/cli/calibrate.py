"""`bench calibrate`: compute a workload's targets and resolution from runs of tuned references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from harness.calibration.results import Calibration
from harness.calibration.runner import (
    VARIANT_STUDIES,
    CalibrationOptions,
    Calibrator,
    find_anchor_setting,
    format_hparams,
    read_base_calibration,
    reference_families,
    setting_submission,
)
from harness.cli.calibrate_envelope import make_envelope, print_planned
from harness.cli.commands import examples, refuse_typed
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import LimitedInteger, NameType, open_registry
from harness.cli.trial_options import (
    device_option,
    executor_option,
    jobs_option,
    retry_failed_option,
    runs_option,
    seed_option,
)
from harness.cli.watching import watch_trials
from harness.errors import UsageError
from harness.planning import rulesets
from harness.planning.internal_rulesets import ENVELOPE_RULESET
from harness.planning.resolve import resolve_workload
from harness.planning.trials import PlanSettings
from harness.report import text
from harness.storage.layout import file_stem
from harness.system.files import write_atomically


@click.command(
    "calibrate", epilog=examples("bench calibrate lm-tiny --dry-run", "bench calibrate lm-tiny --envelope --dry-run")
)
@click.argument("workload", type=NameType("workload"))
@click.option(
    "--families",
    help="Comma-separated references to tune (default: all submissions with the tag `family` that can run here).",
)
@click.option(
    "--studies",
    type=LimitedInteger("studies"),
    help="Number of new seeds with which the best setting is rerun (default: from the ruleset).",
)
@click.option(
    "--rates", type=LimitedInteger("rates"), help="Number of learning rates per reference (default: from the ruleset)."
)
@click.option(
    "--tuning-studies",
    type=LimitedInteger("studies"),
    help="Number of tuning seeds for each learning rate (default: from the ruleset). Each learning rate has its own "
    "seeds; with --envelope, all learning rates have the same seeds.",
)
@click.option(
    "--envelope",
    is_flag=True,
    help="Measure the envelope of the reference for the ruleset fixed-budget, instead of the targets.",
)
@click.option(
    "--up-to", type=click.Choice(["2", "4"]), default="2", show_default=True,
    help="Largest horizon of the envelope, as a multiple of the budget.",
)  # fmt: skip
@click.option(
    "--budget-studies", type=LimitedInteger("studies"), metavar="N",
    help="With --envelope, number of new seeds at the budget, and of further seeds that check the envelope (default: "
    "as at the other horizons, --studies). A workload with much noise needs many.",
)  # fmt: skip
@click.option(
    "--variants/--no-variants", default=True, help="Also rerun the best setting on the workload's variants (default)."
)
@runs_option
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("calibration"), show_default=True,
    help="Folder to which the calibration and its records are written.",
)  # fmt: skip
@device_option
@seed_option
@executor_option
@jobs_option
@retry_failed_option
@click.option(
    "--dry-run", is_flag=True, help="Print the tuning trials, or the trials of a variant, without running anything."
)
@click.option("--json", "as_json", is_flag=True, help="Print the calibrations, or the planned trials, as JSON.")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    workload: str,
    families: str | None,
    studies: int | None,
    rates: int | None,
    tuning_studies: int | None,
    envelope: bool,
    up_to: str,
    budget_studies: int | None,
    variants: bool,
    runs: Path,
    out: Path,
    device: str | None,
    seed: int,
    executor: str,
    jobs: int | None,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Calibrate a workload: tune references, rerun the best setting on new seeds, and write the resulting targets.

    A variant (such as lm-tiny+postnorm) uses the best setting of its base workload. If only the variant is calibrated,
    the setting is read from the calibration of the base workload.

    With --envelope, measure the envelope: the final metric of the reference as a function of the horizon. The horizons
    range from an eighth of the budget to twice the budget, or to four times the budget (--up-to 4). Each horizon has
    its own learning rate, which is chosen on a tuning seed. The ruleset fixed-budget computes its compute multipliers
    from the envelope.

    The seeds of tuning, of calibration and of the leaderboard are disjoint. If the command is repeated, only unfinished
    trials are run.
    """
    registry = open_registry(context.obj)
    entry = resolve_workload(workload, registry)
    if envelope and families:
        raise UsageError(
            "--families does not apply to --envelope, which has one reference", fix="leave out --families or --envelope"
        )
    base = entry.name.partition("+")[0]
    _refuse_unused(context, entry.name, base)
    installed = ENVELOPE_RULESET if envelope else rulesets.ruleset("calibration")
    ruleset = msgspec.structs.replace(
        installed,
        trials=rates or installed.trials,
        studies=studies or installed.studies,
        tuning_studies=tuning_studies or installed.tuning_studies,
    )
    # The run of an envelope does not depend on the number of runs, so that more seeds can be added to an envelope.
    plan_settings = PlanSettings(ruleset=installed if envelope else ruleset, seed=seed, device=device)
    options = CalibrationOptions(
        runs=runs, out=out, executor=executor, jobs=jobs, variants=variants, retry_failed=retry_failed
    )
    calibrator = Calibrator(registry, plan_settings, options, lambda total: watch_trials(registry, total), note)
    if envelope:
        make_envelope(
            entry, registry, calibrator, ruleset, float(up_to), out,
            budget_studies=budget_studies, dry_run=dry_run, as_json=as_json,
        )  # fmt: skip
        return
    references = {
        f"{family.name}@{family.version}": family
        for family in reference_families(registry, entry, families, plan_settings)
    }
    if entry.name == base:
        specs = calibrator.plan_tuning(entry, references)
        calibrations = calibrator.calibrate_with_variants(entry, references, specs)
    else:
        base_calibration = read_base_calibration(out / f"{file_stem(base)}.json", base, entry.name)
        setting = find_anchor_setting(base_calibration.settings, references) or base_calibration.settings[0]
        submission = setting_submission(setting, references, base)
        specs = calibrator.plan(entry, submission, "target", VARIANT_STUDIES, [setting.hparams])
        calibrations = calibrator.calibrate_variants([entry], references, setting)
    if dry_run:
        print_planned(specs, as_json)
        return
    results = []
    for result in calibrations:
        _write_calibration(out, result)
        results.append(result)
    if as_json:
        print_json({"calibrations": results})
    else:
        for result in results:
            _print_calibration(result)


def _refuse_unused(context: click.Context, name: str, base: str) -> None:
    """Raise an error if an option was typed that has no effect on this workload, or with or without `--envelope`."""
    if context.params["envelope"]:
        refuse_typed(context, ["variants"], "--envelope measures the envelope of one workload")
        return
    refuse_typed(context, ["up_to", "budget_studies"], "a calibration without --envelope has one horizon")
    if name != base:
        reason = f"{name} runs with the best setting of {base} on {VARIANT_STUDIES} seeds"
        refuse_typed(context, ["studies", "rates", "tuning_studies"], reason)


def _write_calibration(out: Path, result: Calibration) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = file_stem(result.workload.partition("@")[0])
    payload = msgspec.json.format(msgspec.json.encode(result, order="deterministic"), indent=1)
    write_atomically(out / f"{name}.json", payload + b"\n")


def _print_calibration(result: Calibration) -> None:
    best = result.settings[0]
    setting = f"{best.submission}, {format_hparams(best.hparams)}"
    print_text(f"{result.workload}: best of {len(result.settings)} settings is {setting}")
    rows = [
        [f"  {name}", f"{result.metric} {level.value:g}", _format_hits(level.examples)]
        for name, level in result.levels.items()
    ]
    for stage in result.stages:
        floors = ", ".join(f"{name} {value:g}" for name, value in stage.floors.items())
        rows.append([f"  {stage.name}", f"{result.metric} {stage.value:g}", f"at the end: {floors}" if floors else ""])
    if result.stages or result.uncalibrated or result.checks:
        tolerance_text = result.missing_factor or f"{result.slack:g}, from {len(result.checks)} seeds"
        rows.append(["  tolerance factor", tolerance_text, ""])
    resolution_text = "unknown" if result.resolution is None else f"{result.resolution:.1%}"
    rows.append(["  resolution", resolution_text + (", coarse" if result.coarse else ""), ""])
    print_text(text.columns(rows))


def _format_hits(examples: Sequence[int | None]) -> str:
    """Return how many seeds reached a level, and the range of the numbers of examples that they needed."""
    hit_examples = sorted(n for n in examples if n is not None)
    span = f", {hit_examples[0]:,} to {hit_examples[-1]:,} examples" if hit_examples else ""
    return f"{len(hit_examples)} of {len(examples)} seeds{span}"
