"""The comparison of schedules and optimizers of docs/comparison.md: plans it, runs it, and makes the page.

What is compared, and how, stands in `methods_design.py`. Two runs at once, one thread each; the same command again
keeps what has finished and goes on. Records lie under `--runs`; what the page needs of each is written to `--figures`
as it comes. That file is enough to make the page, and to go on from on another machine. A method whose source has
changed since is not run again; where the change matters, its lines have to go.

    python benchmarks/compare_methods.py --plan
    python benchmarks/compare_methods.py                 (hours; stop it whenever you like)
    python benchmarks/compare_methods.py --table > docs/comparison.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import methods_design as design
import methods_figures as figures
import methods_table as table
import msgspec
from methods_design import Settings, Stage
from methods_figures import Figure, Key

from harness.cli.run import watching
from harness.contract import hyperparameters
from harness.contract.domains import Fixed, HParams
from harness.contract.entries import SubmissionEntry
from harness.contract.run import ExecutionOptions, Purpose, RunSpec
from harness.errors import BenchError
from harness.planning import compose, estimate, rulesets, sampling
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.loading import load_object
from harness.plugins.registry import Registry, load_registry
from harness.storage import layout, records

ROOT = Path(__file__).resolve().parent.parent
#: Wall seconds of a run of AdamW to the end of the full budget with its evaluations, where no earlier record says.
SECONDS = {"resnet-digits": 17.0, "lm-tiny": 84.0}
#: How many times as long a run of these takes.
DEARER = {"soap-wsd": 1.2, "shampoo-wsd": 3.0, "sam-sgd": 1.8, "muon-wsd": 1.2, "galore-wsd": 1.1}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print what would run and how long it takes; run nothing")
    parser.add_argument("--table", action="store_true", help="print the page from the figures there are")
    parser.add_argument("--arms", help="only these submissions (a,b)")
    parser.add_argument("--workloads", help="only these (a,b)")
    parser.add_argument("--seeds", type=int, help=f"fresh seeds (default {design.SEEDS}); fewer are for trying it out")
    parser.add_argument("--horizon", type=int, help="examples in every budget, for trying it out")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "methods")
    parser.add_argument("--figures", type=Path, default=ROOT / "docs" / "measured" / "methods.json")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.table:
        sys.stdout.write(table.page(figures.read(options.figures)))
        return 0
    experiment = Experiment(load_registry(), options)
    try:
        return experiment.show() if options.plan else experiment.run()
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code


class Experiment:
    """Plans and carries out the stages of the design.

    Args:
        registry: where submissions and workloads are looked up.
        options: of the command line.
    """

    def __init__(self, registry: Registry, options: argparse.Namespace) -> None:
        self._registry = registry
        self._options = options
        ruleset = rulesets.ruleset(str(design.RULESET))
        self._settings = PlanSettings(ruleset=ruleset, seed=design.ROOT_SEED)

    # --- what to run --------------------------------------------------------------------------------

    def stages(self) -> Iterator[Stage]:
        """The stages, less what the options leave out."""
        only = {name: set(text.split(",")) for name in ("arms", "workloads") if (text := getattr(self._options, name))}
        for stage in design.STAGES:
            arms = [arm for arm in stage.arms if arm in only.get("arms", {arm})]
            if arms and stage.workload in only.get("workloads", {stage.workload}):
                budget, seeds = self._options.horizon or stage.budget, self._options.seeds or stage.seeds
                yield replace(stage, budget=budget, seeds=seeds, arms=arms)

    def tuning(self, stage: Stage) -> list[RunSpec]:
        """The settings of every arm on the tuning seed, trial by trial, so that arms alternate on one machine state."""
        if stage.settings == "defaults":
            return []
        per_arm = []
        for arm in stage.arms:
            entry = self._registry.submission(arm)
            specs = self._plan(stage, entry, points(entry, self._registry, stage.settings), "tuning", 1)
            # One seed for all settings: what differs between them is then the setting alone.
            per_arm.append([msgspec.structs.replace(spec, seeds=specs[0].seeds) for spec in specs])
        return [specs[i] for i in range(max(map(len, per_arm))) for specs in per_arm if i < len(specs)]

    def fresh(self, stage: Stage, tuned: Iterable[Figure]) -> list[RunSpec]:
        """Fresh seeds of every arm's best settings, seed by seed."""
        tuned = list(tuned)
        specs = []
        for arm in stage.arms:
            best = figures.chosen([figure for figure in tuned if figure.arm == arm])
            entry = self._registry.submission(arm)
            settings = [_setting(entry, stage, best[measure]) for measure in stage.measures] if best else [{}]
            for setting in settings:
                specs += self._plan(stage, entry, [setting], "score", stage.seeds)
        unique = {layout.run_id(spec): spec for spec in specs}
        return sorted(unique.values(), key=lambda spec: spec.study)

    def _plan(
        self, stage: Stage, entry: SubmissionEntry, tried: Sequence[HParams], purpose: Purpose, studies: int
    ) -> Sequence[RunSpec]:
        workload = self._registry.workload(stage.workload)
        if stage.eval_every is not None:
            facts = msgspec.structs.replace(workload.facts, eval_every=stage.eval_every)
            arguments = {**workload.arguments, "eval_every": stage.eval_every}
            workload = msgspec.structs.replace(workload, facts=facts, arguments=arguments)
        return plan_trials(
            workload,
            entry,
            self._registry,
            self._settings,
            purpose=purpose,
            studies=studies,
            points=tried,
            horizon=stage.budget,
        )

    # --- running ------------------------------------------------------------------------------------

    def run(self) -> int:
        """Every stage: its tuning, then its fresh seeds. 1 where a run broke."""
        kept = self._kept()
        for stage in self.stages():
            tuned = self._carry_out(self.tuning(stage), kept)
            self._carry_out(self.fresh(stage, tuned), kept)
        broken = [figure for figure in kept.values() if figure.status not in ("reached", "exhausted")]
        for figure in broken:
            print(f"{figure.status}: {figure.arm} on {figure.workload}, {self._options.runs / figure.run}")
        return 1 if broken else 0

    def _kept(self) -> dict[Key, Figure]:
        return {figure.key: figure for figure in figures.read(self._options.figures) if figure.status != "crashed"}

    def _carry_out(self, specs: Sequence[RunSpec], kept: dict[Key, Figure]) -> list[Figure]:
        """Run what has not been run; the figures of all, written down as they come."""
        left = [spec for spec in specs if figures.key(spec) not in kept]
        execute = load_object(self._registry.executor("local").load)
        with watching(self._registry, len(left)) as watcher:
            for outcome in execute(left, self._options.runs, watcher, ExecutionOptions(jobs=self._options.jobs)):
                figure = figures.of(records.read_record(Path(outcome.path) / layout.RECORD))
                kept[figure.key] = figure
                figures.write(self._options.figures, kept.values())
        return [kept[figures.key(spec)] for spec in specs]

    # --- what it costs ------------------------------------------------------------------------------

    def show(self) -> int:
        """Print the plan, less what has run. How much runs on fresh seeds depends on the tuning."""
        done = self._kept()
        total = 0.0
        for stage in self.stages():
            tuning = self.tuning(stage)
            facts = self._registry.workload(stage.workload).facts
            budget = stage.budget or facts.budget.horizon
            there = [f for f in done.values() if f.at == (facts.id, budget) and f.arm in stage.arms]
            fresh = [figure for figure in there if figure.purpose == "score"]
            least, most = self._left(stage, tuning, fresh, done)
            total += most
            several = "one or two settings" if len(stage.measures) > 1 else "one setting"
            several = "the defaults" if stage.settings == "defaults" else several
            print(f"{stage.title}: {len(stage.arms)} arms, {len(tuning)} settings on the tuning seed,")
            print(f"  fresh seeds of {several} each: {stage.seeds}, of which {len(fresh)} runs are there;")
            print(f"  left: {hours(least)} to {hours(most)}")
            for spec in tuning:
                tried = " ".join(f"{name}={spec.hparams[name]:g}" for name in figures.TUNED if name in spec.hparams)
                figure = done.get(figures.key(spec))
                print(f"    {spec.submission.name} {tried} ({figure.status if figure else 'to run'})")
        jobs = self._options.jobs
        print(f"at most {hours(total)} are left; with {jobs} at once {hours(total / jobs, 'hours')}")
        return 0

    def _left(
        self, stage: Stage, tuning: Sequence[RunSpec], fresh: Sequence[Figure], done: Mapping[Key, Figure]
    ) -> tuple[float, float]:
        """Seconds that a stage still takes, at least and at most: before its tuning has run both measures may choose
        the same settings or not."""
        to_tune = [spec for spec in tuning if figures.key(spec) not in done]
        if not to_tune:
            chosen = self.fresh(stage, [done[figures.key(spec)] for spec in tuning])
            exactly = sum(self._seconds(spec) for spec in chosen if figures.key(spec) not in done)
            return exactly, exactly
        budget = stage.budget or self._registry.workload(stage.workload).facts.budget.horizon
        once = stage.seeds * sum(self._cost(arm, stage.workload, budget) for arm in stage.arms)
        left = sum(map(self._seconds, to_tune))
        left -= sum(self._cost(figure.arm, stage.workload, budget) for figure in fresh)
        return max(0.0, left + once), max(0.0, left + len(stage.measures) * once)

    def _seconds(self, spec: RunSpec) -> float:
        facts = spec.workload.facts
        return self._cost(spec.submission.name, facts.name, facts.budget.horizon)

    def _cost(self, arm: str, workload: str, budget: int) -> float:
        """Wall seconds of a run to the end of a budget, from those of AdamW."""
        share = budget / self._registry.workload(workload).facts.budget.horizon
        return estimate.STARTUP_S + SECONDS.get(workload, 60.0) * share * DEARER.get(arm, 1.0)


