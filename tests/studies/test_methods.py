"""The comparison of methods: what it plans, what it chooses, and what its tables say of made-up figures."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest

from harness.contract import hyperparameters
from harness.planning import compose, rulesets
from harness.plugins.registry import load_registry
from harness.storage import layout
from harness.worker.loading import load_workload

ROOT = Path(__file__).resolve().parent.parent
REGISTRY = load_registry()
NAMES = ("methods_design", "methods_figures", "methods_tests", "methods_claims", "methods_table", "compare_methods")


class Scripts(NamedTuple):
    design: ModuleType
    figures: ModuleType
    tests: ModuleType
    claims: ModuleType
    table: ModuleType
    command: ModuleType


@pytest.fixture(scope="module")
def scripts() -> Iterator[Scripts]:
    """The scripts as they import each other when one of them is run."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield Scripts(*(importlib.import_module(name) for name in NAMES))
    finally:
        sys.path.pop(0)
        for name in NAMES:
            sys.modules.pop(name, None)


def experiment(scripts: Scripts, tmp_path: Path, **options: Any) -> Any:
    defaults = {"arms": None, "workloads": None, "seeds": None, "horizon": None, "runs": tmp_path / "runs"}
    given = argparse.Namespace(**(defaults | {"figures": tmp_path / "f.json", "jobs": 1} | options))
    return scripts.command.Experiment(REGISTRY, given)


# --- the design -----------------------------------------------------------------------------------


def test_arms_are_ten_schedules_eight_optimizers_and_every_other_pool_method(scripts: Scripts) -> None:
    design = scripts.design
    assert len(design.SCHEDULES) == 10
    assert len(design.OPTIMIZERS) == 8
    assert set(design.SCHEDULES) & set(design.OPTIMIZERS) == {"wsd"}
    facts = REGISTRY.workload("resnet-digits").facts
    ruleset = rulesets.ruleset(str(design.RULESET))
    able = {
        entry.name
        for entry in REGISTRY.submissions()
        if entry.distribution == "algorace" and not compose.ineligible(compose.compose(entry, REGISTRY), facts, ruleset)
    }
    assert set(design.MAIN) | set(design.REST) == able
    assert not set(design.MAIN) & set(design.REST)


def test_claims_are_about_arms_that_run_and_papers_that_are_cited(scripts: Scripts) -> None:
    cited = {source.title for entry in (*REGISTRY.parts(), *REGISTRY.submissions()) for source in entry.sources}
    for claim in scripts.design.CLAIMS:
        assert {claim.arm, claim.other} <= set(scripts.design.MAIN)
        assert claim.paper in cited
        assert claim.confounds


def test_all_arms_try_as_many_settings_on_one_seed_and_meet_on_fresh_ones(scripts: Scripts, tmp_path: Path) -> None:
    runner = experiment(scripts, tmp_path)
    for stage in runner.stages():
        if stage.settings == "defaults":
            continue
        tuning = runner.tuning(stage)
        assert len({spec.seeds for spec in tuning}) == 1, "one tuning seed"
        assert all(spec.purpose == "tuning" for spec in tuning)
        assert {spec.stop for spec in tuning} == {stage.budget or tuning[0].workload.facts.budget.horizon}
        own = REGISTRY.workload(stage.workload).facts.eval_every
        assert {spec.workload.facts.eval_every for spec in tuning} == {stage.eval_every or own}
        per_arm = {arm: [spec for spec in tuning if spec.submission.name == arm] for arm in stage.arms}
        counts = {len(specs) for arm, specs in per_arm.items() if not REGISTRY.submission(arm).points}
        assert counts == {3 if stage.settings == "rates" else 5}
        for specs in per_arm.values():
            rates = {spec.hparams["lr"] for spec in specs}
            assert len(rates) >= 3
        # Arms alternate, so that a slow hour of the machine is nobody's.
        assert {spec.submission.name for spec in tuning[: len(stage.arms)]} == set(stage.arms)
        tuned = [figure_of(scripts, spec, loss=1 / (i + 1), hit=None) for i, spec in enumerate(tuning)]
        fresh = runner.fresh(stage, tuned)
        assert len(fresh) == 5 * len(stage.arms), "one setting is best by both"
        by_study: dict[int, set[Any]] = {}
        for spec in fresh:
            assert spec.purpose == "score"
            by_study.setdefault(spec.study, set()).add(spec.seeds)
        assert {len(seeds) for seeds in by_study.values()} == {1}, "the same seeds for all arms"
        assert set().union(*by_study.values()).isdisjoint({tuning[0].seeds})


