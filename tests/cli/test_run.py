"""`bench run` beyond one trial: sweep files, plans and what they will cost, rulesets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import cli
from harness.contract.record import Record, TrialSummary, Usage
from harness.contract.run import Counters
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import load_registry
from harness.storage import records
from harness.storage.layout import run_id
from harness.storage.run_folder import RunFolder

Bench = Callable[..., Any]

SWEEP = """
submissions: [wsd, d2z]
workloads: resnet-digits
ruleset: external
studies: 2
set: {batch_size: 32}
jobs: 2
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run `bench` in this process, in an empty folder; returns (code, out, err)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.invoke(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_sweep_file_is_a_plan(bench: Bench) -> None:
    Path("sweep.yaml").write_text(SWEEP)
    code, out, _ = bench("run", "sweep.yaml", "--dry-run", "--json")
    assert code == 0
    specs = [one["spec"] for one in json.loads(out)["specs"]]
    assert len(specs) == 2 * 2 * 5
    assert {s["submission"]["name"] for s in specs} == {"wsd", "d2z"}
    assert {s["hparams"]["batch_size"] for s in specs} == {32}
    assert {s["ruleset"]["name"] for s in specs} == {"external"}
    assert len({one["run_id"] for one in json.loads(out)["specs"]}) == 20


def test_a_flag_is_stronger_than_the_sweep_file(bench: Bench) -> None:
    Path("sweep.yaml").write_text(SWEEP)
    _, out, _ = bench("run", "sweep.yaml", "--dry-run", "--json", "--studies", "1", "-s", "adamw-cosine")
    specs = [one["spec"] for one in json.loads(out)["specs"]]
    assert len(specs) == 5
    assert {s["submission"]["name"] for s in specs} == {"adamw-cosine"}


def test_tuning_studies_come_from_a_flag_or_from_the_sweep_file(bench: Bench) -> None:
    asked = ("run", "-s", "wsd", "-w", "resnet-digits", "--ruleset", "fixed-budget", "--dry-run", "--json")
    _, out, _ = bench(*asked, "--tuning-studies", "3")
    assert Counter(one["spec"]["purpose"] for one in json.loads(out)["specs"]) == {"tuning": 15}
    sweep = "submissions: [wsd]\nworkloads: [resnet-digits]\nruleset: fixed-budget\ntuning_studies: 2\n"
    Path("sweep.yaml").write_text(sweep)
    _, out, _ = bench("run", "sweep.yaml", "--dry-run", "--json")
    assert len(json.loads(out)["specs"]) == 10
    Path("sweep.yaml").write_text(
        "submissions: [wsd]\nworkloads: [resnet-digits, resnet-synthetic]\nruleset: fixed-budget\n"
        "tuning_studies: {resnet-digits: 3}\n"
    )
    _, out, _ = bench("run", "sweep.yaml", "--dry-run", "--json")
    names = Counter(one["spec"]["workload"]["facts"]["name"] for one in json.loads(out)["specs"])
    assert names == {"resnet-digits": 15, "resnet-synthetic": 5}
    _, out, _ = bench("run", "sweep.yaml", "--dry-run", "--json", "-w", "resnet-digits", "--tuning-studies", "2")
    assert len(json.loads(out)["specs"]) == 10
    code, _, err = bench("run", "-s", "wsd", "-w", "resnet-digits", "--tuning-studies", "3")
    assert code == 2
    assert "quick has no tuning studies" in err


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("submissions: [wsd]\nworkloads: [lm-tiny]\nstudise: 3\n", "studies"),
        ("submissions: [wsd]\nworkloads: [lm-tiny]\ntuning_studies: {lm-tny: 3}\n", "lm-tiny"),
        ("submissions: [wsd]\nworkloads: [lm-tiny]\ntuning_studies: {lm-tiny: -1}\n", "tuning_studies"),
        ("submissions: [wsd]\n", "workloads"),
        ("submissions: [wsd]\nworkloads: [lm-tiny]\nstudies: many\n", "studies"),
        ("submissions: [wsd\n", "not YAML"),
        ("just words\n", "mapping"),
    ],
)
def test_a_bad_sweep_file_is_one_line(bench: Bench, text: str, word: str) -> None:
    Path("sweep.yaml").write_text(text)
    code, out, err = bench("run", "sweep.yaml", "--dry-run")
    assert (code, out) == (2, "")
    assert word in err
    assert "Traceback" not in err


