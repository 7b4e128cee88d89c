"""The study of power: what it plans, which settings it chooses, and which rows it publishes from made-up figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.power import PowerCost, PowerFile, PowerRow
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions
from harness.contract.workload import Goal
from harness.errors import UsageError
from harness.gating.setup import find_gate_ineligibility
from harness.planning.resolve import resolve_submission
from harness.plugins.registry import load_registry
from harness.scoring.gate import EDITED
from harness.storage.layout import run_id
from harness.storage.records import add_content_hash, encode, iter_records
from studies.power import __main__ as power
from studies.power.__main__ import main
from studies.power.design import BUDGETS, read_design
from studies.power.figures import (
    MEASURED,
    PowerFigures,
    RunKey,
    best_trials,
    encode_figures,
    key_of_spec,
    read_finished,
    read_stored,
)
from studies.power.plan import PowerPlan
from studies.power.ranking import RESULTS, read_rankings
from studies.power.rows import PUBLISHED, PowerRows, drop_superseded, encode_rows, merge_rows, renew_rows
from studies.power.run import PowerRunner
from tests.gating.builders import finish

REGISTRY = load_registry()
DESIGN = read_design()
PLAN = PowerPlan(DESIGN, REGISTRY)
DIGITS = "resnet-digits"


def figures(
    arm: str, study: int, metric: float | None, purpose: str = "score", trial: int = 0, lr: float = 0.1
) -> PowerFigures:
    facts = REGISTRY.workload(DIGITS).facts
    goal: Goal = "min"
    return msgspec.convert(
        {
            "arm": arm, "workload": facts.id, "budget": PLAN.examples(DIGITS, "gate"), "purpose": purpose,
            "study": study, "trial": trial, "lr": lr, "status": "exhausted" if metric else "diverged",
            "metric": metric, "goal": goal, "hit": None, "hardware": "cpu", "torch": "2", "run": "run-1",
            "cost": {"training": 1.0, "evaluation": 0.5, "start": 0.5, "wall": 3.0},
        },
        PowerFigures,
    )  # fmt: skip


def made_up(broken: str = "") -> dict[RunKey, PowerFigures]:
    """Five seeds of all arms; each arm is 30 % better than the one before, and seeds differ by 1 %."""
    runs = []
    for i, arm in enumerate(PLAN.arms(DIGITS)):
        runs.append(figures(arm, 0, None if arm == broken else 1.0, "tuning", trial=1))
        if arm != broken:
            runs += [figures(arm, study, 0.7**i * (1 + 0.01 * ((study * (i + 2)) % 3))) for study in range(5)]
    return {run.key: run for run in runs}


def test_every_arm_can_run_on_every_workload_of_its_kind() -> None:
    assert {kind: len(set(arms)) for kind, arms in DESIGN.arms.items()} == {"pool": 16, "stream": 16}
    for workload in DESIGN.workloads:
        facts = REGISTRY.workload(workload).facts
        for arm in PLAN.arms(workload):
            assert not find_gate_ineligibility(resolve_submission(arm, REGISTRY), facts, REGISTRY), (arm, workload)


def test_arms_of_a_seed_share_it_and_no_seed_has_two_uses() -> None:
    tuning = PLAN.tuning_specs(DIGITS)
    trials: dict[str, int | None] = dict.fromkeys(PLAN.arms(DIGITS), 1)
    fresh = {budget: PLAN.fresh_specs(DIGITS, budget, trials) for budget in BUDGETS}
    assert (len(tuning), len(fresh["gate"]), len(fresh["full"])) == (48, 80, 48)
    assert len({spec.seeds.model for spec in tuning}) == 1
    seeds = [{spec.seeds.model for spec in specs} for specs in (tuning, fresh["gate"], fresh["full"])]
    assert [len(group) for group in seeds] == [1, 5, 3]
    assert len(set.union(*seeds)) == 9
    assert all(spec.hparams.get("horizon_fraction", 1.0) == 1.0 for spec in (*tuning, *fresh["gate"]))
    assert [spec.study for spec in fresh["gate"]] == sorted(spec.study for spec in fresh["gate"])
    assert {spec.workload.facts.budget.horizon for spec in fresh["full"]} == {PLAN.examples(DIGITS, "full")}
    assert len({key_of_spec(spec) for spec in (*tuning, *fresh["gate"], *fresh["full"])}) == 48 + 80 + 48


def test_the_best_setting_has_the_best_metric_and_a_broken_arm_does_not_run() -> None:
    runs = [
        figures("a", 0, 0.5, "tuning", 0, 0.1),
        figures("a", 0, 0.4, "tuning", 1, 0.2),
        figures("a", 0, None, "tuning", 2, 0.3),
        figures("b", 0, None, "tuning", 0, 0.1),
    ]
    best = best_trials({run.key: run for run in runs}, runs[0].workload)
    assert best == {"a": 1, "b": None}
    assert PLAN.fresh_specs(DIGITS, "gate", {"wsd": None}) == []


def test_a_row_from_figures_and_a_broken_arm() -> None:
    row = PowerRows(DESIGN, PLAN, made_up(), REGISTRY).row(DIGITS, "gate")
    assert (row.pairs, row.separated, row.seeds, row.partial) == (120, 120, 5, False)
    assert row.core_hours == pytest.approx(80 * 2 / 3600)
    row = PowerRows(DESIGN, PLAN, made_up(broken="wsd"), REGISTRY).row(DIGITS, "gate")
    assert (row.pairs, row.separated, row.left_out) == (120, 105, ("wsd",))


def test_missing_runs_make_no_row_and_a_problem() -> None:
    problems: list[str] = []
    assert PowerRows(DESIGN, PLAN, {}, REGISTRY).all_rows(problems) == []
    assert len(problems) == 2 * len(DESIGN.workloads)


def test_a_ranking_with_more_seeds_gives_the_row_at_the_full_budget() -> None:
    gate, ranked = made_up(), [run for run in made_up().values() if run.purpose == "score"]
    twelve = [run for run in ranked if run.arm in PLAN.arms(DIGITS)[:12]]
    rankings = {twelve[0].workload: twelve}
    rows = PowerRows(DESIGN, PLAN, gate, REGISTRY, rankings)
    full = rows.row(DIGITS, "full")
    assert (len(full.arms), full.pairs, full.seeds, full.partial) == (12, 66, 5, False)
    assert "with 12 arms" in full.notes[0]
    at_gate = rows.row(DIGITS, "gate")
    assert at_gate.agreement is not None
    assert (at_gate.agreement.decided, at_gate.agreement.same_order) == (66, 66)
    assert "the ranking" in at_gate.notes[-1]

    fewer = {workload: [run for run in runs if run.study < 2] for workload, runs in rankings.items()}
    own = {run.key: run for run in (msgspec.structs.replace(run, study=run.study + 5) for run in ranked)}
    full = PowerRows(DESIGN, PLAN, gate | own, REGISTRY, fewer).row(DIGITS, "full")
    assert (len(full.arms), full.seeds, full.notes) == (16, 3, ())
    with pytest.raises(UsageError, match="0 seeds have a run of every arm"):
        PowerRows(DESIGN, PLAN, gate, REGISTRY, {"resnet-digits@1": twelve}).row(DIGITS, "full")


def test_rows_of_a_ranking_go_with_its_records(tmp_path: Path) -> None:
    """The row at the gate budget has runs of its own and loses only the comparison with the ranking."""
    gate, ranked = made_up(), [run for run in made_up().values() if run.purpose == "score"]
    rows = PowerRows(DESIGN, PLAN, gate, REGISTRY, {ranked[0].workload: ranked})
    at_gate, full = (rows.row(DIGITS, budget) for budget in BUDGETS)
    path = tmp_path / "power.json"
    path.write_bytes(encode_rows([at_gate, full]))
    assert renew_rows([], [full.workload], REGISTRY, path) == [at_gate, full]
    (kept,) = renew_rows([], [], REGISTRY, path)
    assert (kept.agreement, kept.notes) == (None, ())
    assert msgspec.structs.replace(kept, agreement=at_gate.agreement, notes=at_gate.notes) == at_gate
    own = msgspec.structs.replace(full, notes=())
    path.write_bytes(encode_rows([own]))
    assert renew_rows([], [], REGISTRY, path) == [own]


def test_rankings_are_read_from_the_published_records() -> None:
    problems: list[str] = []
    digits = read_rankings(REGISTRY, problems)[REGISTRY.workload(DIGITS).facts.id]
    assert len({run.arm for run in digits}) == 12
    assert len(digits) == 60
    assert {run.arm for run in digits} < set(PLAN.arms(DIGITS))
    assert problems == []


def test_rankings_have_the_runs_that_tables_have(tmp_path: Path) -> None:
    """No run on another hardware class, no exploration, no unfinished run, and the earliest run of a trial."""
    folder = RESULTS / "cpu-amd-epyc-model-17-avx512-1t" / DIGITS / "wsd"
    scored = [one for one in iter_records([folder], []) if one.spec.purpose == "score"]
    ranked = [one for one in scored if one.spec.ruleset.name == "fixed-budget"]
    first = min(ranked, key=lambda record: record.spec.study)

    def write(record: Record, **spec: Any) -> None:
        changed = msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, **spec))
        changed = add_content_hash(msgspec.structs.replace(changed, run_id=run_id(changed.spec)))
        (tmp_path / f"{changed.run_id}.json").write_bytes(encode(changed))

    for record in ranked:
        write(record)
    write(first, hardware="cpu-other-1t")
    write(first, smoke=True)
    write(first, overridden=("lr",))
    write(msgspec.structs.replace(first, started="2199-01-01T00:00:00+00:00"), hparams={"lr": 9.0})
    write(msgspec.structs.replace(first, status="interrupted"), root_seed=first.spec.root_seed, study=99)
    (runs,) = read_rankings(REGISTRY, [], tmp_path).values()
    assert sorted(run.study for run in runs) == sorted(record.spec.study for record in ranked)
    assert {(run.hardware, run.lr) for run in runs} == {(first.spec.hardware, first.spec.hparams["lr"])}


@pytest.mark.parametrize("retry_failed", [False, True])
def test_failed_runs_are_missing_if_they_are_to_be_retried(tmp_path: Path, retry_failed: bool) -> None:
    runs = made_up()
    failed = next(run for run in runs.values() if run.purpose == "score")
    runs[failed.key] = msgspec.structs.replace(failed, status="crashed", metric=None)
    options = ExecutionOptions(retry_failed=retry_failed)
    assert (failed.key in PowerRunner(PLAN, runs, tmp_path, options, REGISTRY).figures) != retry_failed
    broken = msgspec.structs.replace(failed, status="diverged", metric=None)
    assert broken.key in PowerRunner(PLAN, {broken.key: broken}, tmp_path, options, REGISTRY).figures


def test_a_run_that_crashed_because_of_an_edit_is_missing(tmp_path: Path) -> None:
    """Its record says nothing about the submission, and must not prevent that the run is repeated."""
    good, edited = PLAN.tuning_specs(DIGITS)[:2]
    for record in (finish(good, 1.0), finish(edited, 1.0, status="crashed", reason=f"wsd {EDITED}")):
        (tmp_path / record.run_id).mkdir()
        (tmp_path / record.run_id / "record.json").write_bytes(encode(record))
    problems: list[str] = []
    assert set(read_finished(None, tmp_path, DESIGN, problems)) == {key_of_spec(good)}
    (problem,) = problems
    assert run_id(edited) in problem
    assert problem.endswith("the run counts as missing")


def test_equal_budgets_have_one_envelope() -> None:
    """The gate budget of `resnet-digits` is its full budget, and that of `lm-tiny` is a quarter of it."""
    rows = PowerRows(DESIGN, PLAN, made_up(), REGISTRY)
    assert PLAN.examples(DIGITS, "gate") == PLAN.examples(DIGITS, "full")
    at_gate, full = (rows.envelope(DIGITS, budget) for budget in BUDGETS)
    assert at_gate is not None
    assert at_gate == full
    assert not at_gate.provisional
    at_gate, full = (rows.envelope("lm-tiny", budget) for budget in BUDGETS)
    assert at_gate is not None
    assert full is not None
    assert (at_gate.budget, full.budget) == (PLAN.examples("lm-tiny", "gate"), PLAN.examples("lm-tiny", "full"))


def test_a_ranking_under_another_version_of_the_ruleset_is_left_out(tmp_path: Path) -> None:
    folder = RESULTS / "cpu-amd-epyc-model-17-avx512-1t" / DIGITS / "wsd"
    records = [one for one in iter_records([folder], []) if one.spec.purpose == "score"]
    ranked = next(one for one in records if one.spec.ruleset.name == "fixed-budget")
    (tmp_path / f"{ranked.run_id}.json").write_bytes(encode(ranked))
    assert [len(runs) for runs in read_rankings(REGISTRY, [], tmp_path).values()] == [1]
    ruleset = msgspec.structs.replace(ranked.spec.ruleset, version="1")
    earlier = msgspec.structs.replace(ranked, spec=msgspec.structs.replace(ranked.spec, ruleset=ruleset))
    (tmp_path / f"{ranked.run_id}.json").write_bytes(encode(earlier))
    assert read_rankings(REGISTRY, [], tmp_path) == {}


def test_published_rows_follow_from_the_stored_figures() -> None:
    """Rows of the current versions are computed again; rows of earlier versions are only kept."""
    runs = {run.key: run for run in read_stored(MEASURED)}
    rankings = read_rankings(REGISTRY, [])
    own = PowerRows(DESIGN, PLAN, runs, REGISTRY, rankings)
    rows = renew_rows(own.all_rows([]), rankings, REGISTRY)
    assert encode_rows(rows) == PUBLISHED.read_bytes(), "stale: run python -m studies.power --publish"
    assert encode_figures(runs.values()) == MEASURED.read_bytes()


def test_a_row_with_more_seeds_replaces_another_and_versions_are_kept() -> None:
    row = PowerRows(DESIGN, PLAN, made_up(), REGISTRY).row(DIGITS, "gate")

    def changed(**fields: object) -> PowerRow:
        return msgspec.structs.replace(row, **fields)

    partial, older = changed(seeds=2, separated=1), changed(workload="resnet-digits@1")
    assert merge_rows([row], [partial]) == [row]
    assert merge_rows([partial], [row]) == [row]
    assert merge_rows([row], [older]) == [older, row]
    older_full = changed(workload="resnet-digits@1", budget_name="full")
    assert drop_superseded([older, older_full, row], REGISTRY) == [older_full, row]
    assert msgspec.json.decode(encode_rows([row]), type=PowerFile).rows == (row,)
    assert isinstance(row.cost, PowerCost)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--new", "would remove the figures in measured.json"),
        ("--plan", "writes the rows of all workloads and budgets"),
        (f"--workloads={DIGITS}", "writes the rows of all workloads and budgets"),
        ("--budgets=gate", "writes the rows of all workloads and budgets"),
    ],
)
def test_publish_refuses_options_that_it_would_not_obey(
    option: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Path] = []
    monkeypatch.setattr(power, "write_atomically", lambda path, content: written.append(path))
    assert main(["--publish", option, "--runs", str(tmp_path)]) == 2
    assert problem in capsys.readouterr().err
    assert not written


def test_the_plan_names_missing_runs_and_unknown_workloads_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--plan", "--new", "--runs", str(tmp_path), "--workloads", DIGITS, "--budgets", "gate"]
    assert main(call) == 0
    out = capsys.readouterr().out
    assert "tuning: 48 of 48 runs are missing" in out
    assert "80 of 80 runs are missing" in out
    assert main(["--plan", "--workloads", "resnet-digit"]) == 2
    assert "resnet-digits" in capsys.readouterr().err
