"""Publishing: complete or refused, checked, with all attempts in sight, and in one step."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from harness import cli
from harness.contract.marks import Mark
from harness.contract.publication import Publication
from harness.contract.record import Record
from harness.contract.run import Purpose
from harness.errors import DamagedError, StoreError, UsageError
from harness.planning.internal_rulesets import COST_RULESET
from harness.publishing.completeness import find_gap
from harness.publishing.rendering import list_refusals, report_text
from harness.publishing.selection import LocalRun, TrialGroup, find_obstacle, group_key, select_groups
from harness.publishing.session import publish
from harness.scoring.anytime import envelope_horizons
from harness.storage import staging
from harness.storage.layout import RECORD, run_id
from harness.storage.ledger import LEDGER
from harness.storage.marks import MARKS, append_lines, append_mark, index_marks, lock_marks
from harness.storage.records import read_all
from harness.storage.run_folder import RunFolder
from harness.storage.verification import verify
from harness.system import python_process
from tests.publishing.local_runs import group, no_listed_settings, options, publish_in, run_ids, write_runs
from tests.storage.published import contents
from tests.verification.forging import REPOSITORY, stored

FOLDER = f"{group()[0].spec.hardware}/resnet-digits/wsd"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the five runs of a submission on a workload."""
    write_runs(tmp_path / "runs", group())
    return tmp_path


def publication(folder: Path) -> Publication:
    (path,) = (folder / "results" / FOLDER).glob("publication-*.json")
    return msgspec.json.decode(path.read_bytes(), type=Publication)


def test_one_run_is_published_with_all_that_belong_to_it(folder: Path) -> None:
    write_runs(folder / "runs", group("adamw-cosine"))
    report = publish_in(folder, group()[3].run_id)
    assert report.written
    records, problems = read_all([folder / "results"])
    assert problems == []
    assert run_ids(records) == run_ids(group())
    assert sorted(records, key=lambda r: r.run_id) == sorted(group(), key=lambda r: r.run_id)
    assert not [problem for checked in verify(folder / "results") for problem in checked.problems]
    assert publication(folder).records == {record.run_id: record.content_hash for record in group()}
    assert publication(folder).unchecked == {"weights": 5}
    assert "seeds: root seed 1; use bench run --nonce beacon" in report_text(report)
    assert "wsd@1" in (folder / "results/LEADERBOARD.md").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["results", "runs"], "no copy is left"


