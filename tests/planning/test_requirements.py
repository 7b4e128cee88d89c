"""What a machine lacks for a plan: everything is said at once, and a dry run needs none of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import harness
from harness import cli
from harness.errors import MAX_MESSAGE, BenchError, DataError, UsageError, combine_errors
from harness.hardware import detect
from harness.planning.requirements import choose_workloads, runnable_workloads
from harness.plugins.registry import load_registry

REGISTRY = load_registry()
NEEDS_MUCH = ("lm-124m", "resnet50-imagenet", "resnet-fashion")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU and without data."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(detect, "all_gpus", tuple)
    monkeypatch.chdir(tmp_path)


def test_all_that_is_missing_is_in_one_error() -> None:
    with pytest.raises(UsageError) as caught:
        harness.plan("wsd", NEEDS_MUCH)
    assert [problem.what for problem in caught.value.problems] == [
        "lm-124m runs on a GPU and this machine has none",
        "lm-124m needs data that are not installed, 8.8 GB to download",
        "resnet50-imagenet runs on a GPU and this machine has none",
        "resnet50-imagenet needs data that are not installed",
        "resnet-fashion needs data that are not installed, 30.9 MB to download",
    ]
    assert caught.value.problems[1].fix == "bench data get fineweb-gpt2 --tokens 4.1B"
    assert caught.value.problems[3].fix == "bench data import imagenet FOLDER"
    assert str(caught.value).startswith("5 problems: lm-124m runs on a GPU")


def test_wrong_names_and_settings_are_listed_with_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """One command, one list: a name that is corrected never brings up the next refusal."""
    arguments = ["run", "-s", "wsd,wsdd", "-w", "resnet-fashion,lm-tny", "--set", "speed=1"]
    assert cli.invoke(arguments) == 2
    heading, *lines = capsys.readouterr().err.splitlines()
    assert heading == "bench: 4 problems"
    beginnings = (
        "  unknown submission 'wsdd'; did you mean 'wsd'?",
        "  unknown workload 'lm-tny'; did you mean 'lm-tiny'?",
        "  unknown hyperparameter of wsd 'speed'",
        "  resnet-fashion needs data",
    )
    assert all(line.startswith(beginning) for line, beginning in zip(lines, beginnings, strict=True)), lines
    assert cli.invoke(["--json-errors", *arguments]) == 2
    problems = json.loads(capsys.readouterr().err)["error"]["problems"]
    assert [problem["what"] for problem in problems] == [line[2:].partition(" (")[0] for line in lines]


def test_many_problems_are_a_message_of_the_usual_length(capsys: pytest.CaptureFixture[str]) -> None:
    names = ",".join(f"unknown-{i}" for i in range(20))
    assert cli.invoke(["run", "-s", "wsd", "-w", names]) == 2
    message = capsys.readouterr().err
    assert message.startswith("bench: 20 problems\n  unknown workload 'unknown-0'")
    assert len(message) <= MAX_MESSAGE
    assert message.endswith("  and 12 more; --json-errors lists all\n")


def test_one_problem_is_the_error_itself() -> None:
    with pytest.raises(DataError) as caught:
        harness.plan("wsd", "resnet-fashion")
    assert not caught.value.problems
    assert caught.value.fix == "bench data get fashion-mnist"


@pytest.mark.parametrize("command", ["run -s wsd", "tune wsd --trials 2"])
def test_a_dry_run_needs_neither_gpu_nor_data(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([*command.split(), "-w", "lm-124m", "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert "lm-124m runs on a GPU and this machine has none" in captured.err
    assert "8.8 GB to download (bench data get fineweb-gpt2 --tokens 4.1B)" in captured.err
    assert not list(Path.cwd().iterdir()), "nothing was written"


def test_a_dry_run_says_what_is_missing_and_a_limit_of_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", "-s", "wsd", "-w", ",".join(NEEDS_MUCH), "--dry-run"]) == 0
    out = capsys.readouterr().out
    limit = REGISTRY.workload("lm-124m").facts.budget.seconds["default"]
    assert f"≤ {limit // 3600:.0f} h" in out
    assert cli.invoke(["run", "-s", "wsd", "-w", ",".join(NEEDS_MUCH), "--dry-run", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["missing"]) == 5
    assert all(set(problem) == {"what", "fix"} for problem in printed["missing"])
    (first, *_) = printed["specs"]
    assert (first["seconds"], first["seconds_limit"]) == (None, limit)


def test_a_disk_that_is_too_small_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, 10**9))
    missing: list[BenchError] = []
    runnable_workloads(["lm-124m"], REGISTRY, None, True, [], missing)
    assert [problem.fix for problem in missing] == [
        "bench data get fineweb-gpt2 --tokens 4.1B",
        "set BENCH_DATA to a folder with more space",
    ]
    assert "need 8.8 GB" in missing[1].what
    assert "1.0 GB of free space" in missing[1].what


def test_too_many_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "gpu_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(detect, "gpus_of_run", lambda device, ranks=1, visible=(): (object(),) * min(ranks, 2))
    assert not choose_workloads(["lm-124m-synthetic"], REGISTRY, None, False, ranks=2).missing
    (problem,) = choose_workloads(["lm-124m-synthetic"], REGISTRY, None, False, ranks=8).missing
    assert problem.what == "--device cuda --gpus 8: this machine has 2 of these GPUs"
    assert problem.fix == "use --gpus 2"


def test_a_long_list_of_problems_is_cut_and_every_remedy_stays() -> None:
    errors = [UsageError(f"the name {i:02} is not known here", fix=f"choose {i:02} of {'x' * 300}") for i in range(30)]
    combined = combine_errors([*errors, *errors])
    assert len(combined.problems) == 30
    assert "; and 2" in combined.what
    assert len(combined.what) < 300
    assert combined.fix is not None
    assert all(f"choose {i:02}" in combined.fix for i in range(combined.what.count("the name")))
    assert combine_errors(errors[:1]) is errors[0]
