"""`bench ablate`: test which additions of a submission have an effect. An addition is a part or a hyperparameter.

Each variant lacks one addition. A gate (`bench gate`) compares the whole submission with each variant.
"""

from __future__ import annotations

import math
from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.gate import EXIT_UNDECIDED
from harness.cli.gate_options import gate_run_options
from harness.cli.gate_session import open_session
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import NameType, open_registry
from harness.contract.run import ExecutionOptions
from harness.errors import EXIT_OK
from harness.gating.ablation import Ablation, Variant, list_variants, run_ablation
from harness.gating.gate import GateLimits
from harness.gating.setup import GateOptions
from harness.planning.resolve import resolve_submission, split_names
from harness.report import text
from harness.report.ablation import AblationRow, ablation_json, ablation_text
from harness.report.gate import GateReport


@click.command(
    "ablate",
    epilog=examples(
        "bench ablate wsd-ema -w lm-tiny --dry-run",
        "bench ablate ./mine.py -w lm-tiny --only warmup,averaging --max-pairs 12 --json",
    ),
)
@click.argument("submission", type=NameType("submission"))
@click.option(
    "-w", "--workload", "workloads", multiple=True, type=NameType("workload"),
    help="Comma-separated workloads: names, or files ./task.py (default: those of bench gate).",
)  # fmt: skip
@click.option(
    "--only", multiple=True, metavar="NAME", help="Leave out only these parts, kinds of parts or hyperparameters."
)
@click.option(
    "--alpha", type=float, default=0.05, show_default=True,
    help="Maximum probability that any gate falsely reports `helps` or `harms`. Each gate gets an equal share.",
)  # fmt: skip
@click.option("--max-pairs", type=int, default=40, show_default=True, help="Maximum number of pairs of each gate.")
@click.option("--max-minutes", type=float, help="Maximum wall time of this call in minutes, for all gates together.")
@gate_run_options
@click.option("--dry-run", is_flag=True, help="Print what would be removed, without running anything.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def ablate(
    blocked_plugins: list[str],
    submission: str,
    workloads: tuple[str, ...],
    only: tuple[str, ...],
    budget: int | None,
    min_effect: float,
    alpha: float,
    max_pairs: int,
    max_minutes: float | None,
    no_envelope: bool,
    envelopes: Path,
    seed: int,
    device: str | None,
    threads: int,
    runs: Path,
    executor: str,
    jobs: int | None,
    retry_failed: bool,
    allow_slow: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Find out which additions of a submission have an effect, by leaving out one at a time.

    Each variant of the submission differs from it in one point:

    \b
    - A part is left out. Every part except the optimizer has such a variant.
    - A hyperparameter that differs from its part's default has this default.
    - A hyperparameter that may be 0 is 0.

    A gate compares the whole submission with each variant (see bench gate). Running the same command again continues
    the gates; finished runs are not repeated.

    Exit code: 4 if a gate is undecided or was not run, otherwise 0.
    """
    registry = open_registry(blocked_plugins)
    entry = resolve_submission(submission, registry)
    variants = list_variants(entry, registry, split_names(only))
    options = GateOptions(
        runs=runs,
        envelopes=envelopes,
        use_envelope=not no_envelope,
        budget=budget,
        seed=seed,
        threads=threads,
        device=device,
        allow_slow=allow_slow,
        executor=executor,
        execution=ExecutionOptions(jobs=jobs, retry_failed=retry_failed),
    )
    limits = GateLimits(
        alpha=alpha, min_effect=math.log1p(min_effect / 100), max_pairs=max_pairs, max_minutes=max_minutes
    )
    session = open_session(registry, options)

    def show(variant: Variant) -> None:
        note(f"{variant.addition}: {variant.removal}")

    # A dry run also looks up the workloads, so that it refuses the same options as a run.
    chosen = session.workloads(split_names(workloads), budget)
    if dry_run:
        _print_variants(entry.name, variants, as_json)
        return EXIT_OK
    ablations = list(run_ablation(session, entry, variants, chosen, limits, on_variant=show))
    rows = [_row(ablation) for ablation in ablations]
    if as_json:
        print_json(ablation_json(entry.name, alpha, rows))
    else:
        print_text(ablation_text(entry.name, alpha, rows))
    return EXIT_UNDECIDED if {"undecided", "not run"} & {ablation.effect for ablation in ablations} else EXIT_OK


def _print_variants(name: str, variants: tuple[Variant, ...], as_json: bool) -> None:
    if as_json:
        additions = [{"addition": variant.addition, "removal": variant.removal} for variant in variants]
        print_json({"submission": name, "additions": additions})
        return
    print_text(text.columns([["addition", "removed as"], *([v.addition, v.removal] for v in variants)]))
    note(f"{len(variants)} gates of {name}; all of them share the runs of {name} itself")


def _row(ablation: Ablation) -> AblationRow:
    variant, ending = ablation.variant, ablation.ending
    report = None
    if ending is not None:
        result = ending.result
        report = GateReport(
            a=result.setup.a.name,
            b=result.setup.b.name,
            budgets={workload.entry.facts.id: workload.budget for workload in result.setup.workloads},
            envelopes=result.envelopes,
            fallback=ending.fallback,
            by=result.limits.by,
            pairs=result.pairs,
            look=result.progress.look,
            stopped=result.stopped,
            minutes=result.minutes,
            minutes_needed=result.progress.minutes_needed,
            command="",
            series={},
        )
    return AblationRow(
        addition=variant.addition,
        removal=variant.removal,
        effect=ablation.effect,
        gate=report,
        reason=ablation.reason,
    )
