"""The comparison of methods: what it plans, what it chooses, and what its tables say of made-up figures."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

import harness
from harness.contract import hyperparameters
from harness.contract.record import Status
from harness.contract.run import ExecutionOptions, RunSpec, Seeds
from harness.planning import compose
from harness.plugins.registry import load_registry
from harness.storage.layout import run_id
from harness.worker.loading import load_workload
from studies.methods.__main__ import main
from studies.methods.claims import claim_verdict, describe_on_one_workload, judge_claims, judge_each_workload
from studies.methods.design import Claim, Stage, read_design
from studies.methods.differences import (
    Difference,
    compare_by_flips,
    compare_by_t,
    compare_losses_with_first,
    correct_by_holm,
    log_ratios,
)
from studies.methods.figures import (
    MEASURED,
    FinishedRuns,
    RunFigures,
    choose_settings,
    figures_of_record,
    key_of_spec,
    read_finished,
    read_stored,
    tuned_hparams,
)
from studies.methods.page import page
from studies.methods.plan import StudyPlan, settings_to_try
from studies.methods.results import Results
from studies.methods.run import StudyRunner
from studies.methods.tables import describe_hits, format_rate

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = load_registry()
DESIGN = read_design()
PLAN = StudyPlan(DESIGN, REGISTRY)
SCHEDULES, OPTIMIZERS = DESIGN.families.values()
MAIN_ARMS = {*SCHEDULES, *OPTIMIZERS}
TINY, DIGITS = "lm-tiny", "resnet-digits"


def only_stage(arms: str, workload: str, seeds: int | None = None) -> Stage:
    """The first stage of some arms on a workload."""
    return DESIGN.select_stages(arms.split(","), [workload], seeds)[0]


def results_of(figures: Sequence[RunFigures]) -> Results:
    return Results(DESIGN, figures, REGISTRY)


# --- the design -----------------------------------------------------------------------------------


def test_arms_are_ten_schedules_eight_optimizers_and_every_other_pool_method() -> None:
    assert len(SCHEDULES) == 10
    assert len(OPTIMIZERS) == 8
    assert set(SCHEDULES) & set(OPTIMIZERS) == {"wsd"}
    facts = REGISTRY.workload(DIGITS).facts
    eligible = {
        entry.name
        for entry in REGISTRY.submissions()
        if entry.distribution == "algorace"
        and not compose.find_ineligibility(compose.compose(entry, REGISTRY), facts, DESIGN.ruleset)
    }
    others = set(DESIGN.others_stage.arms)
    assert MAIN_ARMS | others == eligible
    assert not MAIN_ARMS & others
    assert DESIGN.untuned_stage.arms == DESIGN.others_stage.arms


def test_claims_are_about_arms_that_run_and_papers_that_are_cited() -> None:
    cited = {source.title for part in REGISTRY.parts() for source in part.sources}
    cited |= {source.title for entry in REGISTRY.submissions() for source in entry.sources}
    assert len(set(DESIGN.claims)) == len(DESIGN.claims) == 21
    for claim in DESIGN.claims:
        assert {claim.arm, claim.other} <= MAIN_ARMS
        assert claim.paper in cited
        assert claim.confounds


def test_a_name_that_is_not_in_the_study_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plan", "--arms", "wsdd"]) == 2
    assert "did you mean 'wsd'" in capsys.readouterr().err


@pytest.mark.slow
def test_all_arms_try_as_many_settings_on_one_seed_and_meet_on_fresh_ones() -> None:
    for stage in DESIGN.stages:
        if stage.settings == "defaults":
            continue
        tuning = PLAN.tuning_specs(stage)
        assert len({spec.seeds for spec in tuning}) == 1, "one tuning seed"
        assert all(spec.purpose == "tuning" for spec in tuning)
        assert {spec.stop for spec in tuning} == {stage.budget or tuning[0].workload.facts.budget.horizon}
        default = REGISTRY.workload(stage.workload).facts.eval_every
        assert {spec.workload.facts.eval_every for spec in tuning} == {stage.eval_every or default}
        per_arm = {arm: [spec for spec in tuning if spec.submission.name == arm] for arm in stage.arms}
        counts = {len(specs) for arm, specs in per_arm.items() if not REGISTRY.submission(arm).points}
        assert counts == {3 if stage.settings == "rates" else 5}
        for specs in per_arm.values():
            assert len({spec.hparams["lr"] for spec in specs}) >= 3
        # Arms alternate, so that a slow hour of the machine affects all of them.
        assert {spec.submission.name for spec in tuning[: len(stage.arms)]} == set(stage.arms)
        tuned = [figures_of(spec, loss=1 / (i + 1), hit=None) for i, spec in enumerate(tuning)]
        fresh = PLAN.fresh_specs(stage, tuned)
        assert len(fresh) == 5 * len(stage.arms), "one setting is best by both"
        by_study: dict[int, set[Seeds]] = {}
        for spec in fresh:
            assert spec.purpose == "score"
            by_study.setdefault(spec.study, set()).add(spec.seeds)
        assert {len(seeds) for seeds in by_study.values()} == {1}, "the same seeds for all arms"
        assert set().union(*by_study.values()).isdisjoint({tuning[0].seeds})


def test_what_is_not_tuned_runs_once_at_its_defaults() -> None:
    stage = DESIGN.untuned_stage
    assert (stage.settings, PLAN.tuning_specs(stage)) == ("defaults", ())
    specs = PLAN.fresh_specs(stage, [])
    assert [spec.submission.name for spec in specs] == list(DESIGN.others_stage.arms)
    for spec in specs:
        assert (spec.purpose, spec.overridden) == ("score", ())
        space = compose.compose(REGISTRY.submission(spec.submission.name), REGISTRY).space
        assert spec.hparams["lr"] == hyperparameters.default(space["lr"])


@pytest.mark.parametrize("workload", [DIGITS, TINY])
def test_a_run_of_every_stage_is_one_that_the_worker_accepts(workload: str) -> None:
    """An override of the workload's facts has once made every run of a stage crash."""
    for stage in DESIGN.select_stages(["wsd", "clr"], [workload]):
        spec = (PLAN.tuning_specs(stage) or PLAN.fresh_specs(stage, []))[0]
        assert load_workload(spec).facts.eval_every == spec.workload.facts.eval_every


