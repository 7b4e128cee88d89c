"""Runs the trials of a calibration.

1. Tuning: every reference submission is run with several hyperparameter settings.
2. The best setting is run on new seeds, and the targets are computed from these runs.
3. The targets are loosened until enough further seeds reach them. On a stream, the seeds must reach its end.

docs/calibration.md describes the method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.calibration.pools import SEED_FRACTION, loosen_levels, main_target_holds
from harness.calibration.results import Calibration, TunedSetting
from harness.calibration.rule import calibrate, rank_settings
from harness.calibration.streams import add_tolerance, least_tolerance, loosen_targets
from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.record import Record, Status
from harness.contract.run import ExecutionOptions, Purpose, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import UsageError
from harness.execution.run_trials import run_trials
from harness.planning import compose
from harness.planning.resolve import resolve_submission, split_names, tagged_submissions
from harness.planning.roles import FAMILY_TAG, REFERENCE_TAG
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import Registry
from harness.storage.layout import file_stem, run_id
from harness.storage.records import encode
from harness.system.files import read_struct, write_atomically

#: Number of new seeds on a variant of a workload. A variant is not tuned; its runs use the best setting of its base
#: workload.
VARIANT_STUDIES = 5
#: Statuses that may be due to the machine or to an error in the code. A run that diverges or times out is a miss of its
#: submission, but these runs must not loosen a target.
FAILED: frozenset[Status] = frozenset({"crashed", "rejected", "out-of-memory"})


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """Options of a calibration's trials.

    Args:
        runs: folder of local runs.
        out: folder for calibrations and for the records of their runs.
        executor: name of the executor.
        jobs: number of trials that run at the same time; None for as many as fit.
        variants: whether variants of the workload are also calibrated.
        retry_failed: see `ExecutionOptions`.
    """

    runs: Path
    out: Path
    executor: str = "local"
    jobs: int | None = None
    variants: bool = True
    retry_failed: bool = False


class Calibrator:
    """Plans and runs the trials of calibrations, and copies every record to the calibration folder.

    Terms of the methods:

    - `families`: `name@version` -> entry of each reference submission that is tuned, one submission of each family.
    - `studies`: number of studies. Each study has its own seeds.
    - *anchor*: the submission with the tag `reference`.

    Args:
        registry: registry of the plugins.
        plan_settings: ruleset, root seed and device of the trials.
        options: folders, executor and number of parallel trials.
        watch: function that returns the watcher for a number of trials; a watcher shows the progress.
        note: function that prints a line about the next runs.
    """

    def __init__(
        self,
        registry: Registry,
        plan_settings: PlanSettings,
        options: CalibrationOptions,
        watch: Callable[[int], AbstractContextManager[Watcher]],
        note: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._settings = plan_settings
        self._options = options
        self._watch = watch
        self._note = note

    def plan(
        self,
        workload: WorkloadEntry,
        submission: SubmissionEntry,
        purpose: Purpose,
        studies: int,
        points: Sequence[HParams] | None = None,
        *,
        first_study: int = 0,
        horizon: int | None = None,
    ) -> Sequence[RunSpec]:
        """Plan the trials of one submission.

        Args:
            workload: the workload.
            submission: the submission.
            purpose: purpose of the trials, on which their seeds depend.
            studies: number of studies.
            points: hyperparameter settings to run in every study; None for the settings that the ruleset determines.
            first_study: index of the first study.
            horizon: horizon in examples, at which the runs end; None for the horizon of the workload.
        """
        return plan_trials(
            workload,
            submission,
            self._registry,
            self._settings,
            purpose=purpose,
            studies=studies,
            points=points,
            first_study=first_study,
            horizon=horizon,
        )

    def plan_tuning(self, workload: WorkloadEntry, families: Mapping[str, SubmissionEntry]) -> Sequence[RunSpec]:
        """Plan the tuning: one trial for each setting of each reference submission, on tuning seeds."""
        studies = self._settings.ruleset.tuning_studies
        return [spec for family in families.values() for spec in self.plan(workload, family, "tuning", studies)]

    def calibrate_with_variants(
        self, workload: WorkloadEntry, families: Mapping[str, SubmissionEntry], tuning: Sequence[RunSpec]
    ) -> Iterator[Calibration]:
        """Yield the calibration of a workload. If the options request it, also yield the calibrations of its variants.

        Args:
            workload: the workload.
            families: the reference submissions (see the class).
            tuning: the trials that `plan_tuning` returned.

        Raises:
            UsageError: no trial of any setting finished.
        """
        tuned = rank_settings(self.run(tuning))
        if tuned[0].value is None:
            raise UsageError(
                f"no reference finished on {workload.name}", fix=f"read the logs of the trials in {self._options.runs}"
            )
        anchor = find_anchor_setting(tuned, families)
        yield self.calibrate(workload, families, tuned, anchor, self._settings.ruleset.studies)
        if self._options.variants:
            variants = (w for w in self._registry.workloads() if w.name.startswith(f"{workload.name}+"))
            yield from self.calibrate_variants(variants, families, anchor or tuned[0])

    def calibrate(
        self,
        workload: WorkloadEntry,
        families: Mapping[str, SubmissionEntry],
        tuned: Sequence[TunedSetting],
        anchor: TunedSetting | None,
        studies: int,
    ) -> Calibration:
        """Run the best setting on new seeds, and compute the targets.

        If the best setting does not belong to the anchor, the anchor's best setting is also run on new seeds.

        Args:
            workload: the workload.
            families: the reference submissions (see the class).
            tuned: all settings that were tried, best first.
            anchor: the anchor's best setting; None on a variant, and if no setting of the anchor has a result.
            studies: number of new seeds.
        """

        def run_new_seeds(setting: TunedSetting) -> list[Record]:
            self._note(f"{workload.name}: new seeds of {setting.submission} {format_hparams(setting.hparams)}")
            family = families[setting.submission]
            return self.run(self.plan(workload, family, "target", studies, [setting.hparams]))

        best = tuned[0]
        best_runs = run_new_seeds(best)
        anchor_runs = run_new_seeds(anchor) if anchor is not None and anchor.run != best.run else ()
        result = calibrate(tuned, best_runs, anchor_runs)
        if workload.facts.stages:
            if result.uncalibrated:
                return result
            return self._find_tolerance(result, workload, families[best.submission], best, studies)
        # On a variant, `anchor` is None. Its targets are not loosened: at least 90 % of its five seeds must reach the
        # main target, which means all five.
        if "main" not in result.levels or anchor is None:
            return result
        setting, runs = (anchor, anchor_runs) if anchor_runs else (best, best_runs)
        self._note(f"{workload.name}: {studies} further seeds of {setting.submission}")
        family = families[setting.submission]
        checks = self.run(self.plan(workload, family, "target", 2 * studies, [setting.hparams])[studies:])
        return loosen_levels(
            result, least_tolerance(lambda factor: main_target_holds(result, factor, checks)), runs, checks
        )

    def calibrate_variants(
        self, variants: Iterable[WorkloadEntry], families: Mapping[str, SubmissionEntry], setting: TunedSetting
    ) -> Iterator[Calibration]:
        """Yield the calibrations of variants. All runs use `setting`, the best setting of the base workload."""
        for variant in variants:
            yield self.calibrate(variant, families, [setting], None, VARIANT_STUDIES)

    def _find_tolerance(
        self,
        calibration: Calibration,
        workload: WorkloadEntry,
        family: SubmissionEntry,
        setting: TunedSetting,
        studies: int,
    ) -> Calibration:
        """Find the smallest tolerance factor with which enough new seeds reach the end of the stream.

        The tolerance factor multiplies the error targets of all stages (see `loosen_targets`). The new seeds differ
        from the seeds from which the targets were computed.
        """
        allowed_misses = studies - math.ceil(SEED_FRACTION * studies - 1e-9)
        passed: dict[float, list[Record]] = {}

        def holds(tolerance_factor: float) -> bool:
            """Return whether enough new seeds reach the end of the stream with this factor."""
            self._note(f"{workload.name}: {studies} new seeds with error targets multiplied by {tolerance_factor:g}")
            stages = loosen_targets(calibration, workload.facts.stages, tolerance_factor)
            records: list[Record] = []
            misses = 0
            for spec in self.plan(workload, family, "target", 2 * studies, [setting.hparams])[studies:]:
                facts = msgspec.structs.replace(spec.workload.facts, stages=stages)
                loosened = msgspec.structs.replace(spec.workload, facts=facts)
                (record,) = self.run([msgspec.structs.replace(spec, workload=loosened, stop=None)])
                records.append(record)
                misses += record.status != "reached"
                if misses > allowed_misses:
                    return False
            passed[tolerance_factor] = records
            return True

        factor = least_tolerance(holds)
        return add_tolerance(calibration, factor, passed[factor] if factor else ())

    def run(self, specs: Sequence[RunSpec]) -> list[Record]:
        """Run trials, and return their records in the order of the specs.

        The order of the records decides which of two equally good settings is ranked first. The targets may depend on
        this choice, so the order in which the trials end must not matter.

        Raises:
            UsageError: a trial was interrupted, crashed, ran out of memory or was rejected.
        """
        options = ExecutionOptions(jobs=self._options.jobs, retry_failed=self._options.retry_failed)
        records: dict[str, Record] = {}
        with self._watch(len(specs)) as watcher:
            for record in run_trials(
                specs,
                self._options.runs,
                executor=self._options.executor,
                options=options,
                watcher=watcher,
                registry=self._registry,
            ):
                records[record.run_id] = record
                spec = record.spec
                names = spec.workload.facts.name, spec.submission.name
                folder = self._options.out.joinpath("runs", *map(file_stem, names))
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(folder / f"{record.run_id}.json", encode(record))
        for record in records.values():
            _check_not_failed(record)
        return [records[run_id(spec)] for spec in specs]


def _check_not_failed(record: Record) -> None:
    if record.status == "interrupted" or record.status in FAILED:
        name, reason = record.spec.workload.facts.name, f"{record.status}: {record.reason}".removesuffix(": ")
        again = "" if record.status == "interrupted" else " with --retry-failed"
        raise UsageError(
            f"{name} cannot be calibrated, because {record.run_id} of {record.spec.submission.name} did not end "
            f"({reason})",
            fix=f"bench show {record.run_id} shows the run; then repeat the command{again}",
        )


def find_anchor_setting(tuned: Sequence[TunedSetting], families: Mapping[str, SubmissionEntry]) -> TunedSetting | None:
    """Return the best setting of the anchor; None if no setting of the anchor has a result.

    Args:
        tuned: all settings that were tried, best first.
        families: `name@version` of each reference submission → its entry.
    """
    anchors = [name for name, family in families.items() if REFERENCE_TAG in family.tags]
    return next((setting for setting in tuned if setting.submission in anchors and setting.value is not None), None)


def setting_submission(setting: TunedSetting, families: Mapping[str, SubmissionEntry], base: str) -> SubmissionEntry:
    """Return the submission to which a setting belongs.

    Args:
        setting: the setting.
        families: `name@version` of each reference submission → its entry.
        base: name of the base workload, for the error message.

    Raises:
        UsageError: the submission is not among `families`, or `families` has a different version of the submission.
    """
    if setting.submission not in families:
        raise UsageError(
            f"the best setting of {base} belongs to {setting.submission}, which is not among the references of "
            f"this calibration: {', '.join(families)}",
            fix=f"calibrate the workload again: bench calibrate {base}",
        )
    return families[setting.submission]


def read_base_calibration(path: Path, base: str, variant: str) -> Calibration:
    """Read the calibration of a variant's base workload.

    Raises:
        UsageError: the base workload has no calibration.
        StoreError: the file of the calibration cannot be read.
    """
    if not path.is_file():
        raise UsageError(
            f"{variant} needs the best setting of {base}, which has no calibration: {path} does not exist",
            fix=f"calibrate the base workload first: bench calibrate {base}",
        )
    return read_struct(path, Calibration)


def reference_families(
    registry: Registry, entry: WorkloadEntry, names: str | None, plan_settings: PlanSettings
) -> list[SubmissionEntry]:
    """Return the references to tune on a workload.

    Args:
        registry: registry of the plugins.
        entry: entry of the workload.
        names: names of the references, separated by commas. None for all submissions with the tag `family` that can run
            on the workload. On a stream, only submissions with replay are used; on a pool, only submissions without
            replay.
        plan_settings: settings with the ruleset.

    Raises:
        UsageError: a named reference cannot run on the workload, or there is no reference that can run.
    """
    ruleset = plan_settings.ruleset
    if names:
        families = [resolve_submission(name, registry) for name in split_names([names])]
        for family in families:
            if reason := compose.find_ineligibility(compose.compose(family, registry), entry.facts, ruleset):
                raise UsageError(f"{family.name} cannot run on {entry.name}: {reason}", fix="name another reference")
        return families
    families = []
    for family in tagged_submissions(registry, FAMILY_TAG):
        composition = compose.compose(family, registry)
        # A reference without replay cannot meet the floors of a stream, so its runs cannot determine targets.
        replay_matches_access = ("replay" in composition.needs) == (entry.facts.access == "stream")
        if replay_matches_access and not compose.find_ineligibility(composition, entry.facts, ruleset):
            families.append(family)
    if not families:
        raise UsageError(f"no reference can run on {entry.name}", fix="name references with --families")
    return families


def format_hparams(hparams: HParams) -> str:
    """Return hyperparameters as `name=value`, separated by spaces."""
    return " ".join(f"{name}={value}" for name, value in hparams.items())