def test_what_is_not_tuned_runs_once_at_its_defaults(scripts: Scripts, tmp_path: Path) -> None:
    runner = experiment(scripts, tmp_path)
    stage = list(runner.stages())[-1]
    assert (stage.settings, runner.tuning(stage)) == ("defaults", [])
    specs = runner.fresh(stage, [])
    assert [spec.submission.name for spec in specs] == list(scripts.design.REST)
    for spec in specs:
        assert (spec.purpose, spec.overridden) == ("score", ())
        space = compose.compose(REGISTRY.submission(spec.submission.name), REGISTRY).space
        assert spec.hparams["lr"] == hyperparameters.default(space["lr"])


@pytest.mark.parametrize("workload", ["resnet-digits", "lm-tiny"])
def test_a_run_of_every_stage_is_one_that_the_worker_accepts(scripts: Scripts, tmp_path: Path, workload: str) -> None:
    """An override of the workload's facts has once made every run of a stage crash."""
    runner = experiment(scripts, tmp_path, arms="wsd,clr", workloads=workload)
    for stage in runner.stages():
        spec = (runner.tuning(stage) or runner.fresh(stage, []))[0]
        assert load_workload(spec).facts.eval_every == spec.workload.facts.eval_every


def test_a_second_rate_keeps_its_proportion(scripts: Scripts) -> None:
    for point in scripts.command.points(REGISTRY.submission("muon-wsd"), REGISTRY, "points"):
        assert point["adam_lr"] / point["lr"] == pytest.approx(0.25, rel=1e-5)