def test_several_values_are_a_grid_on_the_command_line_and_in_a_file(bench: Bench) -> None:
    asked = ("run", "-s", "wsd", "-w", "resnet-digits", "--dry-run", "--json")
    _, out, _ = bench(*asked, "--set", "lr=1e-3,3e-3", "--set", "warmup=0.1,0.2", "--studies", "2")
    specs = [one["spec"] for one in json.loads(out)["specs"]]
    assert len(specs) == 2 * 2 * 2
    assert {(s["hparams"]["lr"], s["hparams"]["warmup"]) for s in specs} == {
        (lr, warmup) for lr in (1e-3, 3e-3) for warmup in (0.1, 0.2)
    }
    assert {tuple(s["overridden"]) for s in specs} == {("lr", "warmup")}
    Path("grid.yaml").write_text(
        "submissions: wsd\nworkloads: resnet-digits\nset: {lr: [0.001, 0.003], shape: linear}\n"
    )
    _, out, _ = bench("run", "grid.yaml", "--dry-run", "--json")
    assert [one["spec"]["hparams"]["lr"] for one in json.loads(out)["specs"]] == [1e-3, 3e-3]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("lr=1", "lr=2"), "--set lr is given twice: 1 and 2 (keep one of them; bench run --set lr=1,2 runs both"),
        (("lr=1e-3,0.001",), "1e-3 and 0.001 are equal"),
        (("lr=1e-3,,1e-2",), "lacks a value before or after one of its commas"),
        (("lr=1e-3,-1",), "lr=-1: lr=-1 is out of range"),
        (("lr=1e-3,x",), "lr=x: lr=x must be a number"),
    ],
)
def test_a_mistake_in_a_grid_is_one_line(bench: Bench, settings: tuple[str, ...], words: str) -> None:
    flags = [word for setting in settings for word in ("--set", setting)]
    code, out, err = bench("run", "-s", "wsd", "-w", "resnet-digits", "--dry-run", *flags)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_key_of_a_yaml_file_that_is_given_twice_is_refused(bench: Bench) -> None:
    Path("twice.yaml").write_text("submissions: wsd\nworkloads: lm-tiny\nset:\n  lr: [0.1, 0.2]\n  lr: 0.3\n")
    code, _, err = bench("run", "twice.yaml", "--dry-run")
    assert code == 2
    assert "twice.yaml: lr is given twice: [0.1, 0.2] and 0.3 (line 5)" in err
    assert "set: {lr: [0.1, 0.2, 0.3]}" in err
    Path("bench.yaml").write_text("seed: 1\nseed: 2\n")
    assert "bench.yaml: seed is given twice: 1 and 2" in bench("run", "-s", "wsd", "-w", "lm-tiny", "--dry-run")[2]


def test_without_a_name_it_says_what_to_give(bench: Bench) -> None:
    code, _, err = bench("run", "-w", "lm-tiny")
    assert code == 2
    assert "no submissions are named" in err
    code, _, err = bench("run", "missing.yaml")
    assert code == 2
    assert "cannot read missing.yaml" in err


def test_a_dry_run_estimates_by_earlier_records(bench: Bench) -> None:
    registry = load_registry()
    (spec, other) = plan_trials(
        registry.workload("resnet-digits"),
        registry.submission("wsd"),
        registry,
        PlanSettings(ruleset=rulesets.ruleset("quick"), studies=2, seed=7),
    )
    for one, seconds in ((spec, 10.0), (other, 20.0)):
        record = Record(
            run_id=run_id(one),
            spec=one,
            status="exhausted",
            counters=Counters(seconds=seconds),
            usage=Usage(evaluation_seconds=1.0),
        )
        folder = RunFolder(Path("runs"), record.run_id)
        with folder.lock():
            folder.write(record)
    _, out, _ = bench("run", "-s", "wsd,d2z", "-w", "resnet-digits", "--dry-run", "--json")
    # d2z has no record of its own here: what others took on this workload stands in.
    assert [one["seconds"] for one in json.loads(out)["specs"]] == [20.0, 20.0]
    _, out, err = bench("run", "-s", "wsd", "-w", "lm-tiny,resnet-digits", "--dry-run", "--jobs", "1")
    assert "2 trials; about 20.0 s with 1 at once" in err
    assert "no earlier record from this hardware for 1" in err
    # Of the three planned one has ended before; it costs nothing any more.
    _, _, err = bench(
        "run", "-s", "wsd", "-w", "resnet-digits", "--studies", "3", "--seed", "7", "--dry-run", "--jobs", "1"
    )
    assert "3 trials, 2 of them finished; about 20.0 s with 1 at once" in err
    _, _, err = bench("run", "-s", "wsd", "-w", "resnet-digits", "--smoke", "--dry-run")
    assert "no earlier record from this hardware for 1" in err
    assert not Path("runs", "superseded").exists()