def test_the_page_is_the_one_that_the_leaderboard_command_prints(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_in(folder, "wsd")
    monkeypatch.chdir(folder)
    assert cli.invoke(["leaderboard", "--runs", "none", "--results", "results", "--format", "md"]) == 0
    assert capsys.readouterr().out == (folder / "results/LEADERBOARD.md").read_text()


def test_publishing_twice_changes_nothing(folder: Path) -> None:
    publish_in(folder, "wsd")
    before = contents(folder / "results")
    report = publish_in(folder, str(folder / "runs"))
    assert not report.written
    assert "nothing to publish" in report_text(report)
    assert contents(folder / "results") == before


def test_later_studies_go_into_a_new_shard(folder: Path) -> None:
    for record in group()[3:]:
        shutil.rmtree(folder / "runs" / record.run_id)
    (folder / "runs" / LEDGER).unlink()
    publish_in(folder, "wsd")
    first = contents(folder / "results")
    write_runs(folder / "runs", group()[3:])
    (folder / "runs" / LEDGER).unlink()
    report = publish_in(folder, "wsd")
    assert len(report.groups[0].new) == 2
    after = contents(folder / "results")
    assert {name: data for name, data in after.items() if name in first and name != "LEADERBOARD.md"} == {
        name: data for name, data in first.items() if name != "LEADERBOARD.md"
    }
    assert f"{FOLDER}/records-0002.jsonl.xz" in after
    assert run_ids(read_all([folder / "results"])[0]) == run_ids(group())


def test_published_studies_need_not_be_at_hand(folder: Path, tmp_path: Path) -> None:
    publish_in(folder, "wsd")
    shutil.rmtree(folder / "runs")
    other = tmp_path / "other"
    spec = msgspec.structs.replace(group()[0].spec, study=5)
    later = msgspec.structs.replace(group()[0], spec=spec, run_id=run_id(spec))
    write_runs(other / "runs", [later])
    shutil.copytree(folder / "results", other / "results")
    (report,) = publish_in(other, "wsd", dry_run=True).groups
    assert report.gap is None
    assert len(report.new) == 1


def test_published_trials_that_the_command_would_repeat_are_counted(folder: Path, tmp_path: Path) -> None:
    publish_in(folder, "wsd")
    other = tmp_path / "other"
    spec = msgspec.structs.replace(group()[0].spec, study=6)
    write_runs(other / "runs", [msgspec.structs.replace(group()[0], spec=spec, run_id=run_id(spec)), group()[1]])
    shutil.copytree(folder / "results", other / "results")
    report = publish_in(other, "wsd", dry_run=True)
    gap = report.groups[0].gap
    assert gap is not None
    assert ([index.study for index in gap.missing], gap.repeated) == ([5], 4)
    assert "4 published trial(s) are not in the runs folder" in report_text(report)


def test_a_missing_study_is_named_with_the_command_that_makes_it(folder: Path) -> None:
    shutil.rmtree(folder / "runs" / group()[2].run_id)
    (folder / "runs" / LEDGER).unlink()
    report = publish_in(folder, "wsd")
    assert not report.written
    assert not (folder / "results").exists()
    reasons = list_refusals(report.groups[0])
    assert reasons == ["1 of 5 trials are missing: study 2, trial 0"]
    command = f"bench run -s wsd -w resnet-digits --ruleset quick --seed 1 --studies 5 --runs {folder / 'runs'}"
    assert f"  to run the missing trials: {command}\n" in report_text(report)


def test_tuning_trials_belong_to_the_result(tmp_path: Path) -> None:
    records = group("wsd", "lm-tiny", "fixed-stop")
    write_runs(tmp_path / "runs", [record for record in records if record.spec.trial or record.spec.study != 1])
    (tmp_path / "runs" / LEDGER).unlink()
    (report,) = publish_in(tmp_path, "wsd", dry_run=True).groups
    assert "2 of 12 trials are missing: tuning study 1, trial 0; study 1, trial 0" in list_refusals(report)


def test_further_tuning_studies_have_to_be_complete(tmp_path: Path) -> None:
    """fixed-stop has four tuning studies; a fifth one, of which one trial ended, needs an option to be repeated."""
    records = group("wsd", "lm-tiny", "fixed-stop")
    (first, *_) = (record for record in records if record.spec.purpose == "tuning")
    spec = msgspec.structs.replace(first.spec, study=5)
    write_runs(tmp_path / "runs", [*records, msgspec.structs.replace(first, spec=spec, run_id=run_id(spec))])
    (report,) = publish_in(tmp_path, "wsd", dry_run=True).groups
    assert report.gap is not None
    assert [str(index) for index in report.gap.missing] == ["tuning study 4, trial 0"]
    assert " --tuning-studies 6" in report.gap.command


def test_a_ruleset_with_listed_settings_expects_these(folder: Path) -> None:
    """Two settings where the ruleset allows five: the submission lists two points."""
    rules = msgspec.structs.replace(group()[0].spec.ruleset, tuning="space", trials=5)
    records = [
        msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, ruleset=rules)) for record in group()
    ]
    runs = tuple(LocalRun(stored=stored(record), record=record) for record in records)
    made = TrialGroup(key=group_key(records[0].spec), runs=runs)
    assert len((find_gap(made, "runs", lambda spec: 2) or pytest.fail("complete")).missing) == 5
    assert find_gap(made, "runs", lambda spec: 1) is None