def test_the_plan_says_what_it_costs_and_runs_nothing(
    scripts: Scripts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert scripts.command.main(["--plan", "--arms", "wsd,d2z", "--runs", str(runs)]) == 0
    said = capsys.readouterr().out
    assert "2 arms, 10 settings" in said
    assert "core-hours" in said.splitlines()[-1]
    assert not runs.exists()


def test_where_all_has_run_the_plan_says_that_nothing_is_left(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    """One setting that both measures chose runs once: no more is left than what would run."""
    assert scripts.command.main(["--plan", "--arms", "wsd,rex", "--workloads", "resnet-digits"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("at most 0.0 core-hours are left")


# --- figures ----------------------------------------------------------------------------------------


def figure_of(scripts: Scripts, spec: Any, loss: float | None, hit: int | None, status: str = "exhausted") -> Any:
    facts = spec.workload.facts
    tuned = {name: spec.hparams[name] for name in ("horizon_fraction", "lr", "adam_lr") if name in spec.hparams}
    return scripts.figures.Figure(
        arm=spec.submission.name,
        workload=facts.id,
        budget=facts.budget.horizon,
        purpose=spec.purpose,
        study=spec.study,
        trial=spec.trial,
        hparams=tuned,
        status=status,
        loss=loss,
        hit=hit,
        seconds=None if hit is None else hit / 1000,
        spent=36.0,
        hardware="made-up",
        torch="0",
        run=layout.run_id(spec),
    )


def test_each_measure_chooses_its_own_setting(scripts: Scripts, tmp_path: Path) -> None:
    runner = experiment(scripts, tmp_path, arms="wsd", workloads="lm-tiny")
    (stage,) = runner.stages()
    outcomes = [(0.5, 900), (0.4, 1000), (0.6, 800), (None, 700), (0.3, None)]
    tuned = [figure_of(scripts, spec, *found) for spec, found in zip(runner.tuning(stage), outcomes, strict=True)]
    tuned[3] = msgspec.structs.replace(tuned[3], status="diverged", hit=None)
    best = scripts.figures.chosen(tuned)
    assert (best["loss"].trial, best["target"].trial) == (4, 2)
    assert len(runner.fresh(stage, tuned)) == 10
    missed = [msgspec.structs.replace(figure, hit=None) for figure in tuned]
    assert scripts.figures.chosen(missed)["target"].trial == 4, "among misses the lower loss"


def test_a_rate_at_the_edge_of_those_tried_is_marked(scripts: Scripts, tmp_path: Path) -> None:
    runner = experiment(scripts, tmp_path, arms="rex-sgd", workloads="resnet-digits")
    (stage,) = runner.stages()
    low, middle, high = sorted(
        (figure_of(scripts, spec, 0.5, None) for spec in runner.tuning(stage)), key=lambda figure: figure.hparams["lr"]
    )
    marked = [scripts.table.rate_among(one, [high, low, middle]).partition(" ")[2] for one in (low, middle, high)]
    assert marked == ["↓", "", "↑"]
    assert scripts.table.rate_among(low, [low]) == f"{low.hparams['lr']:.3g}", "nothing else was tried"


def test_figures_come_back_as_they_were_written(scripts: Scripts, tmp_path: Path) -> None:
    runner = experiment(scripts, tmp_path, arms="wsd,d2z", workloads="resnet-digits")
    stage = next(runner.stages())
    made = [figure_of(scripts, spec, 0.5, None) for spec in runner.tuning(stage)]
    path = tmp_path / "new" / "figures.json"
    assert scripts.figures.read(path) == []
    scripts.figures.write(path, made)
    once = path.read_bytes()
    assert {figure.run for figure in scripts.figures.read(path)} == {figure.run for figure in made}
    scripts.figures.write(path, reversed(made))
    assert path.read_bytes() == once
    assert len(json.loads(once)) == len(once.splitlines()) - 2, "a line for each"


def test_figures_are_enough_to_go_on_from(scripts: Scripts, tmp_path: Path) -> None:
    """On another machine there are no records; what the file knows is not run again."""
    runner = experiment(scripts, tmp_path, arms="wsd", workloads="lm-tiny", seeds=2)
    (stage,) = runner.stages()
    tuned = [figure_of(scripts, spec, 0.5 + spec.trial, 900) for spec in runner.tuning(stage)]
    fresh = [figure_of(scripts, spec, 0.5, 900) for spec in runner.fresh(stage, tuned)]
    assert len(fresh) == 2
    path = tmp_path / "f.json"
    scripts.figures.write(path, tuned + fresh)
    before = path.read_bytes()
    assert runner.run() == 0
    assert path.read_bytes() == before
    assert not (tmp_path / "runs").exists()


# --- tables -----------------------------------------------------------------------------------------


def made_up(scripts: Scripts, tmp_path: Path, better: dict[str, float], noise: float = 0.01) -> list[Any]:
    """All runs of the main stages, where an arm's loss and examples are those of others times `better`."""
    runner = experiment(scripts, tmp_path)
    chance = random.Random(0)
    found = []
    for stage in list(runner.stages())[:3]:
        tuning = runner.tuning(stage)
        tuned = [figure_of(scripts, spec, 1.0 + spec.trial, None) for spec in tuning]
        found += tuned
        seed_effect = [chance.gauss(0, 0.3) for _ in range(5)]
        for spec in runner.fresh(stage, tuned):
            factor = better.get(spec.submission.name, 1.0)
            value = factor * math.exp(seed_effect[spec.study] + chance.gauss(0, noise))
            found.append(figure_of(scripts, spec, value, round(10_000 * value), "reached"))
    return found


def verdicts(scripts: Scripts, results: Any) -> dict[tuple[str, str, bool], str]:
    """(arm, other, at the small budget) -> what is said of the claim."""
    return {(j.claim.arm, j.claim.other, j.claim.small): j.says for j in scripts.claims.judged(results)}


def test_a_difference_is_found_and_an_equality_is_not(scripts: Scripts, tmp_path: Path) -> None:
    tests, claims, design = scripts.tests, scripts.claims, scripts.design
    results = tests.Results(made_up(scripts, tmp_path, {"rex": 0.8, "step": 1.3, "soap-wsd": 0.7}, 0.003))
    for stage in (*design.FULL, design.SMALL):
        reference, *others = design.SCHEDULES
        rows = [tests.by_t(tests.log_ratios(results, stage, arm, reference, "loss"), 9) for arm in others]
        said = dict(zip(others, tests.corrected(rows), strict=True))
        assert said["rex"].verdict == "better"
        assert said["rex"].ratio == pytest.approx(0.8, rel=0.05)
        assert said["rex"].low < 0.8 < said["rex"].high
        assert said["step"].verdict == "worse"
        assert said["d2z"].verdict == "–"
    found = {(j.claim.arm, j.claim.other, j.claim.measure, j.claim.small): j.says for j in claims.judged(results)}
    assert found["soap-wsd", "wsd", "target", False] == "holds"
    assert found["muon-wsd", "wsd", "target", False] == "fails: no gain worth speaking of"
    assert found["rex", "d2z", "loss", True] == "holds"
    assert found["uba", "rex", "loss", False] == "fails"
    assert found["d2z", "adamw-cosine", "loss", False] == "holds", "it is no worse"


def test_one_workload_alone_is_judged_by_its_own_seeds(scripts: Scripts, tmp_path: Path) -> None:
    """An arm that is ahead on one and behind on the other: undecided together, plain on each."""
    ahead = made_up(scripts, tmp_path, {"rex": 0.8, "uba": 0.8}, 0.003)
    behind = made_up(scripts, tmp_path, {"rex": 1.25, "uba": 1.25}, 0.003)
    found = [f for f in ahead if f.workload.startswith("lm-tiny@")]
    found += [f for f in behind if f.workload.startswith("resnet-digits@")]
    results = scripts.tests.Results(found)
    assert verdicts(scripts, results)["rex", "d2z", False] == "undecided"
    alone = scripts.claims.alone(results)
    assert len(alone) == 2 * sum(not claim.small for claim in scripts.design.CLAIMS)
    said = {(j.claim.arm, j.claim.other, j.stages[0].workload): j.says for j in alone if j.claim.measure == "loss"}
    assert said["rex", "d2z", "lm-tiny"] == "holds"
    assert said["rex", "d2z", "resnet-digits"] == "fails"
    assert said["uba", "rex", "lm-tiny"] == "fails: no gain worth speaking of"
    lines = [scripts.claims.on_one(results, one) for one in alone]
    assert any(line.startswith("lm-tiny 0.8") and line.endswith(" holds") for line in lines)


def test_runs_without_spread_are_not_tested(scripts: Scripts) -> None:
    """Hits fall on evaluations, so five pairs can agree to the last digit; that is no certainty."""
    one = scripts.tests.by_t([-0.1] * 5, 1)
    assert (one.n, one.p, one.low, one.high) == (5, 1.0, None, None)
    same = scripts.tests.by_t([0.0] * 5, 1)
    assert (same.p, same.low, same.high) == (1.0, 1.0, 1.0)


def test_one_workload_does_not_speak_for_both(scripts: Scripts, tmp_path: Path) -> None:
    found = [f for f in made_up(scripts, tmp_path, {"rex": 0.8}) if f.workload.startswith("resnet-digits@")]
    said = verdicts(scripts, scripts.tests.Results(found))
    assert said["rex", "d2z", True] == "holds"
    assert said["rex", "d2z", False] == "not tried"


def test_before_all_seeds_have_run_nothing_is_found(scripts: Scripts, tmp_path: Path) -> None:
    """Of two pairs that happen to agree Student's t makes a certainty."""
    found = [f for f in made_up(scripts, tmp_path, {"rex": 0.8}, 0.0001) if f.purpose == "tuning" or f.study < 2]
    results = scripts.tests.Results(found)
    rex = scripts.tests.losses_against_first(results, scripts.design.SMALL, scripts.design.SCHEDULES)["rex"]
    assert rex.ratio == pytest.approx(0.8, rel=0.01)
    assert rex.verdict == "–"
    assert {judged.says for judged in scripts.claims.judged(results)} == {"not finished"}


def test_noise_leaves_claims_undecided(scripts: Scripts, tmp_path: Path) -> None:
    results = scripts.tests.Results(made_up(scripts, tmp_path, {}, noise=0.4))
    said = [judged.says for judged in scripts.claims.judged(results)]
    assert said.count("undecided") >= len(said) - 2
    assert "holds" not in said


def test_the_published_page_is_made_from_the_published_figures(scripts: Scripts) -> None:
    found = scripts.figures.read(ROOT / "docs" / "measured" / "methods.json")
    again = "python benchmarks/compare_methods.py --table > docs/comparison.md"
    assert (ROOT / "docs" / "comparison.md").read_text() == scripts.table.page(found), again


def test_a_page_of_made_up_figures_and_of_none(scripts: Scripts, tmp_path: Path) -> None:
    page = scripts.table.page(made_up(scripts, tmp_path, {"rex": 0.8}))
    for word in (
        "## Schedules, with AdamW",
        "### lm-tiny",
        "7,168 examples",
        "Both workloads together",
        "`rex`",
        "better",
    ):
        assert word in page, word
    assert "core-hours" in page
    assert "**Not finished**: 45 of 45 arms on resnet-digits; 45 of 45 arms on lm-tiny." in page
    short = page.partition("## In short")[2].partition("## How")[0]
    assert "**Holds**" in short
    assert "Loss on lm-tiny against `adamw-cosine`: better: `rex`." in short
    assert "Loss on lm-tiny against `wsd`: no arm differs." in short
    for line in page.splitlines():
        if line.startswith("|---"):
            width = line.count("|")
        elif line.startswith("| "):
            assert line.count("|") >= 4
    assert width > 4
    assert "No run has been made yet" in scripts.table.page([])


def test_misses_and_broken_runs_are_no_times(scripts: Scripts, tmp_path: Path) -> None:
    found = made_up(scripts, tmp_path, {})
    changed = [
        msgspec.structs.replace(f, hit=None, seconds=None, loss=None, status="diverged")
        if f.arm == "lion-wsd" and f.purpose == "score"
        else f
        for f in found
    ]
    results = scripts.tests.Results(changed)
    stage = scripts.design.FULL[0]
    assert scripts.tests.log_ratios(results, stage, "lion-wsd", "wsd", "target") == [math.inf] * 5
    one = scripts.tests.by_t(scripts.tests.log_ratios(results, stage, "lion-wsd", "wsd", "loss"), 7)
    assert (one.n, one.ratio, one.verdict) == (5, None, "–")
    page = scripts.table.page(changed)
    assert "broke" in page
    assert "missed" in page
    pooled = [d for s in scripts.design.FULL for d in scripts.tests.log_ratios(results, s, "lion-wsd", "wsd", "target")]
    (verdict,) = scripts.tests.corrected([scripts.tests.by_flips(pooled, 7)])
    assert verdict.verdict == "worse", "misses count"


def differences(scripts: Scripts, values: list[float], **changes: Any) -> Any:
    """A claim's difference over such log ratios, corrected over nothing else."""
    (one,) = scripts.tests.corrected([scripts.tests.by_flips(values, 1)])
    return dataclasses.replace(one, **changes)


def claim(scripts: Scripts, kind: str) -> Any:
    return next(claim for claim in scripts.design.CLAIMS if claim.kind == kind)


def test_a_difference_not_worth_speaking_of_supports_no_claim(scripts: Scripts) -> None:
    """Seeds can be so alike that 1 % is found; by the design it is of no interest."""
    verdict = scripts.claims.verdict
    slower = differences(scripts, [0.009 + i / 1000 for i in range(10)])
    faster = differences(scripts, [-0.009 - i / 1000 for i in range(10)])
    assert (slower.verdict, faster.verdict) == ("worse", "better")
    assert verdict(claim(scripts, "not worse"), slower) == "holds"
    assert verdict(claim(scripts, "better"), faster) == "fails: no gain worth speaking of"
    much = differences(scripts, [-0.2 - i / 1000 for i in range(10)])
    assert verdict(claim(scripts, "better"), much) == "holds"
    assert verdict(claim(scripts, "not worse"), differences(scripts, [0.2 + i / 1000 for i in range(10)])) == "fails"


def test_pairs_of_two_misses_are_no_evidence_of_likeness(scripts: Scripts) -> None:
    missed = differences(scripts, [0.0] * 10, both_missed=10)
    assert scripts.claims.verdict(claim(scripts, "not worse"), missed) == "undecided"
    assert scripts.claims.verdict(claim(scripts, "better"), missed) == "undecided"
    alike = differences(scripts, [0.0] * 10)
    assert scripts.claims.verdict(claim(scripts, "not worse"), alike) == "holds"


def test_claims_count_their_pairs_of_two_misses(scripts: Scripts, tmp_path: Path) -> None:
    found = [
        msgspec.structs.replace(f, hit=None, seconds=None) if f.purpose == "score" else f
        for f in made_up(scripts, tmp_path, {})
    ]
    results = scripts.tests.Results(found)
    for one in scripts.claims.judged(results):
        assert one.found.both_missed == (10 if one.claim.measure == "target" else 0)
        if one.claim.measure == "target":
            assert one.says == "undecided"
    for one in scripts.claims.alone(results):
        if one.claim.measure == "target":
            assert one.says == "not tested (a seed missed or broke)"
            assert scripts.claims.on_one(results, one) == f"{one.stages[0].workload} 0 and 0 of 5 hit"


def test_an_arm_that_broke_is_not_tested_by_its_other_seeds(scripts: Scripts, tmp_path: Path) -> None:
    found = [
        msgspec.structs.replace(f, hit=None, seconds=None, loss=None, status="diverged")
        if f.arm == "rex" and f.purpose == "score" and f.study < 3
        else f
        for f in made_up(scripts, tmp_path, {"rex": 0.5}, 0.001)
    ]
    results = scripts.tests.Results(found)
    rex = scripts.tests.losses_against_first(results, scripts.design.SMALL, scripts.design.SCHEDULES)["rex"]
    assert (rex.n, rex.ratio, rex.verdict) == (5, None, "–")
    said = verdicts(scripts, results)
    assert said["rex", "d2z", True] == "not tested (a seed missed or broke)"
    assert "(3/5 broke)" in scripts.table.page(found)


def test_another_version_of_a_workload_is_another_place(scripts: Scripts, tmp_path: Path) -> None:
    older = [msgspec.structs.replace(f, workload="lm-tiny@1") for f in made_up(scripts, tmp_path, {"rex": 0.8})]
    results = scripts.tests.Results(older)
    assert results.setting(scripts.design.FULL[1], "rex", "loss") is None


def test_what_a_method_did_at_its_defaults_is_one_line(scripts: Scripts, tmp_path: Path) -> None:
    runner = experiment(scripts, tmp_path, arms="wsd", workloads="lm-tiny")
    (stage,) = runner.stages()
    hits = (900, 1100, None, 1000, 1000)
    made = [figure_of(scripts, spec, 0.5, hit) for spec, hit in zip(runner.tuning(stage), hits, strict=True)]
    assert scripts.table.reached(made) == "reached 4/5, median 1,000 examples"
    assert scripts.table.reached(made[2:3]) == "missed, ends at 0.5"
    assert scripts.table.reached(made[:1]) == "reached at 900 examples"
