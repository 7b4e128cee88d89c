"""Targets from runs: the rule on records made by hand, and on real ones."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import cli
from harness.calibration import results, runner, streams
from harness.calibration.curves import resolution, round_to_easier_side, value_reached
from harness.calibration.pools import loosen_levels, main_target_holds
from harness.calibration.rule import calibrate, rank_settings
from harness.calibration.streams import least_tolerance, loosen_targets, stream_resolution
from harness.contract.record import Record
from harness.contract.run import Counters, Point
from harness.contract.watcher import SilentWatcher
from harness.contract.workload import Budget, Stage, Target
from harness.errors import UsageError
from harness.planning import rulesets
from harness.planning.trials import PlanSettings
from harness.plugins.registry import load_registry
from harness.storage.layout import run_id
from harness.storage.records import read_all
from tests.scoring import builders

REPOSITORY = Path(__file__).resolve().parents[2]
LOSS = Target(metric="loss", goal="min", value=1.0)
SCORE = Target(metric="acc", goal="max", value=0.5)


def run(losses: list[float], study: int = 0, se: float | None = None, **more: Any) -> Record:
    curve = [builders.points([9.0])[0], *builders.points(losses)]
    curve[0] = msgspec.structs.replace(curve[0], examples=0, process_seconds=0.0)
    if se is not None:
        curve = [msgspec.structs.replace(p, metrics={**p.metrics, "se": se}) for p in curve]
    spec = more.pop("spec", None) or builders.spec(study=study, stop=80, purpose="target")
    fields: dict[str, Any] = {"status": "exhausted", "hit": None, "points": tuple(curve)}
    fields["counters"] = Counters(examples=curve[-1].examples)
    return builders.record(spec, losses, **{**fields, **more})


def test_the_target_is_what_nine_of_ten_seeds_reach() -> None:
    # Seed k ends at 0.1·k; the last one is far off.
    fresh = [run([2.0, 0.1 * k], k) for k in range(1, 10)] + [run([2.0, 5.0], 10)]
    assert value_reached(fresh, LOSS, 0.9, 80) == pytest.approx(0.9)
    assert value_reached(fresh, LOSS, 0.5, 80) == pytest.approx(0.5)
    made = calibrate((), fresh)
    assert {name: level.value for name, level in made.levels.items()} == {"easy": 0.9, "main": 0.9, "hard": 0.5}
    assert [n is not None for n in made.levels["main"].examples] == [True] * 9 + [False]


def test_the_anchor_makes_the_target_and_the_best_reference_the_harder_one() -> None:
    best = [run([2.0, 0.5 + 0.01 * k], k) for k in range(10)]
    anchor = [run([2.0, 1.5, 0.8 + 0.01 * k], k) for k in range(10)]
    made = calibrate((), best, anchor)
    assert {name: level.value for name, level in made.levels.items()} == {"easy": 0.88, "main": 0.88, "hard": 0.58}
    assert [n is not None for n in made.levels["main"].examples] == [True] * 9 + [False]
    assert len(made.runs) == 20
    # A "best" setting that fresh seeds do not bear out makes nothing harder.
    assert calibrate((), [run([1.5], k) for k in range(10)], anchor).levels["hard"].value == 0.84


def test_a_slack_eases_every_level_of_a_pool_and_names_its_checks() -> None:
    anchor = [run([2.0, 1.5, 0.8 + 0.01 * k], k, se=0.1) for k in range(10)]
    checks = [run([2.0, 0.9], k, status="reached") for k in range(10, 20)]
    made = calibrate((), anchor)
    eased = loosen_levels(made, 1.1, anchor, checks)
    assert made.levels["main"].value == 0.88
    assert eased.levels["main"].value == 0.968
    assert main_target_holds(made, 1.1, checks)
    assert not main_target_holds(made, 1.0, checks)
    assert eased.levels["main"].examples[-1] is not None, "an easier target is reached by all seeds"
    assert {name: level.value for name, level in eased.levels.items()} == {
        name: pytest.approx(1.1 * level.value, rel=0.01) for name, level in made.levels.items()
    }
    assert (eased.slack, eased.checks) == (1.1, tuple(record.run_id for record in checks))
    failed = loosen_levels(made, None, anchor, checks)
    assert (failed.levels, failed.slack, failed.checks) == (made.levels, None, eased.checks)


def test_what_is_reached_after_the_share_of_the_budget_does_not_count() -> None:
    late = [run([3.0] * 8 + [0.5, 0.5], k) for k in range(10)]
    assert calibrate((), late).levels["main"].value == 3.0


def test_of_five_seeds_all_reach() -> None:
    fresh = [run([0.1 * k], k) for k in range(1, 6)]
    assert value_reached(fresh, LOSS, 0.9, 80) == pytest.approx(0.5)


def test_runs_that_broke_count_against_the_target() -> None:
    fresh = [run([1.0], k) for k in range(8)] + [run([], 8), run([], 9)]
    assert value_reached(fresh, LOSS, 0.9, 80) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("resnet-digits+gelu", "--studies", "3", "--rates", "2"), "does not use --studies, --rates (leave out"),
        (("resnet-digits+gelu", "--tuning-studies", "2"), "on 5 seeds, so it does not use --tuning-studies"),
        (("resnet-digits", "--up-to", "4"), "without --envelope has one horizon, so it does not use --up-to"),
        (("resnet-digits", "--envelope", "--no-variants"), "of one workload, so it does not use --no-variants"),
    ],
)
def test_options_without_an_effect_are_refused(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["calibrate", *options, "--dry-run"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        ("interrupted", r"then repeat the command\)"),
        ("crashed", "--retry-failed"),
        ("out-of-memory", "--retry-failed"),
        ("rejected", "--retry-failed"),
        ("diverged", ""),
        ("timeout", ""),
        ("exhausted", ""),
    ],
)
def test_a_failed_run_ends_the_calibration(
    status: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a miss, it would make the targets easier."""
    ended = run([1.0], status=status, reason="no disk space")
    ended = msgspec.structs.replace(ended, run_id=run_id(ended.spec))
    monkeypatch.setattr(runner, "run_trials", lambda specs, runs, **options: iter([ended]))
    calibrator = runner.Calibrator(
        load_registry(),
        PlanSettings(ruleset=rulesets.ruleset("calibration")),
        runner.CalibrationOptions(runs=tmp_path / "runs", out=tmp_path),
        lambda total: nullcontext(SilentWatcher()),
        lambda line: None,
    )
    if fix:
        with pytest.raises(UsageError, match=rf"{ended.run_id} of .*{status}: no disk space.*{fix}"):
            calibrator.run([ended.spec])
    else:
        assert calibrator.run([ended.spec]) == [ended]
    assert list(tmp_path.rglob(f"{ended.run_id}.json")), "the record is kept"


