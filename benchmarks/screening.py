"""Compare screened evaluations with evaluations of the whole split, for the same weights.

A screened evaluation measures only a random part of a split (docs/architecture.md, "Screened evaluation"). Here, each
screened evaluation is repeated on the whole split (shadow evaluation). The benchmark counts the evaluations at which a
decision, such as "target met", differs between the two. It also measures the time that screened evaluations save.

    python benchmarks/screening.py                              (3 submissions, 3 seeds, all CPU workloads: takes hours)
    python benchmarks/screening.py --workloads lm-tiny --seeds 1
    python benchmarks/screening.py --smoke                      (a few steps of each run)

A workload whose data are missing is skipped, and its name is printed. If the command is repeated, runs that have
finished are not run again. The exit code is 1 if any decision differed.

Columns of the table:

- `screened`: fraction of the evaluations that were screened
- `examples`: measured examples / examples that evaluations of the whole split measure
- `s screened`, `s whole`: seconds of all evaluations with and without screening
- `disagreements`: number of evaluations at which a decision differed
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions
from harness.datasets import local
from harness.plugins.registry import Registry, load_registry

#: The default submissions for workloads with a pool, and for workloads with a stream.
POOL_ARMS = ("adamw-cosine", "adamw-constant", "muon-wsd")
STREAM_ARMS = ("replay", "rewarm-replay", "temporal-ensemble")
#: Column headings. The class `Row` explains the columns.
_HEADING = ("workload", "runs", "evaluations", "screened", "examples", "s screened", "s whole", "disagreements")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The row of a workload in the table: the totals over all runs on the workload.

    Args:
        workload: name of the workload.
        runs: number of runs that ended.
        evaluations: number of evaluations.
        screened: fraction of the evaluations that were screened.
        examples: measured examples / examples that evaluations of the whole split would measure.
        screened_seconds: wall seconds for the evaluations, without the repetitions on the whole split.
        whole_seconds: wall seconds for the same evaluations on the whole split.
        disagreements: one text for every evaluation at which a decision differed.
        disabled: reasons why runs had no screened evaluations, each with the number of these runs.
    """

    workload: str
    runs: int
    evaluations: int
    screened: float
    examples: float
    screened_seconds: float
    whole_seconds: float
    disagreements: tuple[str, ...]
    disabled: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the table's cells, in the order of `_HEADING`."""
        return (
            self.workload,
            str(self.runs),
            str(self.evaluations),
            f"{self.screened:.2f}",
            f"{self.examples:.2f}",
            f"{self.screened_seconds:.1f}",
            f"{self.whole_seconds:.1f}",
            str(len(self.disagreements)),
        )


def main() -> int:
    options = _parse_options()
    registry = load_registry()
    rows = []
    print(_format_row(_HEADING))
    for workload in _select_workloads(registry, options.workloads):
        arms = options.arms or (STREAM_ARMS if workload.facts.access == "stream" else POOL_ARMS)
        row = summarize(workload.name, _run(registry, workload, arms, options))
        rows.append(row)
        print(_format_row(row.cells), flush=True)
        for text in (*row.disagreements, *row.disabled):
            print(f"    {text}")
    disagreements = sum(len(row.disagreements) for row in rows)
    evaluations = sum(row.evaluations for row in rows)
    print(f"{evaluations} evaluations in {sum(row.runs for row in rows)} runs, {disagreements} disagreements")
    return 1 if disagreements else 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workloads",
        type=_split,
        default=(),
        help="comma-separated names (default: every CPU workload whose data are present)",
    )
    parser.add_argument("--arms", type=_split, default=(), help="comma-separated submissions to run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs-screening"))
    parser.add_argument("--smoke", action="store_true", help="stop each run after a few steps")
    return parser.parse_args()


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split(","))


def _select_workloads(registry: Registry, names: Sequence[str]) -> Iterable[WorkloadEntry]:
    """Yield the selected workloads. Skip workloads whose data are missing, and print their names."""
    for workload in registry.workloads():
        if workload.name not in names if names else workload.facts.tier != "cpu":
            continue
        datasets = [registry.dataset(need.partition("/")[0]) for need in workload.needs_data]
        if any(local.missing_names(dataset) for dataset in datasets):
            print(f"{workload.name}: skipped, because its data are missing ({', '.join(workload.needs_data)})")
            continue
        yield workload


def _run(registry: Registry, workload: WorkloadEntry, arms: Sequence[str], options: argparse.Namespace) -> list[Record]:
    """Run every submission with every seed, one trial at a time, and return the records."""
    specs = harness.plan(arms, workload.name, studies=options.seeds, smoke=options.smoke, registry=registry)
    execution = ExecutionOptions(jobs=1, shadow_evaluation=True)
    return list(harness.run_trials(specs, options.runs, options=execution, registry=registry))


def summarize(workload: str, records: Sequence[Record]) -> Row:
    """Return the totals of a workload over its runs with shadow evaluation."""
    screenings = [r.screening for r in records if r.screening is not None and r.screening.shadow]
    evaluations = sum(s.evaluations for s in screenings)
    whole_examples = sum(s.whole_examples for s in screenings)
    disabled_reasons = Counter(s.disabled for s in screenings if s.disabled)
    disabled_reasons.update(f"{r.run_id} {r.status}: {r.reason}" for r in records if r.screening is None)
    return Row(
        workload=workload,
        runs=len(records),
        evaluations=evaluations,
        screened=sum(s.screened for s in screenings) / max(evaluations, 1),
        examples=sum(s.examples for s in screenings) / max(whole_examples, 1),
        screened_seconds=sum(s.screened_seconds for s in screenings),
        whole_seconds=sum(s.whole_seconds for s in screenings),
        disagreements=tuple(
            f"{r.run_id}: {text}" for r in records if r.screening is not None for text in r.screening.disagreements
        ),
        disabled=tuple(f"{count} runs: {text}" for text, count in disabled_reasons.items()),
    )


def _format_row(cells: Sequence[str]) -> str:
    return f"{cells[0]:<26}" + "".join(f"{cell:>14}" for cell in cells[1:])


if __name__ == "__main__":
    sys.exit(main())