def points(entry: SubmissionEntry, registry: Registry, settings: Settings) -> list[HParams]:
    """The settings tried for an arm.

    `rates` are learning rates around its default, or the list it brings itself; `points` are those of the Halton
    sequence over its learning rate and its `horizon_fraction`. Where one submission has two learning rates, for
    hidden weights and for the rest, they stay in the proportion of their defaults.
    """
    space = compose.compose(entry, registry).space
    middle = float(hyperparameters.default(space["lr"]))
    if settings == "rates" and entry.points:
        return list(entry.points)
    if settings == "rates":
        found: list[HParams] = [{"lr": rate} for rate in sampling.rates(middle, design.RATES)]
    else:
        tuned = {name: space[name] for name in figures.TUNED if name in space and not isinstance(space[name], Fixed)}
        found = [dict(point) for point in islice(sampling.draws(tuned), design.TRIALS)]
    if "adam_lr" in space:
        share = float(hyperparameters.default(space["adam_lr"])) / middle
        found = [{**point, "adam_lr": float(f"{float(point['lr']) * share:.6g}")} for point in found]
    return found


def _setting(entry: SubmissionEntry, stage: Stage, figure: Figure) -> HParams:
    """The whole setting that a tuning run tried; of one that the arm brings itself a figure keeps a part."""
    return entry.points[figure.trial] if stage.settings == "rates" and entry.points else figure.hparams


def hours(length: float, unit: str = "core-hours") -> str:
    """Seconds as hours.

    >>> hours(5400)
    '1.5 core-hours'
    """
    return f"{length / 3600:.1f} {unit}"


if __name__ == "__main__":
    raise SystemExit(main())