@pytest.mark.parametrize(
    ("value", "target", "rounded"),
    [(1.1063, LOSS, 1.11), (1.11, LOSS, 1.11), (0.06831, LOSS, 0.0684), (0.9876, SCORE, 0.987), (12.31, LOSS, 12.4)],
)
def test_rounding_is_to_the_easier_side(value: float, target: Target, rounded: float) -> None:
    assert round_to_easier_side(value, target) == rounded


def test_resolution_is_one_standard_error_along_the_curve() -> None:
    # A straight line, 0.1 per ten examples: one standard error of 0.05 is five examples of the sixty to the target.
    fresh = [run([1.5 - 0.1 * i for i in range(8)], k, se=0.05) for k in range(3)]
    assert resolution(fresh, LOSS, 1.0) == pytest.approx(5 / 60, rel=0.02)
    assert resolution([run([2.0, 0.5], 0)], LOSS, 1.0) is None, "without a standard error nothing is known"


def test_settings_come_best_first_and_broken_ones_last() -> None:
    runs = [at_rate(0.01 * i, one) for i, one in enumerate([run([0.7], 0), run([0.5], 1), diverged(2), run([0.6], 3)])]
    assert [s.value for s in rank_settings(runs)] == [0.5, 0.6, 0.7, None]


def test_a_setting_on_several_tuning_seeds_has_the_mean() -> None:
    """The best single run would reward luck."""
    lucky = [at_rate(0.001, run([value], study)) for study, value in enumerate((0.5, 0.9))]
    good = [at_rate(0.003, run([0.6], study)) for study in range(2)]
    broken = [at_rate(0.009, one) for one in (run([0.1], 0), diverged(1))]
    ranked = rank_settings([*lucky, *good, *broken])
    assert [(setting.hparams["lr"], setting.value) for setting in ranked] == [(0.003, 0.6), (0.001, 0.7), (0.009, None)]
    assert ranked[0].run == good[0].run_id


