"""Runs the trials of a calibration: tunes references, reruns the best on fresh seeds, loosens targets of streams."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.calibration.rule import (
    SEEDS_SHARE,
    Calibration,
    TunedSetting,
    calibrate,
    least_tolerance,
    loosen_targets,
    settings,
    with_tolerance,
)
from harness.cli import resolve
from harness.cli.output import note
from harness.cli.run import watching
from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, Purpose, RunSpec
from harness.errors import UsageError
from harness.planning import compose, plan, roles
from harness.planning.roles import FAMILY_TAG
from harness.plugins.loading import load_object
from harness.plugins.registry import Registry
from harness.storage import layout
from harness.storage.records import encode, read_record
from harness.system import files

#: Fresh seeds for a variant, which takes the setting of its base.
VARIANT_STUDIES = 5


def _of_anchor(tuned: Sequence[TunedSetting], families: Mapping[str, SubmissionEntry]) -> TunedSetting | None:
    """The best setting of a submission that anchors the scores."""
    anchors = [name for name, family in families.items() if roles.REFERENCE_TAG in family.tags]
    return next((one for one in tuned if one.submission in anchors and one.value is not None), None)


def _known(setting: TunedSetting, families: Mapping[str, SubmissionEntry], base: str) -> SubmissionEntry:
    """The submission of a setting.

    Raises:
        UsageError: it is not here, or in another version.
    """
    if setting.submission not in families:
        raise UsageError(
            f"the best setting of {base} is of {setting.submission}; here are {', '.join(families)}",
            fix=f"bench calibrate {base}",
        )
    return families[setting.submission]


def _kept(path: Path, base: str, variant: str) -> Calibration:
    """The calibration of a variant's base.

    Raises:
        UsageError: there is none.
    """
    if not path.is_file():
        raise UsageError(
            f"{variant} takes the best setting of {base}, which has no calibration: {path} does not exist",
            fix=f"bench calibrate {base}",
        )
    return msgspec.json.decode(path.read_bytes(), type=Calibration)


class Calibrator:
    """Plans trials and carries them out; every record is copied to the folder that is kept."""

    def __init__(self, registry: Registry, chosen: plan.Settings, options: dict[str, Any]) -> None:
        self._registry = registry
        self._settings = chosen
        self._options = options

    def specs(
        self,
        workload: WorkloadEntry,
        submission: SubmissionEntry,
        purpose: Purpose,
        studies: int,
        points: Sequence[HParams] | None = None,
    ) -> Sequence[RunSpec]:
        return plan.plan(
            workload, submission, self._registry, self._settings, purpose=purpose, studies=studies, points=points
        )

    def tuning(self, workload: WorkloadEntry, families: Mapping[str, SubmissionEntry]) -> Sequence[RunSpec]:
        """All settings of all references on the tuning seed."""
        studies = self._settings.ruleset.tuning_studies
        return [spec for family in families.values() for spec in self.specs(workload, family, "tuning", studies)]

    def with_variants(
        self, workload: WorkloadEntry, families: Mapping[str, SubmissionEntry], tuning: Sequence[RunSpec]
    ) -> Iterator[Calibration]:
        """The calibration of a workload, then those of its variants where they are wanted, as they are made.

        Raises:
            UsageError: no setting finished.
        """
        tuned = settings(self.carry_out(tuning))
        if tuned[0].value is None:
            raise UsageError(f"no reference finished on {workload.name}", fix=f"see {self._options['runs']}")
        anchor = _of_anchor(tuned, families)
        yield self.calibration(workload, families, tuned, anchor, self._settings.ruleset.studies)
        if self._options["variants"]:
            variants = (w for w in self._registry.workloads() if w.name.startswith(f"{workload.name}+"))
            yield from self.variants(variants, families, anchor or tuned[0])

    def calibration(
        self,
        workload: WorkloadEntry,
        families: Mapping[str, SubmissionEntry],
        tuned: Sequence[TunedSetting],
        anchor: TunedSetting | None,
        studies: int,
    ) -> Calibration:
        """Run fresh seeds of the best setting, and of the anchor's where that is another, and draw the conclusion."""

        def fresh(setting: TunedSetting) -> list[Record]:
            note(f"{workload.name}: fresh seeds of {setting.submission} {_shown(setting.hparams)}")
            family = families[setting.submission]
            return self.carry_out(self.specs(workload, family, "target", studies, [setting.hparams]))

        other = anchor is not None and anchor.run != tuned[0].run
        made = calibrate(tuned, fresh(tuned[0]), fresh(anchor) if other and anchor is not None else ())
        complete = len(made.stages) == len(workload.facts.stages) > 0
        return self._with_slack(made, workload, families[tuned[0].submission], tuned[0], studies) if complete else made

    def variants(
        self, variants: Iterable[WorkloadEntry], families: Mapping[str, SubmissionEntry], setting: TunedSetting
    ) -> Iterator[Calibration]:
        """The same of held-out variants, which are there to be met by what meets their base."""
        for variant in variants:
            yield self.calibration(variant, families, [setting], None, VARIANT_STUDIES)

    def _with_slack(
        self, made: Calibration, workload: WorkloadEntry, family: SubmissionEntry, setting: TunedSetting, studies: int
    ) -> Calibration:
        """Send fresh seeds, other ones than before, through the stream at easier and easier targets."""
        allowed = studies - math.ceil(SEEDS_SHARE * studies - 1e-9)
        passed: dict[float, list[Record]] = {}

        def holds(slack: float) -> bool:
            note(f"{workload.name}: {studies} fresh seeds at {slack:g} times the errors")
            stages = loosen_targets(made, workload.facts.stages, slack)
            runs: list[Record] = []
            missed = 0
            for spec in self.specs(workload, family, "target", 2 * studies, [setting.hparams])[studies:]:
                facts = msgspec.structs.replace(spec.workload.facts, stages=stages)
                (record,) = self.carry_out(
                    [
                        msgspec.structs.replace(
                            spec, workload=msgspec.structs.replace(spec.workload, facts=facts), stop=None
                        )
                    ]
                )
                runs.append(record)
                missed += record.status != "reached"
                if missed > allowed:
                    return False
            passed[slack] = runs
            return True

        slack = least_tolerance(holds)
        return with_tolerance(made, slack, passed[slack] if slack else ())

    def carry_out(self, specs: Sequence[RunSpec]) -> list[Record]:
        """Records in the order of the specs, whichever trial ends first: targets must not depend on that."""
        execute = load_object(self._registry.executor(self._options["executor"]).load)
        records: dict[str, Record] = {}
        with watching(self._registry, len(specs)) as watcher:
            for outcome in execute(specs, self._options["runs"], watcher, ExecutionOptions(jobs=self._options["jobs"])):
                record = read_record(Path(outcome.path) / layout.RECORD)
                records[record.run_id] = record
                spec = record.spec
                folder = self._options["out"] / "runs" / plan_name(spec.workload.facts.name) / spec.submission.name
                folder.mkdir(parents=True, exist_ok=True)
                files.write_atomically(folder / f"{record.run_id}.json", encode(record))
        return [records[layout.run_id(spec)] for spec in specs]