def test_rulesets_are_listed_whole(bench: Bench) -> None:
    code, out, _ = bench("rulesets")
    assert code == 0
    for name in ("quick", "external", "self-tuning", "fixed-stop", "anytime"):
        assert f"{name}@1" in out
    _, out, _ = bench("rulesets", "--json")
    assert {one["name"]: one["trials"] for one in json.loads(out)["rulesets"]}["external"] == 5


def test_an_executor_option_without_a_value_is_said_so(bench: Bench) -> None:
    code, _, err = bench("run", "-s", "wsd", "-w", "resnet-digits", "--executor-option", "address")
    assert code == 2
    assert "--executor-option address must be of the form NAME=VALUE" in err


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("options: {nope: 1}", "the local executor has no option nope"),
        ("executor: slurm\noptions: {queue: long}", "the slurm executor has no option 'queue'"),
        ("executor: ray\noptions: {shared: perhaps}", "executor option shared=perhaps must be yes or no"),
        ("runs: ''", "sweep.yaml: runs is an empty text"),
        ("executor: ' '", "sweep.yaml: executor is an empty text"),
    ],
)
def test_a_dry_run_checks_the_options_of_the_executor_and_empty_texts(bench: Bench, line: str, problem: str) -> None:
    Path("sweep.yaml").write_text(f"submissions: wsd\nworkloads: resnet-digits\n{line}\n")
    code, _, err = bench("run", "sweep.yaml", "--dry-run")
    assert code == 2
    assert problem in err


def test_a_trial_is_planned_once_whatever_names_denote_it(bench: Bench) -> None:
    Path("sweep.yaml").write_text(
        "submissions: [wsd, 'algorace:wsd']\nworkloads: [resnet-digits, 'algorace:resnet-digits']\n"
    )
    code, out, err = bench("run", "sweep.yaml", "--dry-run", "--json")
    assert code == 0, err
    assert len(json.loads(out)["specs"]) == 1


def test_in_process_takes_one_trial(bench: Bench) -> None:
    code, _, err = bench("run", "-s", "wsd,d2z", "-w", "resnet-digits", "--in-process")
    assert code == 2
    assert "--in-process runs only one trial, but the plan has 2" in err


@pytest.mark.slow
def test_retry_failed_starts_anew_what_failed_and_keeps_the_rest(bench: Bench) -> None:
    command = ("run", "-s", "wsd", "-w", "continual-digits", "--smoke", "--runs", "r")
    assert bench(*command)[0] == 0
    (path,) = Path("r").glob("run-*/record.json")
    ended = records.read_record(path)
    assert "1 had already finished" in bench(*command, "--retry-failed")[1]
    with RunFolder(Path("r"), ended.run_id).lock():
        RunFolder(Path("r"), ended.run_id).write(msgspec.structs.replace(ended, status="crashed", reason="a test's"))
    code, out, _ = bench(*command)
    assert code == 1, "a crash is kept, and said"
    assert "1 crashed (1 had already finished; --retry-failed reruns the 1 that failed)" in out
    assert bench(*command, "--retry-failed")[0] == 0
    assert records.read_record(path).status == ended.status
    assert len(list(Path("r", "superseded").iterdir())) == 1


def test_what_became_of_trials_is_told_in_the_order_of_the_plan(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever ends first: two lists of one plan can be laid side by side."""
    asked = ("run", "-s", "wsd,d2z", "-w", "resnet-digits", "--studies", "2", "--smoke")
    _, out, _ = bench(*asked, "--dry-run", "--json")
    planned = [one["run_id"] for one in json.loads(out)["specs"]]

    def backwards(specs: Any, runs: Path, *rest: Any) -> Any:
        for spec in reversed(specs):
            record = Record(run_id=run_id(spec), spec=spec, status="exhausted")
            folder = RunFolder(runs, record.run_id)
            folder.path.mkdir(parents=True)
            folder.record_path.write_bytes(records.encode(record))
            yield TrialSummary(run_id=record.run_id, spec=spec, status="exhausted", path=str(folder.path))

    monkeypatch.setattr("harness.execution.run_trials.load_object", lambda load: backwards)
    code, out, _ = bench(*asked, "--json")
    assert code == 0
    assert [one["run_id"] for one in json.loads(out)["records"]] == planned
    assert len(planned) == 4