def diverged(study: int) -> Record:
    return run([0.1], study, status="diverged")


def at_rate(lr: float, record: Record) -> Record:
    spec = msgspec.structs.replace(record.spec, hparams={**record.spec.hparams, "lr": lr})
    return msgspec.structs.replace(record, spec=spec)


def stream_run(ends: list[float], floor: float, study: int) -> Record:
    stage = Stage(name="s", targets=(SCORE,), floors=(Target(metric="acc/0", goal="max", value=0.1),), max_examples=50)
    facts = builders.facts(
        access="stream",
        targets=(SCORE,),
        stages=(stage, stage),
        budget=Budget(horizon=100, gradient_examples=400, seconds={"default": 9.0}),
    )
    spec = builders.spec(workload=facts, study=study, stop=80)
    points = tuple(
        Point(
            examples=40 * (i + 1),
            gradient_examples=40 * (i + 1),
            steps=i,
            seconds=float(i),
            process_seconds=float(i),
            stage=i,
            metrics={"acc": value, "acc/0": floor},
        )
        for i, value in enumerate(ends)
    )
    return run([], study, spec=spec, points=(points[0], *points))


def test_a_streams_targets_are_made_stage_by_stage() -> None:
    fresh = [stream_run([0.9 + 0.001 * k, 0.8 + 0.001 * k], 0.3 + 0.01 * k, k) for k in range(10)]
    made = calibrate(rank_settings(fresh), fresh)
    assert [stage.value for stage in made.stages] == [0.901, 0.801]
    assert made.stages[1].floors == {"acc/0": 0.31}
    assert made.settings[0].value == pytest.approx(0.8545)
    assert made.coarse
    assert made.missing_factor == "no factor is large enough"


def test_a_perfect_stage_gets_a_target_that_a_factor_can_make_easier() -> None:
    """With an accuracy of 1 as target, no factor would change the target."""
    fresh = [stream_run([1.0 if k else 0.98, 0.8], 0.3, k) for k in range(10)]
    made = calibrate(rank_settings(fresh), fresh)
    assert [stage.value for stage in made.stages] == [0.98, 0.8]
    eased = loosen_targets(made, fresh[0].spec.workload.facts.stages, 2.0)
    assert [stage.targets[0].value for stage in eased] == [0.96, 0.6]
    perfect = [stream_run([1.0, 0.8], 0.3, k) for k in range(10)]
    assert calibrate(rank_settings(perfect), perfect).stages[0].value == 1.0, "no other value occurs"


def test_a_stage_that_too_few_seeds_reach_is_named_and_no_factor_is_searched() -> None:
    fresh = [stream_run([0.9, 0.8] if k < 5 else [0.9], 0.3, k) for k in range(10)]
    made = calibrate(rank_settings(fresh), fresh)
    assert (len(made.stages), made.uncalibrated) == (1, ("s",))
    assert made.missing_factor == "not searched, because too few seeds reached s"
    assert msgspec.structs.replace(made, slack=1.5).missing_factor == ""


