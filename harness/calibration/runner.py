"""Runs the trials of a calibration: tunes references, reruns the best on fresh seeds, loosens targets of streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.calibration.pools import SEED_FRACTION
from harness.calibration.results import Calibration, TunedSetting
from harness.calibration.rule import calibrate, rank_settings
from harness.calibration.streams import add_tolerance, least_tolerance, loosen_targets
from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, Purpose, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import UsageError
from harness.execution.run_trials import run_trials
from harness.planning import compose
from harness.planning.resolve import resolve_submission, split_names
from harness.planning.roles import FAMILY_TAG, REFERENCE_TAG
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import Registry
from harness.storage.layout import file_stem, run_id
from harness.storage.records import encode
from harness.system.files import read_struct, write_atomically

#: Fresh seeds for a variant, which takes the setting of its base.
VARIANT_STUDIES = 5


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How the trials of a calibration are run.

    Args:
        runs: folder of local runs.
        out: folder that keeps calibrations and the records that they came from.
        executor: where trials run.
        jobs: trials at once; as many as fit when None.
        variants: whether variants of the workload are calibrated, too.
    """

    runs: Path
    out: Path
    executor: str = "local"
    jobs: int | None = None
    variants: bool = True


class Calibrator:
    """Plans trials and runs them; every record is copied to the folder that is kept.

    Args:
        registry: the plugins.
        plan_settings: ruleset, root seed and device of the trials.
        options: where they run and what is kept.
        watch: gives the watcher of so many trials.
        note: told in one line what is run next.
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
    ) -> Sequence[RunSpec]:
        """Trials of one submission; see `plan_trials`."""
        return plan_trials(
            workload, submission, self._registry, self._settings, purpose=purpose, studies=studies, points=points
        )

    def plan_tuning(self, workload: WorkloadEntry, families: Mapping[str, SubmissionEntry]) -> Sequence[RunSpec]:
        """All settings of all references on the tuning seed."""
        studies = self._settings.ruleset.tuning_studies
        return [spec for family in families.values() for spec in self.plan(workload, family, "tuning", studies)]

    def calibrate_with_variants(
        self, workload: WorkloadEntry, families: Mapping[str, SubmissionEntry], tuning: Sequence[RunSpec]
    ) -> Iterator[Calibration]:
        """The calibration of a workload, then those of its variants where they are wanted, as they are made.

        Raises:
            UsageError: no setting finished.
        """
        tuned = rank_settings(self.run(tuning))
        if tuned[0].value is None:
            raise UsageError(f"no reference finished on {workload.name}", fix=f"see {self._options.runs}")
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
        """Run fresh seeds of the best setting, and of the anchor's where that is another, and derive the targets."""

        def run_fresh(setting: TunedSetting) -> list[Record]:
            self._note(f"{workload.name}: fresh seeds of {setting.submission} {format_hparams(setting.hparams)}")
            family = families[setting.submission]
            return self.run(self.plan(workload, family, "target", studies, [setting.hparams]))

        best = tuned[0]
        anchor_differs = anchor is not None and anchor.run != best.run
        result = calibrate(tuned, run_fresh(best), run_fresh(anchor) if anchor_differs and anchor is not None else ())
        complete = len(result.stages) == len(workload.facts.stages) > 0
        if not complete:
            return result
        return self._find_tolerance(result, workload, families[best.submission], best, studies)

    def calibrate_variants(
        self, variants: Iterable[WorkloadEntry], families: Mapping[str, SubmissionEntry], setting: TunedSetting
    ) -> Iterator[Calibration]:
        """The same for held-out variants, which the setting of their base has to meet."""
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
        """Send further fresh seeds through the stream at easier and easier targets, until enough reach the end."""
        allowed_misses = studies - math.ceil(SEED_FRACTION * studies - 1e-9)
        passed: dict[float, list[Record]] = {}

        def holds(tolerance_factor: float) -> bool:
            self._note(f"{workload.name}: {studies} fresh seeds at {tolerance_factor:g} times the errors")
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
        """Records in the order of the specs, whichever trial ends first: targets must not depend on that."""
        options = ExecutionOptions(jobs=self._options.jobs)
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
        return [records[run_id(spec)] for spec in specs]


def find_anchor_setting(tuned: Sequence[TunedSetting], families: Mapping[str, SubmissionEntry]) -> TunedSetting | None:
    """The best setting of a submission that anchors the scores; None where none of them finished."""
    anchors = [name for name, family in families.items() if REFERENCE_TAG in family.tags]
    return next((setting for setting in tuned if setting.submission in anchors and setting.value is not None), None)


def setting_submission(setting: TunedSetting, families: Mapping[str, SubmissionEntry], base: str) -> SubmissionEntry:
    """The submission of a setting.

    Raises:
        UsageError: it is not installed, or in another version.
    """
    if setting.submission not in families:
        raise UsageError(
            f"the best setting of {base} is of {setting.submission}; installed are {', '.join(families)}",
            fix=f"bench calibrate {base}",
        )
    return families[setting.submission]


def read_base_calibration(path: Path, base: str, variant: str) -> Calibration:
    """The calibration of a variant's base.

    Raises:
        UsageError: the base has no calibration.
        StoreError: the calibration cannot be read; names the file.
    """
    if not path.is_file():
        raise UsageError(
            f"{variant} takes the best setting of {base}, which has no calibration: {path} does not exist",
            fix=f"bench calibrate {base}",
        )
    return read_struct(path, Calibration)


def reference_families(
    registry: Registry, entry: WorkloadEntry, names: str | None, plan_settings: PlanSettings
) -> list[SubmissionEntry]:
    """The references of these names, or those tagged so that can run there; on a stream those that replay.

    Raises:
        UsageError: one that was named cannot run there, or there is none.
    """
    ruleset = plan_settings.ruleset
    if names:
        families = [resolve_submission(name, registry) for name in split_names([names])]
        for family in families:
            if reason := compose.find_ineligibility(compose.compose(family, registry), entry.facts, ruleset):
                raise UsageError(f"{family.name} cannot run on {entry.name}: {reason}", fix="name another reference")
        return families
    families = []
    for family in registry.submissions():
        if FAMILY_TAG not in family.tags:
            continue
        composition = compose.compose(family, registry)
        # Without replay a stream's floors are out of reach, so such a reference would say nothing of its targets.
        replays_on_stream = ("replay" in composition.needs) == (entry.facts.access == "stream")
        if replays_on_stream and not compose.find_ineligibility(composition, entry.facts, ruleset):
            families.append(family)
    if not families:
        raise UsageError(f"no reference can run on {entry.name}", fix="name some with --families")
    return families


def format_hparams(hparams: HParams) -> str:
    """Hyperparameters as `name=value` words."""
    return " ".join(f"{name}={value}" for name, value in hparams.items())
