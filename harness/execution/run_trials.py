"""Run trials and yield their records (`harness.run_trials`) or their summaries (`run_to_summaries`)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.contract.record import Record, TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import SilentWatcher, Watcher
from harness.execution.attempts import AttemptWatcher
from harness.execution.sessions import with_invocation
from harness.planning.phases import PhasedPlan
from harness.plugins.loading import load_object
from harness.plugins.registry import Registry, load_registry
from harness.storage.layout import RECORD
from harness.storage.records import read_record
from harness.system.sandbox import is_turned_off


def run_trials(
    specs: PhasedPlan | Iterable[RunSpec],
    runs: str | Path = "runs",
    *,
    executor: str = "local",
    options: ExecutionOptions | None = None,
    watcher: Watcher | None = None,
    registry: Registry | None = None,
) -> Iterator[Record]:
    """Run trials and yield the record of each trial when the trial has ended. Finished trials are not run again.

    This example runs two submissions for a few steps on a workload and loads the results as a data frame:

    >>> import harness, tempfile
    >>> specs = harness.plan("wsd,adamw-cosine", "resnet-digits", smoke=True)
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     records = list(harness.run_trials(specs, runs))
    ...     frame = harness.load_results(runs)
    >>> sorted((record.spec.submission.name, record.status) for record in records)
    [('adamw-cosine', 'exhausted'), ('wsd', 'exhausted')]
    >>> sorted(set(frame["submission"]))
    ['adamw-cosine', 'wsd']

    A second call with the same specifications resumes interrupted trials from their checkpoints.

    Args:
        specs: the plan that `harness.plan` returned, or any `RunSpec`s.
        runs: folder with one subfolder per trial.
        executor: name of the executor: `local`, `ray`, `slurm`, or a plugin's executor.
        options: how many trials run at once, which trials start again, and options of the executor.
        watcher: object that is notified of every start, evaluation, warning and end.
        registry: the plugins; if None, the installed plugins.

    Yields:
        Records, in the order in which trials end. A plan may have two phases. The second phase starts after all trials
        of the first phase, and only if none of these trials was interrupted.

    Raises:
        UsageError: the executor or an option does not exist.
        StoreError: the folder of a trial cannot be written, or another process is running the trial. The error is
            raised when all other trials have ended.
        Interrupted: Ctrl-C was pressed or SIGTERM was received. Every started trial has a record and resumes when this
            function is called again.
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
    """Run trials in the same way as `run_trials`, but yield their summaries instead of their records.

    The summary of a finished trial needs only a few fields of the trial's record. This saves time if a plan has 10,000
    finished trials.

    Args, Raises: see `run_trials`.
    """
    is_turned_off()  # this call raises an error for an invalid setting of the sandbox, before any trial runs
    registry = registry if registry is not None else load_registry()
    execute = load_object(registry.executor(executor).load)
    options = with_invocation(options or ExecutionOptions())
    watcher = AttemptWatcher(runs, watcher or SilentWatcher())
    phase1 = tuple(specs)
    summaries = []
    for summary in execute(phase1, runs, watcher, options):
        summaries.append(summary)
        yield summary
    if isinstance(specs, PhasedPlan) and specs.pending_pairs and not has_unfinished(summaries):
        phase2 = specs.phase2({summary.run_id: read_summarized(summary) for summary in summaries})
        yield from execute(phase2, runs, watcher, options)


def check_executor(name: str, options: ExecutionOptions, registry: Registry) -> None:
    """Check the name and the options of an executor before trials run.

    The options are checked by the function `check_options` in the module of the executor. Without this function, they
    are checked when trials run.

    Raises:
        UsageError: there is no executor with this name, or an option is wrong.
        PluginError: the executor cannot be loaded.
    """
    entry = registry.executor(name)
    if options.options:
        module = sys.modules[load_object(entry.load).__module__]
        check = getattr(module, "check_options", None)
        if check is not None:
            check(options)


def has_unfinished(summaries: Sequence[TrialSummary]) -> bool:
    """Return whether a trial was interrupted, in which case the second phase cannot start."""
    return any(summary.status == "interrupted" for summary in summaries)


def read_summarized(summary: TrialSummary) -> Record:
    """Read and return the record of the trial that a summary describes."""
    return read_record(Path(summary.path) / RECORD)
