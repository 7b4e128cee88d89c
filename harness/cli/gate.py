"""`bench gate`: test whether one submission is better than another, with a sequential test on pairs of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.cli.commands import examples, is_typed, refuse_typed, repeat_command
from harness.cli.gate_options import gate_run_options
from harness.cli.gate_session import open_session
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import NameType, open_registry
from harness.cli.watching import observe_option
from harness.contract.run import ExecutionOptions
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError
from harness.gating.gate import GateLimits
from harness.gating.series import FOLDER, SeriesFile, check_same_series
from harness.gating.session import GateEnding, GateSession
from harness.gating.setup import GateOptions
from harness.planning.resolve import split_names
from harness.plugins.registry import Registry
from harness.report.gate import GateReport, gate_json, gate_text
from harness.scoring.gate import GateAxis
from harness.scoring.gate_envelope import GateEnvelope
from harness.tuning.best_settings import FILE
from harness.tuning.known_settings import KnownSettings

#: Exit code of an undecided gate.
EXIT_UNDECIDED = 4
#: After an undecided gate, a command is printed that continues the gate with at least this number of further pairs.
MORE_PAIRS = 10
#: Options of a gate that do not change its envelopes.
NOT_OF_ENVELOPES = (
    "against", "workloads", "use_best", "settings_file", "by", "min_effect", "alpha", "max_pairs", "max_minutes",
    "no_envelope", "series", "confirm", "series_file",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GateFlags:
    """The options of `bench gate`, one field per option."""

    against: str | None
    workloads: tuple[str, ...]
    budget: int | None
    use_best: bool
    settings_file: Path
    by: GateAxis
    min_effect: float
    alpha: float
    max_pairs: int
    max_minutes: float | None
    no_envelope: bool
    only_envelopes: tuple[str, ...]
    envelopes: Path
    series: str | None
    confirm: str | None
    series_file: Path | None
    seed: int
    device: str | None
    threads: int
    runs: Path
    executor: str
    jobs: int | None
    retry_failed: bool
    allow_slow: bool
    observe: tuple[str, ...]


@click.command(
    "gate",
    epilog=examples(
        "bench gate ./candidate.py --against ./best.py -w lm-tiny --series mine --max-minutes 15 --json",
        "bench gate --confirm mine --json",
    ),
)
@click.argument("a", required=False, type=NameType("submission"))
@click.option(
    "--against", type=NameType("submission"), help="Submission B, with which A is compared (default: the reference)."
)
@click.option(
    "-w", "--workload", "workloads", multiple=True, type=NameType("workload"),
    help="Comma-separated workloads: names, or files ./task.py (default: CPU workloads on pools that need no dataset).",
)  # fmt: skip
@click.option(
    "--best", "use_best", is_flag=True,
    help="Run A and B with their best known settings (bench tune --write) instead of their defaults.",
)  # fmt: skip
@click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path, dir_okay=False), default=FILE, show_default=True,
    help="File of the best known settings.",
)  # fmt: skip
@click.option(
    "--by", type=click.Choice(["examples", "time"]), default="examples", show_default=True,
    help="Compare the examples or the scored seconds that A and B need for the same metric.",
)  # fmt: skip
@click.option(
    "--alpha", type=float, default=0.05, show_default=True, help="Maximum probability of a false `better` or `worse`."
)
@click.option(
    "--max-pairs",
    type=int,
    default=40,
    show_default=True,
    help="Maximum number of pairs, counting the pairs of earlier calls.",
)
@click.option("--max-minutes", type=float, help="Maximum wall time of this call in minutes.")
@click.option(
    "--envelope", "only_envelopes", multiple=True, type=NameType("workload"), metavar="WORKLOAD",
    help="Only measure the envelopes of these workloads (comma-separated), without a gate.",
)  # fmt: skip
@click.option(
    "--series",
    metavar="NAME",
    help="Test A as the next candidate of this series. A series limits the false discovery rate to alpha.",
)
@click.option("--confirm", metavar="NAME", help="Retest the kept candidates of this series on new seeds.")
@click.option(
    "--series-file", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH",
    help="File with the state of the series (default: .bench-series/NAME.json).",
)  # fmt: skip
@gate_run_options
@observe_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def gate(context: click.Context, /, a: str | None, as_json: bool, **values: Any) -> int:
    """Test whether submission A is better than submission B, with as few pairs of runs as possible.

    The runs of a pair have equal seeds. After each pair, a sequential test decides whether the gate ends. Running the
    same command again continues the gate.

    Exit code: 0 better; 1 worse, equivalent or identical; 2 wrong usage; 4 undecided.
    """
    registry, flags = open_registry(context.obj), GateFlags(**values)
    known = KnownSettings(flags.settings_file) if flags.use_best else None
    session = _open_session(registry, flags, known)
    workloads = split_names(flags.workloads)
    if flags.only_envelopes:
        _raise_if(
            a is not None, f"--envelope only measures envelopes, so it cannot gate {a}", "leave out A or --envelope"
        )
        refuse_typed(context, NOT_OF_ENVELOPES, "--envelope only measures envelopes")
        return _make_envelopes(session, split_names(flags.only_envelopes), flags.budget, as_json)
    limits = GateLimits(
        alpha=flags.alpha,
        min_effect=math.log1p(flags.min_effect / 100),
        max_pairs=flags.max_pairs,
        max_minutes=flags.max_minutes,
        by=flags.by,
    )
    if flags.confirm:
        _raise_if(
            bool(a or workloads or flags.against or flags.series),
            "--confirm retests the kept candidates of a series against the submission B of the first candidate",
            "leave out A, --against, --workload and --series",
        )
        file = _open_series_file(flags.confirm, flags)
        _check_confirmation(context, flags, limits, file)
        return _confirm_series(session, file, limits, context, as_json)
    if a is None:
        raise UsageError("no submission is named", fix="run bench gate A --against B -w WORKLOAD")
    if not flags.series:
        refuse_typed(context, ["series_file"], "this gate is not part of a series")
    if known is not None:
        planned = session.setup(a, flags.against, workloads, budget=flags.budget).plan_pair(0)
        for line in known.lines(spec for _, spec in planned):
            note(line)
    if flags.series:
        file = _open_series_file(flags.series, flags)
        ending = session.gate_in_series(file, a, flags.against, workloads, limits)
        report = _make_report(ending, context, file.name)
    else:
        ending = session.gate(session.setup(a, flags.against, workloads, budget=flags.budget), limits)
        report = _make_report(ending, context)
    if as_json:
        print_json(gate_json(report))
    else:
        print_text(gate_text(report))
    return _exit_code(ending.result.outcome)


def _exit_code(outcome: str) -> int:
    return {"better": EXIT_OK, "undecided": EXIT_UNDECIDED}.get(outcome, EXIT_FAILED)


def _raise_if(condition: bool, problem: str, fix: str) -> None:
    """Raise a UsageError if a condition holds."""
    if condition:
        raise UsageError(problem, fix=fix)


def _open_series_file(name: str, flags: GateFlags) -> SeriesFile:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} is not a valid name of a series", fix="use letters, digits, - and _")
    return SeriesFile(flags.series_file or FOLDER / f"{name}.json", name)


def _check_confirmation(context: click.Context, flags: GateFlags, limits: GateLimits, file: SeriesFile) -> None:
    """Raise an error if an option was typed whose value is not that of the series, because the series determines it."""
    log = file.read()
    if log is None:
        return
    values = {"alpha": limits.alpha, "seed": flags.seed, "min_effect": limits.min_effect, "by": limits.by}
    typed = {name: value for name, value in values.items() if is_typed(context, name)}
    check_same_series(file, log, msgspec.structs.replace(log, **typed))
    kept = [candidate for candidate in log.candidates if candidate.kept]
    _raise_if(
        is_typed(context, "budget") and any(candidate.budget != flags.budget for candidate in kept),
        f"the candidates of {file.name} were gated at another --budget",
        "leave out --budget: the confirmation has the budget of the series",
    )
    _raise_if(
        flags.use_best and is_typed(context, "use_best") and not any(c.a.hparams or c.b.hparams for c in kept),
        f"the candidates of {file.name} were gated without --best",
        "leave out --best: the confirmation has the hyperparameters of the series",
    )


def _open_session(registry: Registry, flags: GateFlags, known: KnownSettings | None) -> GateSession:
    options = GateOptions(
        runs=flags.runs,
        envelopes=flags.envelopes,
        budget=flags.budget,
        seed=flags.seed,
        threads=flags.threads,
        device=flags.device,
        allow_slow=flags.allow_slow,
        executor=flags.executor,
        use_envelope=not flags.no_envelope,
        best_settings=known.values if known else None,
        execution=ExecutionOptions(jobs=flags.jobs, retry_failed=flags.retry_failed),
    )
    return open_session(registry, options)


def _make_envelopes(session: GateSession, names: Sequence[str], budget: int | None, as_json: bool) -> int:
    """Measure the envelopes of workloads, print them, and return the exit code."""
    envelopes: list[GateEnvelope] = []
    for workload in session.workloads(names, budget):
        envelope = session.envelope(workload)
        if envelope is None:
            problem = f"no envelope of {workload.name} can be measured, because no reference can run on this workload"
            raise UsageError(problem, fix="gate on this workload with --no-envelope")
        envelopes.append(envelope)
    if as_json:
        print_json({"envelopes": envelopes})
        return EXIT_OK
    for envelope in envelopes:
        points = ", ".join(f"{h:,}: {v:.4g}" for h, v in zip(envelope.horizons, envelope.values, strict=True))
        kind = " (provisional)" if envelope.provisional else ""
        print_text(f"{envelope.workload}: {envelope.metric} of {envelope.reference} by examples: {points}{kind}")
    return EXIT_OK


def _confirm_series(
    session: GateSession, file: SeriesFile, limits: GateLimits, context: click.Context, as_json: bool
) -> int:
    """Retest the kept candidates of a series and return the exit code.

    Each kept candidate is compared with the submission B of the first candidate. The exit code is:

    - 1 if a verdict is `worse`, `equivalent` or `identical`;
    - otherwise 4 if a verdict is `undecided`;
    - otherwise 0, because every kept candidate is better.
    """
    retests = [
        (number, candidate, _make_report(end, context)) for number, candidate, end in session.confirm(file, limits)
    ]
    outcomes = [report.verdict.outcome for _, _, report in retests]
    if as_json:
        # `asked` is the candidate's name or path, as the user gave it.
        entries = [
            {"candidate": number, "submission": candidate.a.asked, **gate_json(report)}
            for number, candidate, report in retests
        ]
        print_json({"series": file.name, "confirmed": entries})
    for number, _, report in () if as_json else retests:
        print_text(f"candidate {number}: {gate_text(report)}")
    if not retests:
        note(f"no candidate of the series {file.name} was kept, so there is nothing to retest")
    codes = set(map(_exit_code, outcomes))
    return next((code for code in (EXIT_FAILED, EXIT_UNDECIDED) if code in codes), EXIT_OK)


def _make_report(ending: GateEnding, context: click.Context, series: str = "") -> GateReport:
    result = ending.result
    look = result.progress.look
    command = ""
    if result.outcome == "undecided" and not look.is_over:
        pairs = look.pairs + max(MORE_PAIRS, look.pairs_needed or 0)
        command = repeat_command(context, {"max_pairs": str(max(pairs, context.params["max_pairs"]))})
    return GateReport(
        a=result.setup.a.name,
        b=result.setup.b.name,
        budgets={workload.entry.facts.id: workload.budget for workload in result.setup.workloads},
        envelopes=result.envelopes,
        fallback=ending.fallback,
        by=result.limits.by,
        pairs=result.pairs,
        look=look,
        stopped=result.stopped,
        minutes=result.minutes,
        minutes_needed=result.progress.minutes_needed,
        command=command,
        series=_series_fields(ending, series),
    )


def _series_fields(ending: GateEnding, name: str) -> dict[str, Any]:
    if ending.position is None or ending.log is None:
        return {}
    candidates = ending.log.candidates
    return {
        "name": name,
        "candidate": ending.position.number,
        "level": ending.position.candidate.level,
        "keep": candidates[ending.position.number - 1].kept,
        "tested": sum(not candidate.open for candidate in candidates),
        "kept": sum(candidate.kept for candidate in candidates),
    }
