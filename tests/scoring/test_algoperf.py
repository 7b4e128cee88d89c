"""Published scores from the published table and logs, the rules one by one, and the dirt of real logs."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BenchError, DataError, UsageError
from harness.scoring.algoperf import logs, rules, target_files
from harness.scoring.algoperf.targets import BASE_WORKLOADS, HELD_OUT_WORKLOADS

INF = math.inf
PUBLISHED = {
    "shampoo_submission": 0.7784,
    "schedule_free_adamw": 0.7077,
    "generalized_adam": 0.6383,
    "cyclic_lr": 0.6301,
    "nadamp": 0.5909,
    "baseline": 0.5707,
    "amos": 0.4918,
    "caspr_adaptive": 0.4722,
    "lawa_queue": 0.3699,
    "lawa_ema": 0.3384,
    "schedule_free_prodigy": 0.0,
}


@pytest.fixture(scope="session")
def table(algoperf: Path) -> dict[str, dict[str, float]]:
    return rules.read_table(algoperf / "v05_external_time_to_target.csv")


@pytest.fixture(scope="session")
def from_logs(algoperf_logs: Path) -> rules.AlgoPerfScores:
    return rules.score_logs(algoperf_logs, ruleset="external")


def four_digits(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(score, 4) for name, score in scores.items()}


# --- published numbers --------------------------------------------------------------------------


def test_published_scores_from_the_table(table: dict[str, dict[str, float]]) -> None:
    assert four_digits(rules.score_table(table).scores) == PUBLISHED


@pytest.mark.slow
def test_published_scores_from_the_logs(from_logs: rules.AlgoPerfScores) -> None:
    assert four_digits(from_logs.scores) == PUBLISHED
    assert list(from_logs.scores) == list(PUBLISHED)


@pytest.mark.slow
def test_files_give_what_the_defaults_give(
    algoperf: Path, algoperf_logs: Path, from_logs: rules.AlgoPerfScores
) -> None:
    result = rules.score_logs(
        algoperf_logs / "external_tuning",
        targets=algoperf / "v05_workload_targets.json",
        held_out=algoperf / "v05_held_out_workloads.json",
        ties=False,
    )
    assert result.scores == from_logs.scores
    assert result.time_to_target == from_logs.time_to_target
    assert target_files.read_targets(algoperf / "v05_workload_targets.json") == target_files.default_targets()
    assert set(target_files.read_held_out(algoperf / "v05_held_out_workloads.json")) == set(HELD_OUT_WORKLOADS)


@pytest.mark.slow
def test_times_from_the_logs_are_those_of_the_table(
    table: dict[str, dict[str, float]], from_logs: rules.AlgoPerfScores
) -> None:
    # Within 0.1 %: of two trials that hit at the same evaluation, the published table takes whichever it lists first.
    for submission, row in from_logs.time_to_target.items():
        for workload, seconds in row.items():
            published = table[submission].get(workload, INF)
            assert (seconds or INF) == pytest.approx(published, rel=1e-3), (submission, workload)


@pytest.mark.slow
def test_hits_are_those_of_the_trials_table(algoperf: Path, algoperf_logs: Path) -> None:
    import csv

    targets = target_files.default_targets().targets
    hits = 0
    with open(algoperf / "v05_external_trials.csv", newline="") as file:
        for row in list(csv.DictReader(file))[::10]:
            folder = algoperf_logs / row["ruleset"] / row["submission"] / row["study"]
            places = [folder / f"{row['workload']}_{f}" / row["trial"] / logs.MEASUREMENTS for f in logs.FRAMEWORKS]
            (path,) = [place for place in places if place.exists()]
            hit = logs.first_hit(path.read_bytes(), targets[row["workload"]])
            assert (hit.index if hit else -1) == int(row["hit_eval_index"])
            hits += hit is not None
    assert hits > 100


# --- each rule counts ---------------------------------------------------------------------------


def test_without_held_outs(table: dict[str, dict[str, float]]) -> None:
    scores = four_digits(rules.score_table(table, held_out=()).scores)
    assert scores["schedule_free_adamw"] == 0.7740
    assert scores["caspr_adaptive"] == 0.5549


def test_without_the_four_times_rule(table: dict[str, dict[str, float]]) -> None:
    scores = four_digits(rules.score_table(table, limit=INF).scores)
    assert scores["baseline"] == 0.5915
    assert scores["cyclic_lr"] == 0.6648


def test_a_missing_workload_is_a_miss_and_not_left_out(table: dict[str, dict[str, float]]) -> None:
    present = [w for w in BASE_WORKLOADS if w in table["caspr_adaptive"]]
    held_out = [w for w in HELD_OUT_WORKLOADS if w.startswith(tuple(present))]
    over_present = rules.score_table(table, base=present, held_out=held_out).scores["caspr_adaptive"]
    assert over_present > PUBLISHED["caspr_adaptive"] + 0.01


@pytest.mark.slow
def test_exact_integral_is_close_and_not_equal(from_logs: rules.AlgoPerfScores) -> None:
    gaps = [abs(p.score - p.exact) for p in from_logs.profiles.values()]
    assert 0 < max(gaps) < 0.005


# --- what is uncertain --------------------------------------------------------------------------


def test_dropping_an_also_ran_swaps_the_first_two_by_profile_score_only(table: dict[str, dict[str, float]]) -> None:
    fewer = {name: row for name, row in table.items() if name != "caspr_adaptive"}
    full, dropped = (rules.score_table(t, reference="baseline") for t in (table, fewer))
    assert list(full.scores)[:2] == ["shampoo_submission", "schedule_free_adamw"]
    assert list(dropped.scores)[:2] == ["schedule_free_adamw", "shampoo_submission"]
    assert full.anchored is not None
    assert dropped.anchored is not None
    for name in fewer:
        assert dropped.anchored.scores[name] == full.anchored.scores[name]
    best = sorted(dropped.anchored.scores, key=lambda name: -dropped.anchored.scores[name])  # type: ignore[union-attr]
    assert best[:2] == ["shampoo_submission", "schedule_free_adamw"]
    assert [str(s) for s in full.anchored.left_out] == ["imagenet_resnet: the reference missed it"]


@pytest.mark.slow
def test_ties_are_shown(from_logs: rules.AlgoPerfScores) -> None:
    ties = from_logs.ties
    assert ties is not None
    assert ("shampoo_submission", "schedule_free_adamw") in ties.tied
    assert ("nadamp", "baseline") in ties.tied
    assert ("shampoo_submission", "baseline") not in ties.tied
    assert ties.ranks["shampoo_submission"][0] == 1
    assert ties.ranks["schedule_free_prodigy"] == (11, 11)
    assert from_logs.ranges is not None
    for name, (low, high) in from_logs.ranges.items():
        assert 0 <= low <= high <= 1, name
    # Five studies: a range, and those of the first two overlap.
    assert from_logs.ranges["schedule_free_adamw"][1] > from_logs.ranges["shampoo_submission"][0]


@pytest.mark.slow
def test_json_is_plain(from_logs: rules.AlgoPerfScores) -> None:
    plain = json.loads(json.dumps(from_logs.to_json(), allow_nan=False))
    assert plain["schema"] == rules.SCHEMA
    assert four_digits(plain["scores"]) == PUBLISHED
    assert plain["time_to_target"]["amos"]["criteo1tb"] is None
    assert plain["time_to_target"]["baseline"]["fastmri"] == pytest.approx(2030.4, abs=0.1)


@pytest.mark.slow
def test_the_dirt_is_named(from_logs: rules.AlgoPerfScores) -> None:
    said = [str(s) for s in from_logs.skipped]
    assert "schedule_free_adamw/study_0/trial_1: stray folder: not <workload>_<jax|pytorch>" in said
    assert "baseline/study_1/ogbg_gelu_jax: neither a base workload nor a held-out variant" in said
    assert "caspr_adaptive/criteo1tb: no logs; counts as a miss" in said
    assert "lawa_ema/librispeech_deepspeech: 3 of 5 studies; the median is over these studies" in said


@pytest.mark.slow
def test_fast_enough(algoperf_logs: Path) -> None:
    import scipy.stats  # noqa: F401  third-party imports are not counted

    start = time.process_time()
    rules.score_logs(algoperf_logs)
    assert time.process_time() - start < 3.0


# --- made-up logs -------------------------------------------------------------------------------

HEADER = "accumulated_submission_time,score,validation/ssim"
GOOD = f"{HEADER}\n1,10.0,0.5\n2,20.0,0.73\n3,30.0,0.74\n"


def put(root: Path, place: str, content: str | None) -> None:
    folder = root / place
    folder.mkdir(parents=True, exist_ok=True)
    if content is not None:
        (folder / logs.MEASUREMENTS).write_text(content)


def targets() -> target_files.TargetTable:
    return target_files.TargetTable(
        targets={"fastmri": target_files.make_target("fastmri", "ssim", 0.72)}, base=("fastmri",)
    )


def score(root: Path, **options: object) -> rules.AlgoPerfScores:
    return rules.score_logs(root, targets=targets(), held_out=(), **options)  # type: ignore[arg-type]


def test_dirt_of_every_kind(tmp_path: Path) -> None:
    put(tmp_path, "a/study_0/fastmri_jax/trial_1", GOOD)
    put(tmp_path, "a/study_0/fastmri_jax/trial_2", "")
    put(tmp_path, "a/study_0/fastmri_jax/trial_3", HEADER + "\n")
    put(tmp_path, "a/study_0/fastmri_jax/trial_4", None)
    put(tmp_path, "a/study_0/fastmri_jax/trial_5", "step,score\n1,2\n")
    put(tmp_path, "a/study_0/fastmri_jax/trial_6", f"{HEADER}\n1,nan,0.9\n")
    put(tmp_path, "a/study_0/fastmri_jax/trial_7", f"{HEADER}\n1,-5,0.9\n")
    put(tmp_path, "a/study_0/fastmri_jax/old", GOOD)
    put(tmp_path, "a/study_0/fastmri_pytorch/trial_1", GOOD)
    put(tmp_path, "a/study_0/trial_1", GOOD)
    put(tmp_path, "a/study_0/unknown_jax/trial_1", GOOD)
    put(tmp_path, "a/notes", None)
    put(tmp_path, "b", None)
    (tmp_path / "README.md").write_text("x")
    result = score(tmp_path)
    assert result.time_to_target == {"a": {"fastmri": 20.0}}
    assert "b" not in result.scores
    said = {s.item: s.reason for s in result.skipped}
    where = "a/study_0/fastmri_jax"
    assert said[f"{where}/trial_2"] == "the file is empty"
    assert said[f"{where}/trial_3"] == "the file has a header and no complete row"
    assert said[f"{where}/trial_4"] == "the trial has no eval_measurements.csv"
    assert said[f"{where}/trial_5"] == "no column validation/ssim"
    assert "at the time 'nan'" in said[f"{where}/trial_6"]
    assert "at the time '-5'" in said[f"{where}/trial_7"]
    assert "stray" in said[f"{where}/old"]
    assert "second framework" in said["a/study_0/fastmri_pytorch"]
    assert "stray" in said["a/study_0/trial_1"]
    assert "neither" in said["a/study_0/unknown_jax"]
    assert "stray" in said["a/notes"]
    assert said["b"] == "no readable trial; left out"


def make_sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


ODD_MEASUREMENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "is not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    "loop": (lambda path: path.symlink_to(path.name), "cannot read"),
    "sparse": (make_sparse, "has more than"),
    "long field": (lambda path: path.write_text(f'{HEADER}\n"{"9" * 200_000}",1,0.9\n'), "is not a CSV file"),
}


@pytest.mark.parametrize("kind", ODD_MEASUREMENTS)
def test_an_odd_file_is_skipped_by_name(tmp_path: Path, kind: str) -> None:
    make, problem = ODD_MEASUREMENTS[kind]
    put(tmp_path, "a/study_0/fastmri_jax/trial_1", GOOD)
    put(tmp_path, "a/study_0/fastmri_jax/trial_2", None)
    make(tmp_path / "a/study_0/fastmri_jax/trial_2/eval_measurements.csv")
    result = score(tmp_path)
    assert result.time_to_target == {"a": {"fastmri": 20.0}}
    assert problem in {s.item: s.reason for s in result.skipped}["a/study_0/fastmri_jax/trial_2"]


@pytest.mark.parametrize("place", ["b", "a/study_1", "a/study_0/ogbg_jax", "a/study_0/fastmri_jax/trial_2"])
def test_a_link_that_leads_to_itself_is_not_a_folder(tmp_path: Path, place: str) -> None:
    put(tmp_path, "a/study_0/fastmri_jax/trial_1", GOOD)
    (tmp_path / place).symlink_to(Path(place).name)
    assert score(tmp_path).time_to_target == {"a": {"fastmri": 20.0}}


@pytest.mark.parametrize("value", ["1" + "0" * 400, "-1" + "0" * 400, "1e999", "NaN", "true", '"0.7"'])
def test_a_target_that_is_no_finite_number_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "targets.json"
    fields = f'"target_metric_name": "ssim", "validation_target_value": {value}'
    path.write_text(f'{{"workloads": {{"fastmri": {{{fields}}}}}}}')
    with pytest.raises(BenchError, match="target"):
        target_files.read_targets(path)


def test_the_smallest_evaluation_index_wins_and_then_the_smaller_time(tmp_path: Path) -> None:
    put(tmp_path, "a/study_0/fastmri_jax/trial_1", f"{HEADER}\n1,50,0.1\n2,90,0.8\n")
    put(tmp_path, "a/study_0/fastmri_jax/trial_2", f"{HEADER}\n1,10,0.1\n2,20,0.1\n3,30,0.8\n")
    put(tmp_path, "a/study_0/fastmri_jax/trial_3", f"{HEADER}\n1,50,0.1\n2,80,0.8\n")
    assert score(tmp_path).time_to_target["a"]["fastmri"] == 80.0


def test_blank_metrics_and_a_partial_last_row_are_passed_over(tmp_path: Path) -> None:
    target = targets().targets["fastmri"]
    data = f"{HEADER}\n1,10,\n2,20,\n3,30,nan\n4,40,0.9\n5,50,0.9\n".encode()
    assert logs.first_hit(data, target) == logs.Hit(index=3, seconds=40.0)
    quoted = f'{HEADER}\n"1","10",0.9\n'.encode()
    assert logs.first_hit(quoted, target) == logs.Hit(index=0, seconds=10.0)
    assert logs.first_hit(f"{HEADER}\n1,10,0.1\n2,20".encode(), target) is None


#: Kind -> rows of a log that would meet the target if they were shifted or left out, and the problem.
SHIFTED = {
    "a comma at the end": ("1,10,0.1,\n2,20,0.9,\n", "row 0 has 4 fields, but the header has 3"),
    "a column more on resume": ("1,10,0.1\n2,20,0.9,0.5\n", "row 1 has 4 fields, but the header has 3"),
    "a field less": ("1,10\n2,20,0.9\n", "row 0 has 2 fields, but the header has 3"),
    "a Python object": ("1,10,tensor(0.9)\n2,20,0.9\n", "row 0 has the metric 'tensor(0.9)', which is not a number"),
}


@pytest.mark.parametrize("kind", SHIFTED)
def test_a_row_that_does_not_fit_the_header_is_neither_shifted_nor_left_out(kind: str) -> None:
    rows, problem = SHIFTED[kind]
    with pytest.raises(DataError, match=re.escape(problem)):
        logs.first_hit(f"{HEADER}\n{rows}".encode(), targets().targets["fastmri"])


def test_a_column_that_is_given_twice_is_refused() -> None:
    data = b"score,validation/ssim,score\n1,0.1,1\n2,0.9,2\n"
    with pytest.raises(DataError, match="the column score is given twice"):
        logs.first_hit(data, targets().targets["fastmri"])


def test_direction_comes_from_the_table(tmp_path: Path) -> None:
    down = target_files.make_target("librispeech", "wer", 0.1)
    data = b"score,validation/wer\n1,0.2\n2,0.05\n"
    assert logs.first_hit(data, down) == logs.Hit(index=1, seconds=2.0)
    with pytest.raises(UsageError, match="unknown metric of x"):
        target_files.make_target("x", "perplexity", 1.0)


def test_self_tuning_has_one_trial_per_study(tmp_path: Path) -> None:
    put(tmp_path, "self_tuning/a/study_0/fastmri_jax/trial_1", f"{HEADER}\n1,50,0.8\n")
    put(tmp_path, "self_tuning/a/study_0/fastmri_jax/trial_2", f"{HEADER}\n1,5,0.8\n")
    put(tmp_path, "self_tuning/a/study_1/fastmri_jax/trial_1", f"{HEADER}\n1,60,0.8\n")
    put(tmp_path, "self_tuning/a/study_2/fastmri_jax/trial_1", f"{HEADER}\n1,70,0.1\n")
    result = score(tmp_path, ruleset="self-tuning")
    assert result.time_to_target == {"a": {"fastmri": 60.0}}
    assert any("one trial per study" in s.reason for s in result.skipped)


def test_all_missed_is_a_zero_that_is_said(tmp_path: Path) -> None:
    put(tmp_path, "a/study_0/fastmri_jax/trial_1", f"{HEADER}\n1,50,0.1\n")
    result = score(tmp_path)
    assert result.scores == {"a": 0.0}
    assert result.time_to_target == {"a": {"fastmri": None}}
    assert result.anchored is None


def test_bad_requests_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        score(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no readable trial"):
        score(tmp_path)
    with pytest.raises(UsageError, match="unknown ruleset"):
        score(tmp_path, ruleset="extern")
    put(tmp_path, "a/study_0/fastmri_jax/trial_1", GOOD)
    with pytest.raises(UsageError, match="unknown reference"):
        score(tmp_path, reference="nobody")
    with pytest.raises(UsageError, match="not a variant of a base"):
        rules.score_logs(tmp_path, targets=targets(), held_out=["ogbg_gelu"])
    with pytest.raises(UsageError, match="no target for the held-out"):
        rules.score_logs(tmp_path, targets=targets(), held_out=["fastmri_new"])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"workloads": {"fastmri": {}}}',
        '{"workloads": {"fastmri": {"target_metric_name": "ssim", "validation_target_value": "x"}}}',
        '{"workloads": {"fastmri": {"target_metric_name": "beauty", "validation_target_value": 1}}}',
        '{"workloads": {"mine": {"target_metric_name": "ssim", "validation_target_value": 1}}}',
        '{"workloads": {"fastmri": {"target_metric_name": "ssim", "validation_target_value": NaN}}}',
        '{"workloads": {"fastmri": {"target_metric_name": "ssim", "validation_target_value": true}}}',
        '{"workloads": {"fastmri": {"target_metric_name": "ssim", "validation_target_value": 1, "tolerance": 0.1}}}',
        '{"workloads": {"fastmri": {"target_metric_name": "ssim", "validation_target_value": 1}}, "held_out": []}',
        '{"workloads": {"fastmri": {"target_metric_name": "ssim", "validation_target_value": 1}}, "workloads": {}}',
    ],
)
def test_bad_targets_files(tmp_path: Path, content: str) -> None:
    path = tmp_path / "targets.json"
    path.write_text(content)
    with pytest.raises(BenchError):
        target_files.read_targets(path)


def write_targets(folder: Path, **fields: object) -> Path:
    workloads = {
        name: {"target_metric_name": "ssim", "validation_target_value": value, "step_hint": 1}
        for name, value in {"fastmri": 0.72, "fastmri_tanh": 0.71, "fastmri_new": 0.7}.items()
    }
    path = folder / "targets.json"
    path.write_text(json.dumps({"_comment": "frozen", **fields, "workloads": fields.get("workloads", workloads)}))
    return path


@pytest.mark.parametrize(
    ("fields", "held_out"),
    [
        ({"benchmark_version": "0.6", "base_workloads": ["fastmri"], "held_out_workloads": []}, []),
        ({"base_workloads": ["fastmri"], "held_out_workloads": []}, []),
        (
            {"benchmark_version": "0.7", "base_workloads": ["fastmri"], "held_out_workloads": ["fastmri_new"]},
            ["fastmri_new"],
        ),
        ({"benchmark_version": "0.5"}, ["fastmri_tanh"]),
        ({}, ["fastmri_tanh"]),
    ],
)
def test_a_targets_file_decides_its_held_outs(tmp_path: Path, fields: dict[str, object], held_out: list[str]) -> None:
    put(tmp_path, "logs/a/study_0/fastmri_jax/trial_1", GOOD)
    result = rules.score_logs(tmp_path / "logs", targets=write_targets(tmp_path, **fields))
    assert list(result.held_out) == held_out
    # Submission a has no logs of a variant, so it misses each base workload that has one.
    assert result.scores["a"] == (0.0 if held_out else 1.0)


def test_the_word_none_means_no_held_outs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "logs/a/study_0/fastmri_jax/trial_1", GOOD)
    assert rules.score_logs("logs", targets=write_targets(tmp_path), held_out="none").scores == {"a": 1.0}
    (tmp_path / "none").write_text('["fastmri_new"]')
    assert list(rules.score_logs("logs", targets="targets.json", held_out="none").held_out) == ["fastmri_new"]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"benchmark_version": "0.6", "base_workloads": ["fastmri"]}, "no list 'held_out_workloads'"),
        ({"benchmark_version": "0.6", "held_out_workloads": []}, "no list 'base_workloads'"),
        ({"benchmark_version": 0.6, "base_workloads": ["fastmri"]}, "no list 'held_out_workloads'"),
        ({"held_out_workloads": None}, "held_out_workloads: the workloads are not a list"),
        ({"held_out_workloads": "none"}, "held_out_workloads: the workloads are not a list"),
        ({"held_out_workloads": ["fastmri_gelu"]}, "no target for the held-out workload fastmri_gelu"),
        ({"held_out": []}, "unknown field 'held_out'"),
    ],
)
def test_a_versioned_file_is_read_whole_or_refused(tmp_path: Path, fields: dict[str, object], word: str) -> None:
    with pytest.raises(DataError, match=word):
        target_files.read_targets(write_targets(tmp_path, **fields))


def test_the_direction_in_a_file_counts(tmp_path: Path) -> None:
    entry = {"target_metric_name": "beauty", "validation_target_value": 2, "step_hint": 1}
    path = write_targets(tmp_path, base_workloads=["x"], workloads={"x": {**entry, "target_metric_goal": "minimize"}})
    assert target_files.read_targets(path).targets["x"].goal == "min"
    path = write_targets(tmp_path, base_workloads=["x"], workloads={"x": {**entry, "target_metric_goal": "down"}})
    with pytest.raises(DataError, match="target_metric_goal is 'down'"):
        target_files.read_targets(path)


@pytest.mark.parametrize("content", ["", ",u\n", ",u\na,x\n", ",u\na,1,2\n", ",u\na,1\na,2\n"])
def test_bad_tables(tmp_path: Path, content: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(DataError):
        rules.read_table(path)
    with pytest.raises(DataError):
        rules.read_table(tmp_path / "none.csv")
    with pytest.raises(DataError):
        target_files.read_held_out(path)


def test_table_marks(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(",u,v,w\na,1.5,inf,\n")
    assert rules.read_table(path) == {"a": {"u": 1.5, "v": INF}}