@pytest.mark.parametrize(
    "changes", [{"studies": 10**8}, {"tuning_studies": 10**8}, {"trials": 10**12}, {"studies": 1, "trials": 10**12}]
)
def test_a_record_cannot_call_for_any_number_of_trials(changes: dict[str, int], tmp_path: Path) -> None:
    """The records of somebody else must not exhaust the memory. Users may have rulesets of any size."""
    (first, *_) = group()
    rules = msgspec.structs.replace(first.spec.ruleset, name="mine", **changes)
    spec = msgspec.structs.replace(first.spec, ruleset=rules)
    write_runs(tmp_path / "runs", [msgspec.structs.replace(first, spec=spec, run_id=run_id(spec))])
    (report,) = publish_in(tmp_path, "wsd").groups
    assert report.gap is None
    assert any("cannot be completed: the plan has" in reason for reason in list_refusals(report))


def under_anytime(record: Record, purpose: Purpose, horizon: int | None = None) -> Record:
    """A run as if the ruleset compared it with the envelope of the reference, in two studies."""
    spec, facts = record.spec, record.spec.workload.facts
    rules = msgspec.structs.replace(spec.ruleset, stopping="drawn", studies=2)
    budget = msgspec.structs.replace(facts.budget, horizon=horizon or facts.budget.horizon)
    workload = msgspec.structs.replace(spec.workload, facts=msgspec.structs.replace(facts, budget=budget))
    spec = msgspec.structs.replace(spec, ruleset=rules, purpose=purpose, workload=workload)
    return msgspec.structs.replace(record, spec=spec, run_id=run_id(spec))


def test_scores_that_need_an_envelope_are_published_with_it(tmp_path: Path) -> None:
    """An envelope has runs at all of its horizons in every study."""
    facts = group()[0].spec.workload.facts
    write_runs(tmp_path / "runs", [under_anytime(record, "score") for record in group("wsd")[:2]])
    (alone,) = publish_in(tmp_path, "wsd", dry_run=True).groups
    problem = f"the reference's runs for the envelope on {facts.id} are neither in the runs folder nor published"
    assert alone.problems == (problem,)

    horizons = envelope_horizons(facts.budget.horizon, facts.eval_every)
    reference = group("adamw-cosine")[:2]
    runs = [under_anytime(record, "envelope", horizon) for horizon in horizons for record in reference]
    write_runs(tmp_path / "runs", runs[:-3])
    problem = f"there is no envelope on {facts.id}: the reference has complete runs at 5 of 6 horizons"
    incomplete = publish_in(tmp_path, "wsd", dry_run=True).groups
    assert [report.group.key.is_envelope for report in incomplete] == [False, True]
    assert [report.problems for report in incomplete] == [(problem,), (problem,)]
    lacking = f"envelope study 1, trial 0, horizon {horizons[-2]:,} examples"
    assert f"1 of 10 trials are missing: {lacking}" in list_refusals(incomplete[1])

    write_runs(tmp_path / "runs", runs[-3:])
    complete = publish_in(tmp_path, "wsd", dry_run=True).groups
    assert [(report.problems, report.gap) for report in complete] == [((), None)] * 2


def test_a_run_that_has_not_ended_is_missing(tmp_path: Path) -> None:
    unfinished = msgspec.structs.replace(group()[4], status="interrupted")
    write_runs(tmp_path / "runs", [*group()[:4], unfinished])
    (tmp_path / "runs" / LEDGER).unlink()
    assert "1 of 5 trials are missing: study 4, trial 0" in list_refusals(publish_in(tmp_path, "wsd").groups[0])


def test_a_record_that_fails_a_check_is_refused(tmp_path: Path) -> None:
    """The last study is a copy of the first one under another run ID."""
    *honest, last = group()
    copied = msgspec.structs.replace(honest[0], run_id=last.run_id, spec=last.spec)
    write_runs(tmp_path / "runs", [*honest, copied])
    report = publish_in(tmp_path, "wsd")
    assert not report.written
    assert any("copies: it has the" in reason for reason in list_refusals(report.groups[0]))


