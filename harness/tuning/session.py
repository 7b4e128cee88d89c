"""Estimate the cost of a search, run the search, and rank its settings. Finished runs are not run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.execution.run_trials import run_trials
from harness.execution.trial import finished_summary
from harness.gating.costs import GateCosts
from harness.planning.phases import interleave
from harness.plugins.registry import Registry
from harness.scoring.search import Combination, RankedSetting, rank_settings, summarize_run
from harness.storage.layout import run_id
from harness.tuning.best_settings import BestSetting, portable_load
from harness.tuning.setup import TuneSetup

#: Folder of published records. Costs are estimated from these records and from local runs.
RESULTS = Path("results")


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How the runs of a search are executed, and how the results of several workloads are combined.

    Args:
        runs: folder of local runs.
        executor: name of the executor that runs the trials.
        execution: options of the execution.
        combination: how the results of several workloads are combined.
    """

    runs: Path
    executor: str = "local"
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    combination: Combination = "rank"


@dataclass(frozen=True, kw_only=True)
class TuneCost:
    """The estimated cost of a search.

    Args:
        runs: number of runs.
        missing: number of runs that are not finished yet.
        minutes: estimated core-minutes (wall minutes × cores) of the missing runs; None if a workload has no earlier
            run on this hardware class.
    """

    runs: int
    missing: int
    minutes: float | None

    def __str__(self) -> str:
        finished = f", {self.runs - self.missing} of them finished" if self.missing < self.runs else ""
        if not self.missing:
            return f"{self.runs} runs, all of them finished"
        if self.minutes is None:
            return f"{self.runs} runs{finished}; the cost is unknown, because there is no earlier run of this kind"
        return f"{self.runs} runs{finished}; about {self.minutes:.1f} core-minutes"


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A search that has ended.

    Args:
        setup: the search.
        ranking: the settings from best to worst.
        runs: number of runs.
        core_minutes: sum of `SearchRun.core_seconds` / 60 over all runs, including the runs of earlier commands.
        spec: specification of one run of the best setting.
    """

    setup: TuneSetup
    ranking: tuple[RankedSetting, ...]
    runs: int
    core_minutes: float
    spec: RunSpec

    @property
    def winner(self) -> RankedSetting | None:
        """The best setting; None if every setting has a broken run (see `SearchRun.broke`)."""
        return None if self.ranking[0].broken else self.ranking[0]

    def best_setting(self, folder: Path) -> BestSetting:
        """Return the best setting as it is stored in the file of best known settings. There must be a `winner`.

        Args:
            folder: folder of this file. The stored path of the submission is relative to the folder.
        """
        setup, best = self.setup, self.ranking[0]
        return BestSetting(
            submission=self.spec.submission.id,
            load=portable_load(setup.entry.load or "", folder),
            source_hash=self.spec.submission.code_identity,  # The field keeps its name in stored files.
            tier=self.spec.workload.facts.tier,
            workloads=tuple(workload.entry.facts.id for workload in setup.workloads),
            hparams=best.point,
            by=setup.request.by,
            budgets={w.entry.facts.id: w.budget for w in setup.workloads} if setup.runs_to_end else {},
            trials=len(setup.points),
            studies=setup.request.studies,
            hardware=self.spec.hardware,
            run_ids=tuple(run.run_id for outcome in best.outcomes for run in outcome.runs),
            runs=self.runs,
            core_minutes=round(self.core_minutes, 2),
            found=datetime.now(UTC).date().isoformat(),
        )


class TuneSession:
    """Runs searches.

    Args:
        registry: the plugins.
        options: how runs are executed.
        watch: function from the specifications of runs to a context manager, which provides the watcher of these runs.
    """

    def __init__(
        self,
        registry: Registry,
        options: TuneOptions,
        *,
        watch: Callable[[Sequence[RunSpec]], AbstractContextManager[Watcher]],
    ) -> None:
        self._registry, self._options, self._watch = registry, options, watch

    def cost(self, setup: TuneSetup) -> TuneCost:
        """Return the cost of a search, estimated from the time per example of earlier runs."""
        options = self._options
        specs = [spec for planned in setup.plan() for spec in planned]
        missing = [
            spec for spec in specs if finished_summary(spec, run_id(spec), options.runs, options.execution) is None
        ]
        minutes = GateCosts([options.runs, RESULTS]).minutes(missing) if missing else 0.0
        cores = missing[0].threads if missing else 1
        return TuneCost(runs=len(specs), missing=len(missing), minutes=None if minutes is None else minutes * cores)

    def run(self, setup: TuneSetup) -> TuneResult:
        """Run the settings of a search and rank them. The settings alternate run by run.

        Raises:
            BenchError: a run was interrupted.
        """
        planned, options = setup.plan(), self._options
        specs = interleave(planned)
        ranked_by, summaries = setup.request.by, {}
        with self._watch(specs) as watcher:
            for record in run_trials(
                specs,
                options.runs,
                executor=options.executor,
                options=options.execution,
                watcher=watcher,
                registry=self._registry,
            ):
                summaries[record.run_id] = summarize_run(record, ranked_by)
        runs = [[summaries[run_id(spec)] for spec in group] for group in planned]
        ranking = rank_settings(setup.points, runs, ranked_by, options.combination)
        core_seconds = sum(summary.core_seconds for summary in summaries.values())
        return TuneResult(
            setup=setup,
            ranking=ranking,
            runs=len(specs),
            core_minutes=core_seconds / 60,
            spec=planned[ranking[0].number][0],
        )
