"""`bench calibrate --envelope`: measure the envelope of a workload's reference, and print it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.calibration.envelopes import OWN_MULTIPLIER, EnvelopeMaker, count_needed_seeds, holds, own_multiplier
from harness.calibration.runner import Calibrator, format_hparams
from harness.cli.output import note, print_json, print_text
from harness.contract.domains import HParams
from harness.contract.entries import WorkloadEntry
from harness.contract.envelope import ReferenceEnvelope
from harness.contract.ruleset import Ruleset
from harness.contract.run import Purpose, RunSpec
from harness.errors import UsageError
from harness.planning.compose import compose
from harness.planning.references import find_reference
from harness.plugins.registry import Registry
from harness.report import text
from harness.scoring.multiplier_tables import format_interval, format_multiplier
from harness.storage.envelopes import ENVELOPES_FOLDER, write_envelope
from harness.storage.layout import run_id


def make_envelope(
    entry: WorkloadEntry,
    registry: Registry,
    calibrator: Calibrator,
    ruleset: Ruleset,
    largest_share: float,
    out: Path,
    *,
    budget_studies: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make, write and print the envelope of a workload. With `dry_run`, only print the first tuning trials.

    `EnvelopeMaker` describes the parameters `ruleset`, `largest_share` and `budget_studies`.

    Raises:
        UsageError: no reference can run on the workload, there is only one study, or the envelope cannot be made from
            the runs.
    """
    if ruleset.studies < 2:
        raise UsageError("an envelope needs at least two seeds at each horizon", fix="give --studies 5")
    reference = find_reference(entry.facts, registry, ruleset)
    if reference is None:
        raise UsageError(f"no reference can run on {entry.name}", fix="install a submission with the tag `reference`")

    def plan(purpose: Purpose, studies: int, point: HParams, first_study: int, horizon: int) -> Sequence[RunSpec]:
        return calibrator.plan(entry, reference, purpose, studies, [point], first_study=first_study, horizon=horizon)

    maker = EnvelopeMaker(
        entry,
        reference,
        compose(reference, registry),
        plan,
        calibrator.run,
        ruleset=ruleset,
        largest_share=largest_share,
        budget_studies=budget_studies,
        note=note,
    )
    if dry_run:
        print_planned(maker.plan_tuning(), as_json)
        return
    envelope = maker.make()
    path = write_envelope(out / ENVELOPES_FOLDER.name, envelope)
    if not holds(envelope):
        low, high = OWN_MULTIPLIER
        needed = count_needed_seeds(envelope)
        advice = "the settings of neighbouring horizons may be wrong: give more --rates or --tuning-studies"
        if needed is not None and needed > envelope.budget_seeds:
            advice = f"with the noise of this workload, about {needed} seeds (--budget-studies) are needed"
        note(
            f"warning: the reference's own compute multiplier on further seeds should be 1, but is not within {low} to "
            f"{high}; do not use this envelope; {advice}"
        )
    if as_json:
        print_json({"envelope": envelope})
    else:
        _print_envelope(envelope, path)


def print_planned(specs: Sequence[RunSpec], as_json: bool) -> None:
    """Print planned trials, one line for each, or as JSON."""
    if as_json:
        print_json({"specs": [{"run_id": run_id(spec), "spec": spec} for spec in specs]})
        return
    for spec in specs:
        setting = f"{spec.submission.name} {format_hparams(spec.hparams)}"
        examples = spec.stop or spec.workload.facts.budget.horizon
        print_text(f"{run_id(spec)} {setting}, {examples:,} examples, {spec.purpose} study {spec.study}")
    note(f"{len(specs)} trials")


def _print_envelope(envelope: ReferenceEnvelope, path: Path) -> None:
    rows = [["examples", "learning rate", f"{envelope.metric}, mean", "range of the seeds"]]
    for horizon in envelope.horizons:
        mean = sum(horizon.metrics) / len(horizon.metrics)
        span = f"{min(horizon.metrics):.4g} to {max(horizon.metrics):.4g}"
        rows.append([f"{horizon.examples:,}", f"{horizon.hparams.get('lr', '–')}", f"{mean:.4g}", span])
    own = own_multiplier(envelope)
    print_text(f"{envelope.workload}: envelope of {envelope.reference}, written to {path}")
    print_text(text.columns(rows))
    interval = format_interval(own)
    print_text(
        f"compute multiplier of the reference on {len(envelope.checks)} further seeds: {format_multiplier(own)}"
        + (f" [{interval}]" if interval else "")
    )