def test_a_copy_of_a_published_record_is_refused(folder: Path) -> None:
    publish_in(folder, "wsd")
    victim, spec = group()[0], group("adamw-cosine")[0].spec
    copied = msgspec.structs.replace(victim, run_id=group("adamw-cosine")[0].run_id, spec=spec)
    write_runs(folder / "thief", [copied])
    report = publish(["adamw-cosine"], replace(options(folder), runs=folder / "thief"))
    assert any("copies" in reason for reason in list_refusals(report.groups[0]))


def test_a_deleted_attempt_is_refused_and_a_replaced_one_is_shown(folder: Path) -> None:
    RunFolder(folder / "runs", group()[1].run_id).supersede()
    better = msgspec.structs.replace(group()[1], reason="the second attempt")
    write_runs(folder / "runs", [better])
    report = publish_in(folder, "wsd", dry_run=True)
    assert not report.is_refused
    (repeated,) = report.groups[0].attempts.repeated
    assert repeated.attempts == 2
    assert f"attempts: {better.run_id}: attempt 2: " in report_text(report)
    assert ", replacing reached at " in report_text(report) or ", replacing exhausted at " in report_text(report)
    shutil.rmtree(folder / "runs/superseded")
    refused = publish_in(folder, "wsd")
    assert any("further attempt(s) on this workload are missing" in r for r in list_refusals(refused.groups[0]))


def test_other_seeds_of_the_same_source_are_shown_and_stored(folder: Path) -> None:
    other = group()[0]
    spec = msgspec.structs.replace(other.spec, root_seed=7)
    write_runs(folder / "runs", [msgspec.structs.replace(other, spec=spec, run_id=run_id(spec))])
    report = publish_in(folder, group()[0].run_id)
    assert report.groups[0].attempts.unpublished == (run_id(spec),)
    assert f"1 further run(s) of this source on this workload: {run_id(spec)}" in report_text(report)
    assert publication(folder).unpublished == (run_id(spec),)
    assert publication(folder).ledger_entries == 12
    assert len(publication(folder).ledger_hash) == 64


def mark(record_index: int, event: str) -> Mark:
    record = group()[record_index]
    return msgspec.convert(
        {"time": "2026-01-01", "event": event, "run_id": record.run_id, "record": record.content_hash, "why": "odd"},
        Mark,
    )


def test_a_withdrawn_run_is_refused_and_a_doubt_is_published_with_the_record(folder: Path) -> None:
    append_mark(folder / "runs", mark(0, "withdrawn"))
    assert any("was withdrawn: odd" in reason for reason in list_refusals(publish_in(folder, "wsd").groups[0]))
    append_mark(folder / "runs", mark(0, "restored"))
    append_mark(folder / "runs", mark(1, "doubted"))
    assert publish_in(folder, "wsd").written
    assert [found.event for found in index_marks([folder / "results"], []).values()] == ["doubted"]
    assert "† doubted" in (folder / "results/LEADERBOARD.md").read_text()


def test_a_published_record_never_changes(folder: Path) -> None:
    publish_in(folder, "wsd")
    write_runs(folder / "runs", [msgspec.structs.replace(group()[0], reason="edited")])
    report = publish_in(folder, "wsd")
    assert any("is already published with other content" in reason for reason in list_refusals(report.groups[0]))


def test_an_attestation_that_cannot_be_read_is_a_problem_and_is_not_left_out(folder: Path) -> None:
    run = folder / "runs" / group()[0].run_id
    damaged = run / f"attestation-{'0' * 16}-{'0' * 8}.json"
    damaged.write_text("{")
    report = publish_in(folder, "wsd")
    assert not report.written
    assert any(f"{damaged}" in reason and "restore it" in reason for reason in list_refusals(report.groups[0]))
    damaged.unlink()
    assert publish_in(folder, "wsd").written


def test_damaged_published_records_stop_everything(folder: Path) -> None:
    publish_in(folder, "wsd")
    shard = folder / "results" / FOLDER / "records-0001.jsonl.xz"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="cannot be read"):
        publish_in(folder, "wsd")