def test_a_seed_that_crashed_before_its_first_evaluation_leaves_the_others() -> None:
    """Nine of ten seeds suffice."""
    fresh = [stream_run([0.9, 0.8], 0.3, k) for k in range(9)]
    crashed = msgspec.structs.replace(stream_run([0.9, 0.8], 0.3, 9), points=(), status="crashed", hit=None)
    made = calibrate(rank_settings(fresh), [*fresh, crashed])
    assert [stage.value for stage in made.stages] == [0.9, 0.8]
    assert made.stages[1].floors == {"acc/0": 0.3}


def walk(floors: list[float], least: int = 0, **errors: float) -> Record:
    """Two stages of an accuracy that grows by 0.1 per ten examples, to 0.5 each; the floor's metric in the second."""
    ended = stream_run([0.5, 0.5], 0.3, 0)
    facts = ended.spec.workload.facts
    stages = tuple(msgspec.structs.replace(stage, min_examples=least) for stage in facts.stages)
    workload = msgspec.structs.replace(ended.spec.workload, facts=msgspec.structs.replace(facts, stages=stages))
    values = [(0, 0.1 * i, 0.0) for i in range(6)] + [(1, 0.3 + 0.1 * i, floor) for i, floor in enumerate(floors)]
    points = tuple(
        msgspec.structs.replace(
            ended.points[0],
            examples=10 * i,
            stage=stage,
            metrics={"acc": value, "acc/0": floor} | {name.replace("_", "/"): error for name, error in errors.items()},
        )
        for i, (stage, value, floor) in enumerate(values)
    )
    spec = msgspec.structs.replace(ended.spec, workload=workload)
    return msgspec.structs.replace(ended, status="reached", spec=spec, points=points)


def test_a_streams_resolution_adds_up_over_its_stages() -> None:
    # Half of a step of 0.1 earlier, twice: five examples each, of 80.
    assert stream_resolution([walk([0.2, 0.2, 0.2], se=0.05)]) == pytest.approx(10 / 80, rel=0.05)
    # The floor of 0.1 is what the second stage waits for: it is met at 75, and at 70 one error earlier.
    waits = [0.04, 0.08, 0.12]
    late = walk([*waits], se=0.05, se_0=0.02)
    assert stream_resolution([late]) == pytest.approx(10 / 80, rel=0.05)
    slow = walk([0.0, 0.0, 0.0, 0.04, 0.08, 0.12], se=0.05, se_0=0.02)
    assert stream_resolution([slow]) == pytest.approx((5 + 5) / 110, rel=0.05)
    # Without an error of its own the floor is exact.
    exact = walk([0.0, 0.0, 0.0, 0.04, 0.08, 0.12], se=0.05)
    assert stream_resolution([exact]) == pytest.approx(5 / 110, rel=0.05)
    # A stage that may not end earlier anyway is not made longer by an error.
    assert stream_resolution([walk([0.2, 0.2, 0.2], least=60, se=0.05)]) == 0.0
    missed = msgspec.structs.replace(late, status="exhausted")
    assert stream_resolution([missed, walk([0.2, 0.2, 0.2])]) is None


def test_a_slack_eases_every_stage_and_leaves_caps_and_floors() -> None:
    fresh = [stream_run([0.9, 0.8], 0.3, k) for k in range(10)]
    stages = fresh[0].spec.workload.facts.stages
    eased = loosen_targets(calibrate(rank_settings(fresh), fresh), stages, 1.5)
    assert [stage.targets[0].value for stage in eased] == [0.85, 0.7]
    assert [(stage.max_examples, stage.floors) for stage in eased] == [(s.max_examples, s.floors) for s in stages]