def plan_name(workload: str) -> str:
    """A workload's name as a file's."""
    return workload.replace(":", "_")


def _families(
    registry: Registry, entry: WorkloadEntry, given: str | None, chosen: plan.Settings
) -> list[SubmissionEntry]:
    """The references that were named, or those tagged so that can run there; on a stream those that replay.

    Raises:
        UsageError: one that was named cannot run there, or there is none.
    """
    if given:
        found = [resolve.submission(name, registry) for name in resolve.split([given])]
        for family in found:
            if reason := compose.ineligible(compose.compose(family, registry), entry.facts, chosen.ruleset):
                raise UsageError(f"{family.name} cannot run on {entry.name}: {reason}")
        return found
    tagged = [submission for submission in registry.submissions() if FAMILY_TAG in submission.tags]
    stream = entry.facts.access == "stream"
    found = []
    for family in tagged:
        composition = compose.compose(family, registry)
        # Without replay a stream's floors are out of reach, so such a reference would say nothing of its targets.
        if ("replay" in composition.needs) == stream and not compose.ineligible(
            composition, entry.facts, chosen.ruleset
        ):
            found.append(family)
    if not found:
        raise UsageError(f"no reference can run on {entry.name}", fix="name some with --families")
    return found


def _shown(hparams: HParams) -> str:
    return " ".join(f"{name}={value}" for name, value in hparams.items())
