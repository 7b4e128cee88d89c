"""`bench calibrate`: targets, budgets and resolution of a workload from tuned references on seeds of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from harness import plan, rulesets, store
from harness.calibration import SEEDS_SHARE, Calibration, Setting, calibrate, least_slack, relaxed, settings, with_slack
from harness.cli import gather, names
from harness.cli.names import open_registry
from harness.cli.output import SCHEMA, json_out, note
from harness.cli.run import watching
from harness.errors import UsageError
from harness.loading import load_object
from harness.plugins import Registry
from harness.report import text
from harness.types import Execution, HParams, Purpose, Record, RunSpec, SubmissionEntry, WorkloadEntry

#: Submissions with this tag are references that targets may come from.
FAMILY_TAG = "family"
#: Fresh seeds for a variant, which takes the setting of its base.
VARIANT_STUDIES = 5


@click.command("calibrate")
@click.argument("workload", type=names.NameType("workload"))
@click.option("--families", help="References to tune (a,b); those tagged 'family' that can run there when not given.")
@click.option("--studies", type=click.IntRange(1), help="Fresh seeds of the best; the ruleset's when not given.")
@click.option("--rates", type=click.IntRange(1), help="Learning rates tried per family; the ruleset's when not given.")
@click.option("--variants/--no-variants", default=True, help="Run the best setting on the workload's variants too.")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="BENCH_RUNS", show_default=True,
    help="Folder of local runs.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("calibration"), show_default=True,
    help="Where the calibration and the records it came from are written.",
)  # fmt: skip
@click.option("--device", envvar="BENCH_DEVICE", help="cpu, cuda, mps; the workload's own when not given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Root of all seeds.")
@click.option("--executor", default="local", envvar="BENCH_EXECUTOR", show_default=True, help="Where trials run.")
@click.option("--jobs", type=click.IntRange(1), envvar="BENCH_JOBS", help="Trials at once; as many as fit by default.")
@click.option("--dry-run", is_flag=True, help="Print the first trials and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the calibrations as JSON.")
@click.pass_obj
def command(blocked: list[str], /, workload: str, **options: Any) -> None:
    """Calibrate a workload: tune references, rerun the best on fresh seeds, write what targets follow.

    A variant takes its base's best setting: from the base's calibration, where it alone is asked for.

    Tuning, fresh and leaderboard seeds never meet. Giving the same command again goes on.
    """
    registry = open_registry(blocked)
    (entry,) = names.workloads(workload, registry)
    ruleset = rulesets.ruleset("calibration")
    ruleset = msgspec.structs.replace(
        ruleset, trials=options["rates"] or ruleset.trials, studies=options["studies"] or ruleset.studies
    )
    chosen = plan.Settings(ruleset=ruleset, seed=options["seed"], device=options["device"])
    runner = Calibrator(registry, chosen, options)
    families = {
        f"{family.name}@{family.version}": family for family in _families(registry, entry, options["families"], chosen)
    }
    base = entry.name.partition("+")[0]
    if entry.name == base:
        specs = runner.tuning(entry, families)
        made = runner.with_variants(entry, families, specs)
    else:
        kept = _kept(options["out"] / f"{plan_name(base)}.json", base, entry.name)
        setting = _of_anchor(kept.settings, families) or kept.settings[0]
        specs = runner.specs(entry, _known(setting, families, base), "target", VARIANT_STUDIES, [setting.hparams])
        made = runner.variants([entry], families, setting)
    if options["dry_run"]:
        for spec in specs:
            click.echo(f"{store.run_id(spec)} {spec.submission.name} {_shown(spec.hparams)}")
        return
    results = []
    for result in made:
        _write(options["out"], result)
        results.append(result)
    if options["as_json"]:
        json_out({"schema": SCHEMA, "calibrations": results})
    else:
        for result in results:
            _print(result)


def _of_anchor(tuned: Sequence[Setting], families: Mapping[str, SubmissionEntry]) -> Setting | None:
    """The best setting of a submission that anchors the scores."""
    anchors = [name for name, family in families.items() if gather.REFERENCE_TAG in family.tags]
    return next((one for one in tuned if one.submission in anchors and one.value is not None), None)


def _known(setting: Setting, families: Mapping[str, SubmissionEntry], base: str) -> SubmissionEntry:
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
        tuned: Sequence[Setting],
        anchor: Setting | None,
        studies: int,
    ) -> Calibration:
        """Run fresh seeds of the best setting, and of the anchor's where that is another, and draw the conclusion."""

        def fresh(setting: Setting) -> list[Record]:
            note(f"{workload.name}: fresh seeds of {setting.submission} {_shown(setting.hparams)}")
            family = families[setting.submission]
            return self.carry_out(self.specs(workload, family, "target", studies, [setting.hparams]))

        other = anchor is not None and anchor.run != tuned[0].run
        made = calibrate(tuned, fresh(tuned[0]), fresh(anchor) if other and anchor is not None else ())
        complete = len(made.stages) == len(workload.facts.stages) > 0
        return self._with_slack(made, workload, families[tuned[0].submission], tuned[0], studies) if complete else made

    def variants(
        self, variants: Iterable[WorkloadEntry], families: Mapping[str, SubmissionEntry], setting: Setting
    ) -> Iterator[Calibration]:
        """The same of held-out variants, which are there to be met by what meets their base."""
        for variant in variants:
            yield self.calibration(variant, families, [setting], None, VARIANT_STUDIES)

    def _with_slack(
        self, made: Calibration, workload: WorkloadEntry, family: SubmissionEntry, setting: Setting, studies: int
    ) -> Calibration:
        """Send fresh seeds, other ones than before, through the stream at easier and easier targets."""
        allowed = studies - math.ceil(SEEDS_SHARE * studies - 1e-9)
        passed: dict[float, list[Record]] = {}

        def holds(slack: float) -> bool:
            note(f"{workload.name}: {studies} fresh seeds at {slack:g} times the errors")
            stages = relaxed(made, workload.facts.stages, slack)
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

        slack = least_slack(holds)
        return with_slack(made, slack, passed[slack] if slack else ())

    def carry_out(self, specs: Sequence[RunSpec]) -> list[Record]:
        """Records in the order of the specs, whichever trial ends first: targets must not depend on that."""
        execute = load_object(self._registry.executor(self._options["executor"]).load)
        records: dict[str, Record] = {}
        with watching(self._registry, len(specs)) as watcher:
            for outcome in execute(specs, self._options["runs"], watcher, Execution(jobs=self._options["jobs"])):
                record = store.read_record(Path(outcome.path) / store.RECORD)
                records[record.run_id] = record
                spec = record.spec
                folder = self._options["out"] / "runs" / plan_name(spec.workload.facts.name) / spec.submission.name
                folder.mkdir(parents=True, exist_ok=True)
                store.write_atomically(folder / f"{record.run_id}.json", store.encode(record))
        return [records[store.run_id(spec)] for spec in specs]


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
        found = [names.submission(name, registry) for name in names.split([given])]
        for family in found:
            if reason := plan.ineligible(plan.compose(family, registry), entry.facts, chosen.ruleset):
                raise UsageError(f"{family.name} cannot run on {entry.name}: {reason}")
        return found
    tagged = [submission for submission in registry.submissions() if FAMILY_TAG in submission.tags]
    stream = entry.facts.access == "stream"
    found = []
    for family in tagged:
        composition = plan.compose(family, registry)
        # Without replay a stream's floors are out of reach, so such a reference would say nothing of its targets.
        if ("replay" in composition.needs) == stream and not plan.ineligible(composition, entry.facts, chosen.ruleset):
            found.append(family)
    if not found:
        raise UsageError(f"no reference can run on {entry.name}", fix="name some with --families")
    return found


