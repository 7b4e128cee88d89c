"""Chooses the ruleset under which `bench compare` compares, and compares results under `fixed-budget`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from harness.cli.output import note
from harness.cli.record_folders import is_submission, one_group, runs_of_submission
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError, unknown_name_error
from harness.scoring.multiplier_board import MultiplierBoard
from harness.scoring.multiplier_comparison import MultiplierComparison, compare_multipliers
from harness.scoring.multipliers import STOPPING, score_boards
from harness.scoring.selection import with_source
from harness.storage.envelopes import read_envelopes


def choose_ruleset(specs: Sequence[RunSpec], a: str, b: str) -> str | None:
    """Return the name of the ruleset under which A and B are compared, or None if the user must choose one.

    If both have results under several rulesets, and only one of them ranks submissions, this one is chosen, and a note
    says so.

    Args:
        specs: specifications of the scored runs of all submissions.
        a, b: names of the submissions, as in `runs_of_submission`.

    Raises:
        UsageError: a submission has no results, or the two have no results under the same ruleset.
    """
    of_a, of_b = ({spec.ruleset.name for spec in specs if is_submission(spec, name)} for name in (a, b))
    for name, rulesets in ((a, of_a), (b, of_b)):
        if not rulesets:
            raise unknown_name_error("submission among the results", name, {spec.submission.name for spec in specs})
    shared = of_a & of_b
    if not shared:
        described = "; ".join(f"{name} has {', '.join(sorted(own))}" for name, own in ((a, of_a), (b, of_b)))
        raise UsageError(
            f"{a} and {b} have no results under the same ruleset ({described})", fix="run both under one ruleset"
        )
    if len(shared) == 1:
        return next(iter(shared))
    ranked = {spec.ruleset.name for spec in specs if spec.ruleset.name in shared and spec.ruleset.ranked}
    if len(ranked) != 1:
        return None
    chosen = next(iter(ranked))
    others = " or ".join(f"--ruleset {name}" for name in sorted(shared - ranked))
    note(f"compared under {chosen}, which ranks submissions; {others} compares other runs")
    return chosen


def compare_stopped(
    records: Sequence[Record],
    a: str,
    b: str,
    *,
    by: str,
    hardware: str | None,
    envelopes: Path,
    installed: Collection[WorkloadFacts],
) -> MultiplierComparison:
    """Compare results that are not times to target.

    Args:
        records: records of one ruleset with its own tables, including tuning trials and runs of all submissions.
        a, b: names of the submissions, as in `runs_of_submission`.
        by: the value of `--by`.
        hardware: the chosen hardware class; None if all records have the same class.
        envelopes: folder of the envelopes of the reference.
        installed: facts of the installed workloads.

    Raises:
        UsageError: results under this ruleset cannot be compared, `by` is not `time`, a submission is unknown or
            ambiguous, there are no runs of both on the same workload, or there are runs of both on pools and on
            streams.
    """
    ruleset = records[0].spec.ruleset
    if ruleset.stopping != STOPPING:
        raise UsageError(
            f"results under {ruleset.name} cannot be compared in pairs", fix="bench leaderboard shows them"
        )
    if by != "time":
        raise UsageError(
            f"--by {by}: results under {ruleset.name} are compared by time multiplier", fix="leave out --by"
        )
    scored = [record for record in records if record.spec.purpose == "score"]
    of_a, of_b = (runs_of_submission(scored, name) for name in (a, b))
    chosen_class = one_group([*of_a, *of_b], hardware, None)[0].spec.hardware
    boards = score_boards(records, read_envelopes(envelopes), installed)
    boards = [board for board in boards if board.hardware == chosen_class]
    pairs = [(board, _name_on(board, of_a[0]), _name_on(board, of_b[0])) for board in boards]
    found = [(board, first, second) for board, first, second in pairs if first and second]
    if not found:
        raise UsageError(f"{a} and {b} have no runs on the same workload", fix="run both submissions on one workload")
    newest = max((board.ruleset for board, _, _ in found), key=lambda identity: (len(identity), identity))
    of_newest = [names for names in found if names[0].ruleset == newest]
    if len(of_newest) > 1:
        raise UsageError(
            f"{a} and {b} have results on pools and on streams, which are ranked separately",
            fix="name workloads of one kind with --workload",
        )
    return compare_multipliers(*of_newest[0])


def _name_on(board: MultiplierBoard, record: Record) -> str:
    """Return the name of a record's submission on a board; empty if the board does not have it."""
    ref, names = record.spec.submission, {cell.submission for cell in board.cells}
    return next((name for name in (with_source(ref).id, ref.id) if name in names), "")
