"""Renders one run as text and JSON. The text contains the settings, the results and the learning curve of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from harness.contract.attestation import Attestation
from harness.contract.domains import Scalar
from harness.contract.marks import Mark
from harness.contract.record import ON_CLOCK, Ledger, Phase, Record
from harness.contract.run import Point, RunSpec
from harness.contract.workload import Target
from harness.report import text
from harness.report.attestations import describe_trust
from harness.report.curve import Panel, characters, vertical_limits
from harness.report.values import format_metric
from harness.scoring.audit import audit_hit
from harness.scoring.run_overview import RunOverview, best_and_final_points, primary_target, run_overview
from harness.scoring.trust import trust_level

#: Height of a curve in lines: `HEIGHT` on a workload without stages, `STAGE_HEIGHT` for each stage of a stream.
HEIGHT, STAGE_HEIGHT = 10, 4
#: Width of a curve in characters, if it is written to a pipe or a file. In a terminal, this is the maximum width.
WIDTH = 72
#: Smallest number of evaluations for which a curve is drawn.
MIN_POINTS = 2
#: Times in the ledger below this number of seconds are not shown.
_SHOWN_SECONDS = 0.005
#: The sign after a hyperparameter that the user set.
_OVERRIDE_SIGN = "*"


def run_text(
    record: Record, note: str = "", attestations: Sequence[Attestation] = (), history: Sequence[Mark] = ()
) -> str:
    """Return a description of a run that fits on one screen.

    Args:
        record: the record of the run.
        note: the user's note about the run; may be empty.
        attestations: the attestations beside the record.
        history: all marks of the record, in the order of time.
    """
    spec = record.spec
    title = f"{record.run_id}: {spec.submission.id} on {spec.workload.facts.id}"
    rows = [f"  {name.ljust(10)}{value}" for name, value in _describe_run(record, note, attestations, history) if value]
    width = text.terminal_width()
    lines = [text.wrap(row, width, indent=" " * 12) for row in rows]
    return "\n".join([title, *lines, *_curves(record)])


def _describe_run(
    record: Record, note: str, attestations: Sequence[Attestation], history: Sequence[Mark]
) -> list[tuple[str, str]]:
    """Return rows of a label and a text."""
    spec, usage = record.spec, record.usage
    ruleset = spec.ruleset.id
    stop = f", ends at {spec.stop:,} examples" if spec.stop is not None else ""
    flags = [f"--{name}" for name in ("smoke", "profile", "prune", "deterministic") if getattr(spec, name)]
    seconds = (
        f"evaluation {text.seconds(usage.evaluation_seconds)}, checkpoints {text.seconds(usage.checkpoint_seconds)}"
    )
    memory = f", {usage.peak_memory_bytes / 2**20:,.0f} MiB at most" if usage.peak_memory_bytes else ""
    times = f"{record.started} to {record.finished}" if record.finished else record.started
    return [
        ("ended", f"{record.status}{f': {record.reason}' if record.reason else ''}"),
        *_metric_rows(record),
        ("spent", _describe_spending(record)),
        ("trust", describe_trust(record, attestations) + _describe_audit(record)),
        ("trial", f"study {spec.study}, trial {spec.trial}, {_describe_seed(spec)}, for {spec.purpose}"),
        ("ruleset", ", ".join((ruleset + stop, *flags))),
        ("settings", _describe_settings(record)),
        ("usage", f"{seconds}, import {text.seconds(usage.import_seconds)}{memory}, {usage.parameters:,} parameters"),
        *_ledger_rows(record.ledger),
        ("hardware", _describe_hardware(record)),
        ("sessions", _describe_sessions(record)),
        ("sandbox", record.sandbox),
        ("time", times),
        *(("marked", f"{mark.event} on {mark.time[:10]}: {mark.why}") for mark in history),
        ("note", note),
    ]


def _describe_seed(spec: RunSpec) -> str:
    """Return the root seed, or the first characters of the nonce and its origin."""
    if spec.nonce is None:
        return f"root seed {spec.root_seed}"
    origin = f"beacon, round {spec.nonce.round}" if spec.nonce.source == "beacon" else spec.nonce.source
    return f"nonce {spec.nonce.value[:8]} ({origin})"


def _metric_rows(record: Record) -> list[tuple[str, str]]:
    """Return the best metric, the final metric and the target in one row. A stream has one row per evaluated stage."""
    facts = record.spec.workload.facts
    stages = sorted({point.stage for point in record.points})
    rows = []
    for stage in stages if facts.stages else stages[:1]:
        target = primary_target(facts, stage)
        if target is None:
            continue
        best, final = best_and_final_points(record, target, stage)
        values = "no finite value" if best is None else f"best {format_metric(best, target.metric)}"
        end = f", final {format_metric(final, target.metric)}" if final is not None else ""
        name = f"{facts.stages[stage].name}: {target.metric} " if facts.stages else ""
        where = f" (stage ended at {_stage_end(record, stage)})" if facts.stages else ""
        label = "stage" if facts.stages else target.metric
        if len(label) > 9:
            name, label = f"{label} ", "metric"
        rows.append((label, f"{name}{values}{end}, target {text.target_bound(target)}{where}"))
    return rows


def _describe_audit(record: Record) -> str:
    """Return the primary metric on `audit` at the last evaluation as a clause; empty if no evaluator measured it.

    For the weights of a hit, the clause says whether they also meet the target on `audit`.
    """
    judgements = [judgement for judgement in record.judgements if 0 <= judgement.point < len(record.points)]
    if not judgements:
        return ""
    judgement = judgements[-1]
    target = primary_target(record.spec.workload.facts, record.points[judgement.point].stage)
    if target is None or target.metric not in judgement.audit:
        return ""
    clause = f"; {target.metric} {judgement.audit[target.metric]:.4g} on the split audit"
    audit = audit_hit(record)
    if audit is None:
        return clause
    if not audit.is_confirmed:
        return f"{clause}, misses the target by more than one standard error, so the hit does not count"
    return f"{clause}, meets the target{'' if target.met(judgement.audit) else ' within one standard error'}"


def _stage_end(record: Record, stage: int) -> str:
    """Return where a stage ended, in words."""
    if stage < len(record.stage_hits):
        return f"{record.points[record.stage_hits[stage]].examples:,} examples"
    return "the end of the run"


def _describe_spending(record: Record) -> str:
    """Return the time, examples and steps to the target, or of the whole run if it missed the target."""
    overview, counters = run_overview(record), record.counters
    if record.hit is not None:
        hit = record.points[record.hit]
        amount = (
            f"{overview.seconds:.2f} {record.spec.clock} seconds, {overview.examples:,} examples, {hit.steps:,} steps"
        )
        return f"{amount} to the target"
    scored = counters.process_seconds if record.spec.clock == "process" else counters.seconds
    return f"{scored:.2f} {record.spec.clock} seconds, {counters.examples:,} examples, {counters.steps:,} steps"


def _describe_settings(record: Record) -> str:
    """Return the hyperparameters, with `_OVERRIDE_SIGN` after those that the user set."""
    spec = record.spec
    values = [
        f"{name}={_format_value(value)}{_OVERRIDE_SIGN if name in spec.overridden else ''}"
        for name, value in spec.hparams.items()
    ]
    return " ".join(values) + (f" ({_OVERRIDE_SIGN} set by the user)" if spec.overridden else "")


def _format_value(value: Scalar) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _describe_hardware(record: Record) -> str:
    """Return the hardware class, the device, the platform and the versions of the software."""
    environment, spec = record.environment, record.spec
    if environment is None:
        return spec.hardware
    device = [
        environment.device_name or environment.hardware_name,
        f"{spec.threads} threads" if spec.threads > 1 else "",
    ]
    software = f"python {environment.python}, torch {environment.torch}"
    git = f"git {environment.git}" if environment.git else ""
    return ", ".join(filter(None, (spec.hardware, *device, environment.platform, software, git)))


def _ledger_rows(ledger: Ledger | None) -> list[tuple[str, str]]:
    """Return the times of the run by phase, on and off the clock, and its restarts."""
    if ledger is None:
        return []
    helpers = ""
    if ledger.helper_seconds >= _SHOWN_SECONDS:
        names = ", ".join(f"{name} {_format_time(seconds)}" for name, seconds in ledger.helpers.items())
        helpers = f"; scored time of helpers {_format_time(ledger.helper_seconds)}{f': {names}' if names else ''}"
    restarts = [
        f"ended by the {restart.by}{f' ({restart.reason})' if restart.reason else ''}, "
        f"{_format_time(restart.lost.process_seconds)} repeated{' and scored' if restart.charged else ''}"
        for restart in ledger.restarts
    ]
    attempts = f"{ledger.attempts} runs of this trial" if ledger.attempts > 1 else ""
    return [
        ("on clock", _describe_phases(ledger, on_clock=True)),
        ("off clock", _describe_phases(ledger, on_clock=False) + helpers),
        ("restarts", f"{len(restarts)}: {'; '.join(restarts)}" if restarts else ""),
        ("attempts", attempts),
    ]


def _describe_phases(ledger: Ledger, *, on_clock: bool) -> str:
    """Return the process seconds and the wall seconds of every phase, in the order of a run."""
    texts = []
    for phase in get_args(Phase):
        spent = ledger.phases.get(phase)
        is_shown = spent is not None and max(spent.seconds, spent.process_seconds) >= _SHOWN_SECONDS
        if spent is not None and is_shown and (phase in ON_CLOCK) is on_clock:
            texts.append(f"{phase} {spent.process_seconds:.2f}/{spent.seconds:.2f}")
    return f"{', '.join(texts)} (process/wall seconds)" if texts else ""


def _format_time(seconds: float) -> str:
    """Return a time of a ledger as text. Most of these times are far below a second."""
    return f"{seconds:.2f} s" if seconds < 10 else text.seconds(seconds)


def _describe_sessions(record: Record) -> str:
    """Return the sessions of a run; empty for a run with only one session."""
    if len(record.sessions) < 2:
        return ""
    starts = [f"{session.id} from evaluation {session.first_point}" for session in record.sessions]
    return f"{len(starts)}: {', '.join(starts)}"


# --- curves -----------------------------------------------------------------------------------------


def _curves(record: Record) -> list[str]:
    """Return the curves of the metric, the training loss and the norm of the gradients, as far as they were recorded.

    On a stream, the metric has one curve per stage.
    """
    facts = record.spec.workload.facts
    lines: list[str] = []
    for stage in sorted({point.stage for point in record.points}):
        target = primary_target(facts, stage)
        points = [point for point in record.points if point.stage == stage]
        if target is not None:
            name = f"{facts.stages[stage].name}: " if facts.stages else ""
            lines += draw_metric(points, target, name, STAGE_HEIGHT if facts.stages else HEIGHT)
    losses = [(point, _train_loss(point)) for point in record.points]
    recorded = [(point.examples, loss) for point, loss in losses if loss is not None]
    if len(recorded) >= MIN_POINTS:
        lines += ["", "training loss by examples"]
        lines += _draw([x for x, _ in recorded], [y for _, y in recorded], None, STAGE_HEIGHT)
    norms = [(point.examples, point.grad_norm) for point in record.points if point.grad_norm is not None]
    if len(norms) >= MIN_POINTS:
        lines += ["", "norm of the gradients by examples"]
        lines += _draw([x for x, _ in norms], [y for _, y in norms], None, STAGE_HEIGHT)
    return lines


def _train_loss(point: Point) -> float | None:
    """Return the mean training loss since the previous evaluation. Old records have only the loss of the last pass."""
    return point.train_loss if point.mean_train_loss is None else point.mean_train_loss


def draw_metric(points: Sequence[Point], target: Target, name: str = "", height: int = HEIGHT) -> list[str]:
    """Draw a metric against examples, with a dotted line at the target.

    The list of lines is empty if there are fewer than two evaluations.
    """
    measured = [point for point in points if target.metric in point.metrics]
    if len(measured) < MIN_POINTS:
        return []
    title = f"{name}{target.metric} by examples; the dotted line is the target {text.target_bound(target)}"
    values = [point.metrics[target.metric] for point in measured]
    return ["", title, *_draw([point.examples for point in measured], values, target, height)]


def _draw(x: Sequence[int], y: Sequence[float], target: Target | None, height: int) -> list[str]:
    bounds = vertical_limits(y, target)
    level = None if target is None else target.value
    panel = Panel(label="", x=x, y=y, limits=bounds, level=level)
    width = min(WIDTH, (text.terminal_width() or WIDTH + 16) - 16)
    return characters(panel, max(width, 16), height)


# --- JSON -------------------------------------------------------------------------------------------


def overview_json(overview: RunOverview) -> dict[str, Any]:
    """Return the fields of an overview as plain data."""
    target = overview.target
    return {
        "run_id": overview.run_id,
        "submission": overview.submission,
        "workload": overview.workload,
        "overrides": overview.overrides,
        "purpose": overview.purpose,
        "study": overview.study,
        "trial": overview.trial,
        "root_seed": overview.root_seed,
        "status": overview.status,
        "reason": overview.reason,
        "metric": None if target is None else target.metric,
        "goal": None if target is None else target.goal,
        "target": None if target is None else target.value,
        "best": overview.best,
        "final": overview.final,
        "examples": overview.examples,
        "seconds": overview.seconds,
        "hit": overview.hit,
        "started": overview.started,
        "mark": overview.mark,
        "note": overview.note,
    }


def run_json(
    record: Record, note: str = "", attestations: Sequence[Attestation] = (), history: Sequence[Mark] = ()
) -> dict[str, Any]:
    """Return a run as plain data: its overview, its trust level, its attestations, its marks and the record."""
    last = history[-1] if history and history[-1].event != "restored" else None
    return {
        **overview_json(run_overview(record, note, last)),
        "marks": list(history),
        "trust": trust_level(record, attestations),
        "attestations": [item for item in attestations if item.record == record.content_hash],
        "record": record,
    }