def _write(out: Path, result: Calibration) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = plan_name(result.workload.partition("@")[0])
    payload = msgspec.json.format(msgspec.json.encode(result, order="deterministic"), indent=1)
    store.write_atomically(out / f"{name}.json", payload + b"\n")


def _print(result: Calibration) -> None:
    best = result.settings[0]
    click.echo(
        f"{result.workload}: best of {len(result.settings)} settings is {best.submission}, {_shown(best.hparams)}"
    )
    rows = [
        [f"  {name}", f"{result.metric} {level.value:g}", _hits(level.examples)]
        for name, level in result.levels.items()
    ]
    for stage in result.stages:
        floors = ", ".join(f"{name} {value:g}" for name, value in stage.floors.items())
        rows.append([f"  {stage.name}", f"{result.metric} {stage.value:g}", f"at the end: {floors}" if floors else ""])
    if result.stages:
        found = (
            "none holds" if result.slack is None else f"{result.slack:g} times the errors: {len(result.checks)} seeds"
        )
        rows.append(["  slack", found, ""])
    known = "unknown" if result.resolution is None else f"{result.resolution:.1%}"
    rows.append(["  resolution", known + (", coarse" if result.coarse else ""), ""])
    click.echo(text.columns(rows))


def _hits(examples: Sequence[int | None]) -> str:
    met = sorted(n for n in examples if n is not None)
    span = f", {met[0]:,} to {met[-1]:,} examples" if met else ""
    return f"{len(met)} of {len(examples)} seeds{span}"


def _shown(hparams: HParams) -> str:
    return " ".join(f"{name}={value}" for name, value in hparams.items())