def test_a_record_cannot_choose_a_folder_elsewhere(tmp_path: Path) -> None:
    specs = [msgspec.structs.replace(record.spec, hardware="../../elsewhere") for record in group()]
    records = [msgspec.structs.replace(r, spec=s, run_id=run_id(s)) for r, s in zip(group(), specs, strict=True)]
    write_runs(tmp_path / "runs", records)
    report = publish_in(tmp_path, "wsd")
    assert not report.written
    assert "'..' cannot be the name of a folder" in list_refusals(report.groups[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x" * 5000, "unknown run"),
        ("wsdd", "unknown run or submission"),
        ("run-", "runs begin with"),
        ("no/such/folder", "unknown run"),
    ],
)
def test_wrong_names(folder: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        publish_in(folder, name)


def test_smoke_runs_are_not_published(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(group()[0].spec, smoke=True)
    write_runs(tmp_path / "runs", [msgspec.structs.replace(group()[0], spec=spec)])
    with pytest.raises(UsageError, match="--smoke"):
        publish_in(tmp_path, "wsd")


def test_a_folder_may_hold_several_records_itself(folder: Path) -> None:
    """As a folder of published records does."""
    flat = folder / "runs" / "flat"
    flat.mkdir()
    for record in group():
        shutil.move(folder / "runs" / record.run_id / RECORD, flat / f"{record.run_id}.json")
    for name in (flat, flat / f"{group()[0].run_id}.json"):
        (selected,) = select_groups([str(name)], folder / "runs", [])
        assert run_ids([run.record for run in selected.runs]) == run_ids(group())


# --- one step -----------------------------------------------------------------------------------


def test_a_failure_leaves_the_folder_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_in(folder, "wsd")
    before = contents(folder)
    write_runs(folder / "runs", group("adamw-cosine"))
    runs = contents(folder / "runs")

    def fail(*_: Path) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(staging, "exchange_folders", fail)
    with pytest.raises(StoreError, match="cannot be replaced in one step"):
        publish_in(folder, "adamw-cosine")
    assert contents(folder / "results") == {
        name.removeprefix("results/"): data for name, data in before.items() if name.startswith("results/")
    }
    assert contents(folder / "runs") == runs
    assert sorted(path.name for path in folder.iterdir()) == ["results", "runs"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".results.staged-1/deep").mkdir(parents=True)
    with staging.stage_changes(tmp_path / "results") as stage:
        (stage / "new").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_files_that_others_add_meanwhile_are_kept(tmp_path: Path) -> None:
    (tmp_path / "results/a").mkdir(parents=True)
    (tmp_path / "results/a/old").write_text("old")
    with staging.stage_changes(tmp_path / "results") as stage:
        (stage / "a/new").write_text("new")
        (tmp_path / "results/a/attestation").write_text("late")
    assert contents(tmp_path / "results") == {"a/attestation": b"late", "a/new": b"new", "a/old": b"old"}


def test_the_marks_of_the_old_folder_do_not_change_before_the_exchange(tmp_path: Path) -> None:
    append_mark(tmp_path, mark(0, "doubted"))
    before = (tmp_path / MARKS).read_bytes()

    with staging.stage_changes(tmp_path) as stage:
        append_lines(stage / MARKS, [mark(1, "doubted")])
        assert (tmp_path / MARKS).read_bytes() == before
    assert len((tmp_path / MARKS).read_bytes().splitlines()) == 2


def test_two_processes_do_not_publish_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.storage.marks._LOCK_TIMEOUT_S", 0.0)
    with lock_marks(tmp_path), pytest.raises(StoreError, match="locked by another process"):
        append_mark(tmp_path, mark(0, "doubted"))


@pytest.mark.slow
def test_a_killed_command_leaves_the_folder_as_before_or_as_after(folder: Path) -> None:
    """The process is killed at many file operations in turn."""
    before = folder / "results-before"
    shutil.copytree(REPOSITORY / "results" / FOLDER, before / "other/folder/wsd")
    for index in before.rglob("records-*"):
        index.unlink()
    (before / "LEADERBOARD.md").write_text("# Leaderboard\n")
    done = subprocess.run(
        [sys.executable, "-m", "tests.publishing.killing", str(folder), "3"],
        capture_output=True,
        text=True,
        env=python_process.environment(),
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    states = done.stdout.split("\n")[:-1]
    assert set(states) == {"before", "after"}
    assert states == sorted(states, reverse=True), "once the new content is there, it stays"
    assert min(states.count("before"), states.count("after")) > 2


# --- the command --------------------------------------------------------------------------------


def test_the_command_prints_what_to_type_for_a_pull_request(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    checkout = folder / "site"
    checkout.mkdir()
    assert cli.invoke(["publish", "wsd", "--to", "site"]) == 2
    assert "is not a checkout" in capsys.readouterr().err
    subprocess.run(["git", "init", "-q", "-b", "main", "site"], check=True)
    assert cli.invoke(["publish", "wsd", "--to", "site", "--dry-run"]) == 0
    assert "would publish 5 record(s) into site/results" in capsys.readouterr().out
    assert cli.invoke(["publish", "wsd", "--to", "site", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["schema"], shown["written"], shown["new_records"]) == (1, True, 5)
    switch, add, commit, push = shown["commands"]
    assert switch.startswith("git -C site switch -c publish-wsd-")
    assert add == "git -C site add results"
    assert commit == "git -C site commit -m 'Add results of wsd on resnet-digits'"
    assert push == "git -C site push -u origin HEAD"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (switch, add, commit.replace("git", f"git {' '.join(identity)}", 1)):
        subprocess.run(command, shell=True, check=True, capture_output=True)
    listed = subprocess.run(["git", "-C", "site", "status", "--short"], capture_output=True, text=True, check=True)
    assert listed.stdout == "", "everything that was published is committed"


def test_a_refusal_has_exit_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    shutil.rmtree(folder / "runs" / group()[2].run_id)
    assert cli.invoke(["publish", "wsd", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["written"], shown["refused"]) == (False, True)
    assert shown["groups"][0]["missing"] == [{"purpose": "score", "study": 2, "trial": 0, "horizon": None}]
    assert shown["groups"][0]["command"].startswith("bench run -s wsd -w resnet-digits")


def cost_group(*studies: int) -> TrialGroup:
    """The runs of `bench cost` of one submission, made of published runs."""
    (first, *_) = group()
    specs = [
        msgspec.structs.replace(first.spec, purpose="cost", ruleset=COST_RULESET, study=study, stop=1_024)
        for study in studies
    ]
    records = [msgspec.structs.replace(first, spec=spec, run_id=run_id(spec)) for spec in specs]
    runs = tuple(LocalRun(stored=stored(record), record=record) for record in records)
    return TrialGroup(key=group_key(specs[0]), runs=runs)


def test_runs_of_bench_cost_are_published_with_all_their_pairs() -> None:
    whole, with_a_gap = cost_group(0, 1, 2), cost_group(0, 2)
    assert find_obstacle(whole.spec) == ""
    assert find_gap(whole, "runs", no_listed_settings) is None
    gap = find_gap(with_a_gap, "elsewhere", no_listed_settings)
    assert gap is not None
    assert [str(index) for index in gap.missing] == ["cost study 1, trial 0"]
    assert gap.command == "bench cost wsd,REFERENCE -w resnet-digits --pairs 3 --intervals 4 --seed 1 --runs elsewhere"


def test_other_runs_under_the_ruleset_of_costs_are_not_published() -> None:
    spec = cost_group(0).spec
    assert "no run with the purpose score" in find_obstacle(msgspec.structs.replace(spec, purpose="score"))
    assert "no run with the purpose cost" in find_obstacle(msgspec.structs.replace(group()[0].spec, purpose="cost"))