@pytest.mark.parametrize("least", streams.TOLERANCE_FACTORS)
def test_the_least_slack_that_holds_is_found(least: float) -> None:
    asked: list[float] = []

    def holds(slack: float) -> bool:
        asked.append(slack)
        return slack >= least

    assert least_tolerance(holds) == least
    assert asked == sorted(asked)
    assert least_tolerance(lambda slack: False) is None


def test_a_slack_may_hold_where_a_larger_one_does_not() -> None:
    assert least_tolerance(lambda slack: 1.05 <= slack < 1.2) == 1.05


def test_nothing_that_is_not_a_number_is_written() -> None:
    made = calibrate((), [run([math.inf, 0.5], k) for k in range(10)])
    assert b"Infinity" not in msgspec.json.encode(made)


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_tunes_then_reruns_the_best_and_writes_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(streams, "TOLERANCE_FACTORS", (3.0,))
    wanted = ["calibrate", "continual-digits", "--families", "sgd-replay", "--rates", "2", "--studies", "2"]
    assert cli.invoke([*wanted, "--no-variants", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["calibrations"]
    written = msgspec.json.decode(Path("calibration/continual-digits.json").read_bytes(), type=results.Calibration)
    assert json.loads(msgspec.json.encode(written)) == shown
    records, problems = read_all([Path("calibration/runs")])
    assert not problems
    by_id = {r.run_id: r for r in records}
    assert sum(r.spec.purpose == "tuning" for r in records) == 2
    assert [by_id[run].spec.study for run in written.runs] == [0, 1]
    # On a stream other seeds then go through it at eased targets, as far as they get.
    assert {r.spec.study for r in records if r.spec.stop is None} <= {2, 3}
    if written.slack is not None:
        assert [by_id[run].status for run in written.checks] == ["reached", "reached"]
        eased = loosen_targets(written, by_id[written.runs[0]].spec.workload.facts.stages, written.slack)
        assert all(by_id[run].spec.workload.facts.stages == eased for run in written.checks)
    best = written.settings[0]
    assert all(r.spec.hparams == best.hparams for r in records if r.spec.purpose == "target")
    # Tables are of results, and these are none.
    assert cli.invoke(["leaderboard", "--runs", "runs", "--results", "none"]) == 0
    assert "no finished runs" in capsys.readouterr().out


def test_a_variant_takes_the_setting_of_its_bases_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.invoke(["calibrate", "resnet-digits+gelu", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert "calibration/resnet-digits.json does not exist" in error
    assert "bench calibrate resnet-digits" in error
    kept = REPOSITORY / "calibration" / "resnet-digits.json"
    shutil.copytree(kept.parent, tmp_path / "calibration", ignore=lambda folder, _: ["runs"])
    assert cli.invoke(["calibrate", "resnet-digits+gelu", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    (best,) = {line.split(maxsplit=1)[1].partition(", ")[0] for line in lines}
    base = msgspec.json.decode(kept.read_bytes(), type=results.Calibration)
    anchor = next(s for s in base.settings if s.submission == base.anchor)
    assert best.startswith("adamw-cosine ")
    assert f" lr={anchor.hparams['lr']} " in best
    base = msgspec.structs.replace(base, settings=(msgspec.structs.replace(anchor, submission="adamw-cosine@0"),))
    Path("calibration/resnet-digits.json").write_bytes(msgspec.json.encode(base))
    assert cli.invoke(["calibrate", "resnet-digits+gelu", "--dry-run"]) == 2
    assert "adamw-cosine@0" in capsys.readouterr().err


@pytest.mark.parametrize("workload", ["resnet-digits", "continual-digits"])
def test_the_planned_trials_are_json(
    workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.invoke(["calibrate", workload, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cli.invoke(["calibrate", workload, "--dry-run", "--json"]) == 0
    specs = json.loads(capsys.readouterr().out)["specs"]
    assert [spec["run_id"] for spec in specs] == [line.partition(" ")[0] for line in lines]