def test_repetitions_have_the_budget_and_the_batch_size_of_the_studied_version() -> None:
    studied = DESIGN.versions["resnet-digits"]
    (stage,) = (stage for stage in DESIGN.full_stages if stage.workload == "resnet-digits")
    for spec in PLAN.tuning_specs_of(stage, "wsd"):
        assert spec.hparams["batch_size"] == studied.batch_size == 64
        assert spec.workload.facts.budget.horizon == studied.horizon == 28_672


def test_a_second_rate_keeps_its_proportion() -> None:
    points = settings_to_try(REGISTRY.submission("muon-wsd"), REGISTRY, DESIGN.small_stage, DESIGN)
    assert len(points) == 5
    for point in points:
        assert float(point["adam_lr"]) / float(point["lr"]) == pytest.approx(0.25, rel=1e-5)


def test_the_plan_says_what_it_costs_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    assert main(["--plan", "--new", "--arms", "wsd,d2z", "--runs", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "2 arms, 10 settings" in printed
    assert "(to run)" in printed
    assert "core-hours" in printed.splitlines()[-1]
    assert "at most 0.0" not in printed
    assert not runs.exists()


@pytest.mark.slow
def test_where_all_has_run_the_plan_says_that_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One setting that both measures chose runs once: no more is left than what would run."""
    assert main(["--plan", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith("at most 0.0 core-hours are left")
    assert "(to run)" not in printed


# --- figures ----------------------------------------------------------------------------------------


def figures_of(spec: RunSpec, loss: float | None, hit: int | None, status: Status = "exhausted") -> RunFigures:
    """Made-up figures of a run."""
    facts = spec.workload.facts
    return RunFigures(
        arm=spec.submission.name,
        workload=facts.id,
        budget=facts.budget.horizon,
        purpose=spec.purpose,
        study=spec.study,
        trial=spec.trial,
        hparams=tuned_hparams(spec),
        status=status,
        loss=loss,
        hit=hit,
        seconds=None if hit is None else hit / 1000,
        spent=36.0,
        hardware="made-up",
        torch="0",
        run=run_id(spec),
    )


def test_each_measure_chooses_its_own_setting() -> None:
    stage = only_stage("wsd", TINY)
    outcomes = [(0.5, 900), (0.4, 1000), (0.6, 800), (None, 700), (0.3, None)]
    tuned = [figures_of(spec, *values) for spec, values in zip(PLAN.tuning_specs(stage), outcomes, strict=True)]
    tuned[3] = msgspec.structs.replace(tuned[3], status="diverged", hit=None)
    best = choose_settings(tuned)
    assert (best["loss"].trial, best["target"].trial) == (4, 2)
    assert len(PLAN.fresh_specs(stage, tuned)) == 10
    missed = [msgspec.structs.replace(run, hit=None) for run in tuned]
    assert choose_settings(missed)["target"].trial == 4, "among misses the lower loss"


def test_a_rate_at_the_edge_of_those_tried_is_marked() -> None:
    stage = only_stage("rex-sgd", DIGITS)
    low, middle, high = sorted(
        (figures_of(spec, 0.5, None) for spec in PLAN.tuning_specs(stage)), key=lambda run: float(run.hparams["lr"])
    )
    marks = [format_rate(run, [high, low, middle]).partition(" ")[2] for run in (low, middle, high)]
    assert marks == ["↓", "", "↑"]
    assert format_rate(low, [low]) == f"{low.hparams['lr']:.3g}", "nothing else was tried"


def test_stored_figures_are_not_run_again(tmp_path: Path) -> None:
    """On another machine there are no records; what the stored figures have is not repeated."""
    stage = only_stage("wsd", TINY, seeds=2)
    tuned = [figures_of(spec, 0.5 + spec.trial, 900) for spec in PLAN.tuning_specs(stage)]
    fresh = [figures_of(spec, 0.5, 900) for spec in PLAN.fresh_specs(stage, tuned)]
    assert len(fresh) == 2
    stored = {run.key: run for run in (*tuned, *fresh)}
    runner = StudyRunner(PLAN, stored, tmp_path / "runs", ExecutionOptions(), REGISTRY)
    assert runner.run([stage]) == [*tuned, *fresh]
    assert not (tmp_path / "runs").exists()


def test_stored_figures_outlive_a_change_of_source_and_records_do_not() -> None:
    spec = PLAN.tuning_specs(only_stage("wsd", DIGITS))[0]
    changed = msgspec.structs.replace(
        spec, submission=msgspec.structs.replace(spec.submission, source_hash="another source")
    )
    run = figures_of(spec, 0.5, 900)
    assert key_of_spec(spec) == key_of_spec(changed) == run.key
    assert FinishedRuns(stored={run.key: run}).find(changed) == run
    recorded = FinishedRuns(recorded={run.run: run})
    assert (recorded.find(spec), recorded.find(changed)) == (run, None)


@pytest.mark.slow
def test_a_smoke_run_leaves_records_that_continue_and_stand_in_no_table(tmp_path: Path) -> None:
    """Three learning rates, then one fresh seed; the study stops between two trials and goes on."""
    runs = tmp_path / "runs"
    (stage,) = (s for s in DESIGN.select_stages(["clr"], [DIGITS], 1) if s.settings == "rates")
    plan = StudyPlan(DESIGN, REGISTRY, smoke=True)
    options = ExecutionOptions(in_process=True)
    StudyRunner(plan, {}, runs, options, REGISTRY).run_specs(plan.tuning_specs(stage)[:2])
    before = {path: path.read_bytes() for path in runs.glob("*/record.json")}
    assert len(before) == 2
    figures = StudyRunner(plan, {}, runs, options, REGISTRY).run([stage])
    assert [run.purpose for run in figures] == ["tuning"] * 3 + ["score"]
    assert all(run.is_complete and run.loss is not None for run in figures)
    assert all(path.read_bytes() == payload for path, payload in before.items()), "finished trials are kept"
    assert len(list(runs.glob("*/record.json"))) == 4
    frame = harness.load_results(runs)
    assert set(frame["submission"]) == {"clr"}
    assert read_finished(None, runs, DESIGN, []).recorded == {}


def test_figures_of_a_record_are_its_hit_and_its_last_metric(tmp_path: Path) -> None:
    plan = StudyPlan(DESIGN, REGISTRY, smoke=True)
    spec = plan.tuning_specs(only_stage("wsd", DIGITS))[0]
    (record,) = harness.run_trials([spec], tmp_path, options=ExecutionOptions(in_process=True), registry=REGISTRY)
    metric = spec.workload.facts.targets[0].metric
    missed = figures_of_record(record)
    assert missed.key == key_of_spec(spec)
    assert (missed.loss, missed.hit, missed.seconds) == (record.points[-1].metrics[metric], None, None)
    met = msgspec.structs.replace(record.points[1], metrics={metric: 0.0})
    hit = figures_of_record(msgspec.structs.replace(record, points=(record.points[0], met, *record.points[2:]), hit=1))
    assert (hit.hit, hit.seconds) == (met.examples, met.scored(spec.clock))
    broken = figures_of_record(msgspec.structs.replace(record, status="diverged"))
    assert (broken.loss, broken.is_complete) == (None, False)


# --- tables -----------------------------------------------------------------------------------------


def made_up_runs(factors: dict[str, float], noise: float = 0.01) -> list[RunFigures]:
    """All runs of the main stages, where an arm's loss and examples are those of the others times its factor."""
    chance = random.Random(0)
    runs = []
    for stage in DESIGN.stages[:3]:
        tuned = [figures_of(spec, 1.0 + spec.trial, None) for spec in PLAN.tuning_specs(stage)]
        runs += tuned
        seed_effect = [chance.gauss(0, 0.3) for _ in range(5)]
        for spec in PLAN.fresh_specs(stage, tuned):
            factor = factors.get(spec.submission.name, 1.0)
            value = factor * math.exp(seed_effect[spec.study] + chance.gauss(0, noise))
            runs.append(figures_of(spec, value, round(10_000 * value), "reached"))
    return runs


def select_workload(runs: Sequence[RunFigures], workload: str) -> list[RunFigures]:
    return [run for run in runs if run.workload.startswith(f"{workload}@")]


def verdicts(results: Results) -> dict[tuple[str, str, bool], str]:
    """(arm, other, at the small budget) -> the verdict on the claim."""
    return {(j.claim.arm, j.claim.other, j.claim.small): j.verdict for j in judge_claims(results)}


@pytest.mark.slow
def test_a_difference_is_found_and_an_equality_is_not() -> None:
    results = results_of(made_up_runs({"rex": 0.8, "step": 1.3, "soap-wsd": 0.7}, 0.003))
    for stage in (*DESIGN.full_stages, DESIGN.small_stage):
        differences = compare_losses_with_first(results, stage, SCHEDULES)
        rex = differences["rex"]
        assert rex.verdict == "better"
        assert rex.ratio == pytest.approx(0.8, rel=0.05)
        assert rex.low is not None
        assert rex.high is not None
        assert rex.low < 0.8 < rex.high
        assert differences["step"].verdict == "worse"
        assert differences["d2z"].verdict == "–"
    by_claim = {(j.claim.arm, j.claim.other, j.claim.measure, j.claim.small): j.verdict for j in judge_claims(results)}
    assert by_claim["soap-wsd", "wsd", "target", False] == "holds"
    assert by_claim["muon-wsd", "wsd", "target", False] == "fails: gain of at most 3%"
    assert by_claim["rex", "d2z", "loss", True] == "holds"
    assert by_claim["uba", "rex", "loss", False] == "fails"
    assert by_claim["d2z", "adamw-cosine", "loss", False] == "holds", "it is no worse"


@pytest.mark.slow
def test_one_workload_alone_is_judged_by_its_own_seeds() -> None:
    """An arm that is ahead on one and behind on the other: undecided together, plain on each."""
    ahead = made_up_runs({"rex": 0.8, "uba": 0.8}, 0.003)
    behind = made_up_runs({"rex": 1.25, "uba": 1.25}, 0.003)
    results = results_of([*select_workload(ahead, TINY), *select_workload(behind, DIGITS)])
    assert verdicts(results)["rex", "d2z", False] == "undecided"
    alone = judge_each_workload(results)
    assert len(alone) == 2 * sum(not claim.small for claim in DESIGN.claims)
    by_loss = [judged for judged in alone if judged.claim.measure == "loss"]
    by_claim = {(j.claim.arm, j.claim.other, j.stages[0].workload): j.verdict for j in by_loss}
    assert by_claim["rex", "d2z", TINY] == "holds"
    assert by_claim["rex", "d2z", DIGITS] == "fails"
    assert by_claim["uba", "rex", TINY] == "fails: gain of at most 3%"
    lines = [describe_on_one_workload(results, judged) for judged in alone]
    assert any(line.startswith("lm-tiny 0.8") and line.endswith(" holds") for line in lines)


def test_runs_without_spread_are_not_tested() -> None:
    """Hits fall on evaluations, so five pairs can agree to the last digit; that is no certainty."""
    equal = compare_by_t([-0.1] * 5, 1, DESIGN)
    assert (equal.n, equal.p, equal.low, equal.high) == (5, 1.0, None, None)
    zero = compare_by_t([0.0] * 5, 1, DESIGN)
    assert (zero.p, zero.low, zero.high) == (1.0, 1.0, 1.0)


@pytest.mark.slow
def test_one_workload_does_not_speak_for_both() -> None:
    by_claim = verdicts(results_of(select_workload(made_up_runs({"rex": 0.8}), DIGITS)))
    assert by_claim["rex", "d2z", True] == "holds"
    assert by_claim["rex", "d2z", False] == "not tried"


@pytest.mark.slow
def test_before_all_seeds_have_run_nothing_is_found() -> None:
    """Of two pairs that happen to agree Student's t makes a certainty."""
    runs = [run for run in made_up_runs({"rex": 0.8}, 0.0001) if run.purpose == "tuning" or run.study < 2]
    results = results_of(runs)
    rex = compare_losses_with_first(results, DESIGN.small_stage, SCHEDULES)["rex"]
    assert rex.ratio == pytest.approx(0.8, rel=0.01)
    assert rex.verdict == "–"
    assert {judged.verdict for judged in judge_claims(results)} == {"not finished"}


@pytest.mark.slow
def test_noise_leaves_claims_undecided() -> None:
    all_verdicts = [judged.verdict for judged in judge_claims(results_of(made_up_runs({}, noise=0.4)))]
    assert all_verdicts.count("undecided") >= len(all_verdicts) - 2
    assert "holds" not in all_verdicts


def test_the_published_page_is_made_from_the_published_figures(tmp_path: Path) -> None:
    command = "python -m studies.methods --table > docs/comparison.md"
    finished = read_finished(MEASURED, tmp_path, DESIGN, [])
    results = Results(DESIGN, finished.figures(), REGISTRY)
    assert len(results.figures) == len(read_stored(MEASURED)) == 1027
    assert (ROOT / "docs" / "comparison.md").read_text() == page(results), command


@pytest.mark.slow
def test_a_page_of_made_up_figures_and_of_none() -> None:
    text = page(results_of(made_up_runs({"rex": 0.8})))
    for word in (
        "## Schedules, with AdamW",
        "### lm-tiny",
        "7,168 examples",
        "Both workloads together",
        "`rex`",
        "better",
    ):
        assert word in text, word
    assert "core-hours" in text
    assert "**Not finished**: 45 of 45 arms on resnet-digits; 45 of 45 arms on lm-tiny." in text
    summary = text.partition("## Summary")[2].partition("## Method")[0]
    assert "**Holds**" in summary
    assert "Loss on lm-tiny, compared with `adamw-cosine`: better: `rex`." in summary
    assert "Loss on lm-tiny, compared with `wsd`: no arm differs." in summary
    width = 0
    for line in text.splitlines():
        if line.startswith("|---"):
            width = line.count("|")
        elif line.startswith("| "):
            assert line.count("|") >= 4
    assert width > 4
    assert "There are no runs" in page(results_of([]))


def breaking(run: RunFigures) -> RunFigures:
    """The same run, broken."""
    return msgspec.structs.replace(run, hit=None, seconds=None, loss=None, status="diverged")


@pytest.mark.slow
def test_misses_and_broken_runs_are_no_times() -> None:
    runs = [breaking(r) if r.arm == "lion-wsd" and r.purpose == "score" else r for r in made_up_runs({})]
    results = results_of(runs)
    stage = DESIGN.full_stages[0]
    assert log_ratios(results, stage, "lion-wsd", "wsd", "target") == [math.inf] * 5
    by_t = compare_by_t(log_ratios(results, stage, "lion-wsd", "wsd", "loss"), 7, DESIGN)
    assert (by_t.n, by_t.ratio, by_t.verdict) == (5, None, "–")
    text = page(results)
    assert "broke" in text
    assert "missed" in text
    pooled = [d for stage in DESIGN.full_stages for d in log_ratios(results, stage, "lion-wsd", "wsd", "target")]
    (by_flips,) = correct_by_holm([compare_by_flips(pooled, 7, DESIGN)], DESIGN)
    assert by_flips.verdict == "worse", "misses count"


def difference_of(values: list[float], both_missed: int = 0) -> Difference:
    """A claim's difference over such log ratios, corrected over nothing else."""
    (difference,) = correct_by_holm([compare_by_flips(values, 1, DESIGN)], DESIGN)
    return dataclasses.replace(difference, both_missed=both_missed)


BETTER, NOT_WORSE = (next(c for c in DESIGN.claims if c.kind == kind) for kind in ("better", "not worse"))


def judge(claim: Claim, values: list[float], both_missed: int = 0) -> str:
    return claim_verdict(claim, difference_of(values, both_missed), DESIGN)


def test_a_difference_too_small_to_matter_supports_no_claim() -> None:
    """Seeds can be so alike that 1 % is found; by the design it is of no interest."""
    slower, faster = [0.009 + i / 1000 for i in range(10)], [-0.009 - i / 1000 for i in range(10)]
    assert (difference_of(slower).verdict, difference_of(faster).verdict) == ("worse", "better")
    assert judge(NOT_WORSE, slower) == "holds"
    assert judge(BETTER, faster) == "fails: gain of at most 3%"
    assert judge(BETTER, [-0.2 - i / 1000 for i in range(10)]) == "holds"
    assert judge(NOT_WORSE, [0.2 + i / 1000 for i in range(10)]) == "fails"


def test_pairs_of_two_misses_are_no_evidence_of_likeness() -> None:
    assert judge(NOT_WORSE, [0.0] * 10, both_missed=10) == "undecided"
    assert judge(BETTER, [0.0] * 10, both_missed=10) == "undecided"
    assert judge(NOT_WORSE, [0.0] * 10) == "holds"


@pytest.mark.slow
def test_claims_count_their_pairs_of_two_misses() -> None:
    results = results_of(
        [
            msgspec.structs.replace(run, hit=None, seconds=None) if run.purpose == "score" else run
            for run in made_up_runs({})
        ]
    )
    for judged in judge_claims(results):
        assert judged.difference.both_missed == (10 if judged.claim.measure == "target" else 0)
        if judged.claim.measure == "target":
            assert judged.verdict == "undecided"
    for judged in judge_each_workload(results):
        if judged.claim.measure == "target":
            assert judged.verdict == "not tested (a run missed or broke)"
            claim, (stage,) = judged.claim, judged.stages
            expected = f"{stage.workload} hits: `{claim.arm}` 0/5, `{claim.other}` 0/5"
            assert describe_on_one_workload(results, judged) == expected


@pytest.mark.slow
def test_an_arm_that_broke_is_not_tested_by_its_other_seeds() -> None:
    runs = [
        breaking(run) if run.arm == "rex" and run.purpose == "score" and run.study < 3 else run
        for run in made_up_runs({"rex": 0.5}, 0.001)
    ]
    results = results_of(runs)
    rex = compare_losses_with_first(results, DESIGN.small_stage, SCHEDULES)["rex"]
    assert (rex.n, rex.ratio, rex.verdict) == (5, None, "–")
    assert verdicts(results)["rex", "d2z", True] == "not tested (a run missed or broke)"
    assert "(3/5 broke)" in page(results)


@pytest.mark.slow
def test_another_version_of_a_workload_is_another_place() -> None:
    older = [msgspec.structs.replace(run, workload="lm-tiny@1") for run in made_up_runs({"rex": 0.8})]
    assert results_of(older).best_setting(DESIGN.full_stages[1], "rex", "loss") is None


def test_what_a_method_did_at_its_defaults_is_one_line() -> None:
    hits = (900, 1100, None, 1000, 1000)
    specs = PLAN.tuning_specs(only_stage("wsd", TINY))
    runs = [figures_of(spec, 0.5, hit) for spec, hit in zip(specs, hits, strict=True)]
    assert describe_hits(runs) == "reached 4/5, median 1,000 examples"
    assert describe_hits(runs[2:3]) == "missed, ends at 0.5"
    assert describe_hits(runs[:1]) == "reached at 900 examples"
