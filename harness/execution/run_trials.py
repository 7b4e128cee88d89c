"""From specifications to records: `harness.run_trials`, which every command that runs trials uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.contract.record import Record, TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import SilentWatcher, Watcher
from harness.planning.phases import PhasedPlan
from harness.plugins.loading import load_object
from harness.plugins.registry import Registry, load_registry
from harness.storage.layout import RECORD
from harness.storage.records import read_record


def run_trials(
    specs: PhasedPlan | Iterable[RunSpec],
    runs: str | Path = "runs",
    *,
    executor: str = "local",
    options: ExecutionOptions | None = None,
    watcher: Watcher | None = None,
    registry: Registry | None = None,
) -> Iterator[Record]:
    """Run trials and yield each one's record when it has ended; finished trials are kept and not run again.

    Two submissions on a workload, a few steps each, as a data frame:

    >>> import harness, tempfile
    >>> specs = harness.plan("wsd,adamw-cosine", "resnet-digits", smoke=True)
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     records = list(harness.run_trials(specs, runs))
    ...     frame = harness.load_results(runs)
    >>> sorted((record.spec.submission.name, record.status) for record in records)
    [('adamw-cosine', 'exhausted'), ('wsd', 'exhausted')]
    >>> sorted(set(frame["submission"]))
    ['adamw-cosine', 'wsd']

    Called again with the same specifications it goes on where it was: an interrupted trial continues from its
    checkpoint.

    Args:
        specs: what `harness.plan` returned, or any `RunSpec`s.
        runs: the folder with one folder per trial.
        executor: where trials run: `local`, `ray`, `slurm`, or a plugin's.
        options: how many at once, what is started anew, the executor's own options.
        watcher: told of every start, evaluation, warning and end.
        registry: the plugins; those that are installed when None.

    Yields:
        records, in the order in which trials end. Of a plan in two phases the second follows when every trial of the
        first has ended.

    Raises:
        UsageError: an executor or an option that does not exist.
        StoreError: a trial's folder cannot be written, or another process is running it; the others have ended.
        Interrupted: Ctrl-C or SIGTERM; every trial has a record and goes on when called again.
    """
    for summary in run_to_summaries(
        specs, Path(runs), executor=executor, options=options, watcher=watcher, registry=registry
    ):
        yield read_summarized(summary)


def run_to_summaries(
    specs: PhasedPlan | Iterable[RunSpec],
    runs: Path,
    *,
    executor: str = "local",
    options: ExecutionOptions | None = None,
    watcher: Watcher | None = None,
    registry: Registry | None = None,
) -> Iterator[TrialSummary]:
    """The same with a summary in place of each record: a plan may have ten thousand finished trials.

    Args, Raises: as for `run_trials`.
    """
    registry = registry if registry is not None else load_registry()
    execute = load_object(registry.executor(executor).load)
    options, watcher = options or ExecutionOptions(), watcher or SilentWatcher()
    phase1 = tuple(specs)
    summaries = []
    for summary in execute(phase1, runs, watcher, options):
        summaries.append(summary)
        yield summary
    if isinstance(specs, PhasedPlan) and specs.pending_pairs and not has_unfinished(summaries):
        phase2 = specs.phase2({summary.run_id: read_summarized(summary) for summary in summaries})
        yield from execute(phase2, runs, watcher, options)


def has_unfinished(summaries: Sequence[TrialSummary]) -> bool:
    """Whether some trial was interrupted, so that a second phase has to wait."""
    return any(summary.status == "interrupted" for summary in summaries)


def read_summarized(summary: TrialSummary) -> Record:
    """The record of a trial that has ended."""
    return read_record(Path(summary.path) / RECORD)
