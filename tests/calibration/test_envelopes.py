"""Envelopes: what is planned, how the learning rate is chosen, and what the command writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from harness import cli
from harness.calibration import runner
from harness.calibration.envelopes import (
    EnvelopeMaker,
    count_needed_seeds,
    envelope_horizons,
    holds,
    own_multiplier,
)
from harness.contract.domains import HParams
from harness.contract.envelope import ReferenceEnvelope
from harness.contract.run import Purpose, RunSpec
from harness.errors import UsageError
from harness.planning.compose import compose
from harness.planning.internal_rulesets import ENVELOPE_RULESET
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import load_registry
from harness.scoring.compute_multiplier import MultiplierCurve
from harness.storage.envelopes import read_envelopes, write_envelope
from tests import micro
from tests.gating.builders import FakeRunner

REGISTRY = load_registry()
REFERENCE = REGISTRY.submission("adamw-cosine")
#: The default learning rate of the reference, and the best one in these tests, which is off by 3 × 3.
DEFAULT, BEST = 0.005, 0.045


def value(spec: RunSpec) -> float:
    """A loss that falls with the budget and is best at one learning rate; each seed has its luck."""
    rate, share = float(spec.hparams["lr"]), spec.workload.facts.budget.horizon / micro.FACTS.budget.horizon
    luck = 0.01 * (spec.seeds.data % 1000 / 500 - 1)
    return math.exp(-0.3 * math.log(share) + 0.1 * math.log(rate / BEST) ** 2 + luck)


def maker(
    run: FakeRunner, note: Callable[[str], None] = lambda line: None, budget_studies: int | None = None
) -> EnvelopeMaker:
    def plan(purpose: Purpose, studies: int, point: HParams, first_study: int, horizon: int) -> Sequence[RunSpec]:
        return plan_trials(
            micro.ENTRY,
            REFERENCE,
            REGISTRY,
            PlanSettings(ruleset=ENVELOPE_RULESET),
            purpose=purpose,
            studies=studies,
            points=[point],
            first_study=first_study,
            horizon=horizon,
        )

    return EnvelopeMaker(
        micro.ENTRY, REFERENCE, compose(REFERENCE, REGISTRY), plan, run, budget_studies=budget_studies, note=note
    )


def test_horizons_surround_the_budget() -> None:
    budget = micro.FACTS.budget.horizon
    horizons = envelope_horizons(micro.FACTS, 2)
    assert len(horizons) == 9
    assert (horizons[0], horizons[6], horizons[-1]) == (768, budget, 2 * budget)
    assert all(horizon % micro.FACTS.eval_every == 0 for horizon in horizons)
    assert envelope_horizons(micro.FACTS, 4)[-1] == 4 * budget
    unit = micro.STREAM_FACTS.eval_every * len(micro.STREAM_FACTS.stages)
    assert all(horizon % unit == 0 for horizon in envelope_horizons(micro.STREAM_FACTS, 2))


def test_the_rate_is_chosen_per_horizon_beyond_the_first_rates_and_seeds_are_apart() -> None:
    run = FakeRunner(value)
    envelope = maker(run).make()
    assert {horizon.hparams["lr"] for horizon in envelope.horizons} == {BEST}
    tuning = [spec for spec in run.ran if spec.purpose == "tuning"]
    # At each of 9 horizons: 3 rates, and 2 beyond the upper edge. The last of them shows that the best is inside.
    assert len(tuning) == len(envelope.tuning) == 5 * 9
    assert len({spec.seeds for spec in tuning}) == 1, "learning rates are compared on equal seeds"
    scored = [spec for spec in run.ran if spec.purpose == "envelope"]
    assert len(scored) == 9 * 5 + 5
    assert not {spec.seeds for spec in tuning} & {spec.seeds for spec in scored}
    assert all(spec.hparams["horizon_fraction"] == 1.0 for spec in run.ran)
    assert all(spec.stop == spec.workload.facts.budget.horizon for spec in run.ran)
    assert {spec.study for spec in scored if spec.stop == 6400} == set(range(10))
    assert envelope.seeds == len(envelope.checks) == 5
    assert math.exp(MultiplierCurve(envelope).multiplier(1.0).log) == pytest.approx(1.0, abs=0.05)
    assert holds(envelope)
    assert own_multiplier(envelope).value == pytest.approx(1.0, abs=0.05)
    # Finished runs are not repeated.
    count = len(run.ran)
    assert maker(run).make() == envelope
    assert len(run.ran) == count


def test_the_budget_may_have_more_seeds() -> None:
    budget = micro.FACTS.budget.horizon
    few, many = FakeRunner(value), FakeRunner(value)
    envelope, larger = maker(few).make(), maker(many, budget_studies=20).make()
    counts = {horizon.examples: len(horizon.metrics) for horizon in larger.horizons}
    assert counts == {horizon.examples: 20 if horizon.examples == budget else 5 for horizon in envelope.horizons}
    assert (larger.seeds, larger.budget_seeds, len(larger.checks)) == (5, 20, 20)
    assert (envelope.seeds, envelope.budget_seeds) == (5, 5)
    scored = [spec for spec in many.ran if spec.purpose == "envelope" and spec.stop == budget]
    assert [spec.study for spec in scored] == list(range(40))
    assert {spec.study for spec in many.ran if spec.purpose == "envelope" and spec.stop != budget} == set(range(5))
    for small, large in zip(envelope.horizons, larger.horizons, strict=True):
        assert large.runs[:5] == small.runs
    errors, smaller = own_multiplier(envelope).errors, own_multiplier(larger).errors
    assert errors is not None
    assert smaller is not None
    ratio = sum(source.variance for source in errors) / sum(source.variance for source in smaller)
    assert ratio == pytest.approx(4, rel=0.6)
    assert holds(larger)


def test_fewer_seeds_at_the_budget_are_refused() -> None:
    envelope = maker(FakeRunner(value)).make()
    changed = [
        msgspec.structs.replace(horizon, metrics=horizon.metrics[:4])
        if horizon.examples == envelope.budget
        else horizon
        for horizon in envelope.horizons
    ]
    with pytest.raises(ValueError, match="only the budget may have more"):
        msgspec.structs.replace(envelope, horizons=tuple(changed)).__post_init__()


def test_a_rate_that_is_still_at_the_edge_is_said() -> None:
    notes: list[str] = []
    maker(FakeRunner(value), notes.append).make()
    assert notes == []
    largest = max(horizon.examples for horizon in maker(FakeRunner(value)).make().horizons)

    def best_beyond(spec: RunSpec) -> float:
        at_largest = spec.workload.facts.budget.horizon == largest
        return value(spec) / (float(spec.hparams["lr"]) if at_largest else 1.0)

    envelope = maker(FakeRunner(best_beyond), notes.append).make()
    assert envelope.horizons[-1].hparams["lr"] == pytest.approx(DEFAULT * 3**4), "three beyond the first rates"
    (note,) = notes
    assert note.startswith(f"micro: at horizons of {largest:,} examples, the best learning rate is the largest")


def test_a_reference_that_breaks_or_does_not_improve_is_an_error() -> None:
    with pytest.raises(UsageError, match="every tuning run of adamw-cosine on micro broke down"):
        maker(FakeRunner(lambda spec: None)).make()
    with pytest.raises(UsageError, match="the envelope of micro cannot be made, because run-"):
        maker(FakeRunner(lambda spec: None if spec.study == 3 else value(spec))).make()
    with pytest.raises(UsageError, match="does not improve"):
        maker(FakeRunner(lambda spec: float(spec.workload.facts.budget.horizon))).make()


def test_an_envelope_that_misses_its_own_reference_is_said() -> None:
    envelope = maker(FakeRunner(lambda spec: value(spec) * (1.1 if spec.study >= 5 else 1.0))).make()
    assert not holds(envelope)


def test_the_seeds_that_are_needed_grow_with_the_square_of_the_noise() -> None:
    def measured(noise: float) -> int | None:
        luck = {study: noise * (1 if study % 2 else -1) for study in range(10)}
        return count_needed_seeds(maker(FakeRunner(lambda spec: value(spec) * math.exp(luck[spec.study]))).make())

    small, large = measured(0.1), measured(0.2)
    assert small is not None
    assert large is not None
    assert large / small == pytest.approx(4, rel=0.25)


def test_envelopes_are_written_and_read_by_workload(tmp_path: Path) -> None:
    envelope = maker(FakeRunner(value)).make()
    other = msgspec.structs.replace(envelope, workload="micro:task@2")
    assert write_envelope(tmp_path, envelope).name == "micro.json"
    assert write_envelope(tmp_path, other).name == "micro_task.json"
    assert read_envelopes(tmp_path) == {"micro@1": envelope, "micro:task@2": other}
    assert read_envelopes(tmp_path / "none") == {}


def test_the_command_writes_the_envelope_and_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake = FakeRunner(value)
    monkeypatch.setattr(runner, "run_trials", lambda specs, *_, **__: iter(fake(specs)))
    monkeypatch.setattr("tests.calibration.test_envelopes.BEST", DEFAULT)
    arguments = ["calibrate", "resnet-digits", "--envelope", "--studies", "3"]
    assert cli.invoke([*arguments, "--dry-run"]) == 0
    planned = capsys.readouterr()
    assert len(planned.out.splitlines()) == 27
    assert "lr=0.005 " in planned.out
    assert "4,096 examples, tuning study 0" in planned.out
    assert planned.err == "27 trials\n"
    assert cli.invoke([*arguments[:-1], "1"]) == 2
    assert "an envelope needs at least two seeds at each horizon (give --studies 5)" in capsys.readouterr().err
    assert cli.invoke([*arguments, "--tuning-studies", "2", "--dry-run"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 * 27
    assert cli.invoke(arguments) == 0
    out = capsys.readouterr().out
    assert "compute multiplier of the reference on 3 further seeds" in out
    assert "written to calibration/envelopes/resnet-digits.json" in out
    assert cli.invoke([*arguments, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["envelope"]
    (stored,) = read_envelopes(Path("calibration/envelopes")).values()
    assert msgspec.convert(shown, ReferenceEnvelope) == stored
    assert len(list(Path("calibration/runs").rglob("run-*.json"))) == 27 + 27 + 3
    assert cli.invoke([*arguments, "--families", "wsd"]) == 2
    assert "--families does not apply to --envelope" in capsys.readouterr().err


def test_more_seeds_reuse_the_runs_of_fewer_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fake = FakeRunner(value)
    monkeypatch.setattr(runner, "run_trials", lambda specs, *_, **__: iter(fake(specs)))
    monkeypatch.setattr("tests.calibration.test_envelopes.BEST", DEFAULT)
    arguments = ["calibrate", "resnet-digits", "--envelope", "--studies"]
    assert cli.invoke([*arguments, "3"]) == 0
    (few,) = read_envelopes(Path("calibration/envelopes")).values()
    assert cli.invoke([*arguments, "5", "--tuning-studies", "2"]) == 0
    (many,) = read_envelopes(Path("calibration/envelopes")).values()
    for small, large in zip(few.horizons, many.horizons, strict=True):
        assert large.runs[:3] == small.runs
    assert set(few.tuning) < set(many.tuning)
