"""Print the plan of `bench run --dry-run`: the trials, their estimated time, and what this machine lacks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.cli.output import note, print_json_list, print_text
from harness.contract.run import ExecutionOptions, RunSpec
from harness.errors import BenchError
from harness.execution.resources import list_usable_cores, list_visible_gpus
from harness.execution.trial import finished_summary
from harness.planning.estimate import Estimates
from harness.planning.phases import PhasedPlan
from harness.report import text
from harness.storage.layout import run_id

_HEADING = ("run", "submission", "workload", "purpose", "study", "trial", "device", "estimate", "hyperparameters")


def print_plan(phased_plan: PhasedPlan, runs: Path, execution: ExecutionOptions, as_json: bool) -> None:
    """Print the trials of a plan.

    Args:
        phased_plan: the plan. It may contain trials that cannot run on this machine.
        runs: folder of local runs.
        execution: options for the executor.
        as_json: whether to print JSON.
    """
    specs = phased_plan.phase1
    estimates = Estimates([folder for folder in (runs, Path("results")) if folder.is_dir()])
    if as_json:
        planned = (
            {
                "run_id": run_id(spec),
                "seconds": estimates.median_seconds(spec),
                "seconds_limit": spec.seconds_allowed,
                "spec": spec,
            }
            for spec in specs
        )
        missing = [{"what": error.what, "fix": error.fix} for error in phased_plan.missing]
        print_json_list({"pending": phased_plan.pending, "missing": missing}, "specs", planned)
        return
    rows = [list(_HEADING)]
    for spec in specs:
        hparams = " ".join(f"{name}={value}" for name, value in spec.hparams.items())
        row = [run_id(spec), spec.submission.name, spec.workload.facts.id, spec.purpose, str(spec.study)]
        rows.append([*row, str(spec.trial), spec.device, _describe_duration(spec, estimates), hparams])
    print_text(text.columns(rows))
    unfinished = [spec for spec in specs if finished_summary(spec, run_id(spec), runs, execution) is None]
    jobs = execution.jobs or _parallel_trials(specs)
    total, without_estimate = estimates.total_seconds(unfinished, jobs)
    pending_count = phased_plan.pending
    pending_text = (
        f", then {pending_count} trials with the stops or settings chosen from these trials" if pending_count else ""
    )
    estimate_text = ""
    if without_estimate < len(unfinished):
        estimate_text = f"; about {text.seconds(total)} with {jobs} at once, estimated from earlier records"
    finished_text = f", {len(specs) - len(unfinished)} of them finished" if len(unfinished) < len(specs) else ""
    note(f"{len(specs)} trials{finished_text}{pending_text}{estimate_text}")
    if without_estimate:
        note(
            f"no earlier record from this hardware for {without_estimate} of them; the total does not include these "
            "trials, and times with ≤ are limits of the workload"
        )
    note_missing(phased_plan.missing)


def note_missing(missing: Sequence[BenchError]) -> None:
    """Print the devices and data that this machine lacks for the trials of a plan, one per line."""
    if missing:
        note("this machine lacks what these trials need:")
    for line in dict.fromkeys(str(error) for error in missing):
        note(f"  {line}")


def _describe_duration(spec: RunSpec, estimates: Estimates) -> str:
    """Return the estimated wall time of a trial in words.

    Without an estimate, return the limit on scored seconds. For a smoke run, return `?`.
    """
    if spec.smoke:
        return "?"
    seconds = estimates.median_seconds(spec)
    return f"≤ {text.seconds(spec.seconds_allowed)}" if seconds is None else text.seconds(seconds)


def _parallel_trials(specs: Sequence[RunSpec]) -> int:
    """Return the number of trials that fit on this machine at once."""
    cores_per_trial = max((spec.ranks * spec.threads for spec in specs), default=1)
    gpus_per_trial = max((spec.ranks for spec in specs if spec.device.startswith("cuda")), default=0)
    trials_on_cores = len(list_usable_cores()) // cores_per_trial
    if not gpus_per_trial:
        return max(1, trials_on_cores)
    return max(1, min(trials_on_cores, len(list_visible_gpus()) // gpus_per_trial))
