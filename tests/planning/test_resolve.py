"""Names of submissions and workloads: an existing path wins over the meaning of a comma or a colon in it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import harness
from harness import cli
from harness.cli import cost
from harness.contract.entries import SubmissionEntry
from harness.errors import UsageError
from harness.gating.series import SeriesFile, SeriesSide
from harness.planning import plan
from harness.planning.resolve import check_distinct_names, resolve_submission, resolve_workloads, split_names
from harness.plugins.locating import split_file_name
from harness.plugins.registry import load_registry
from tests import micro

SUBMISSION = """
from harness.api import Fixed, Recipe

def optimizer(parameters, lr):
    import torch
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr)

Mine = Recipe(optimizer=optimizer, search_space={"lr": Fixed(0.1)})
"""
FOLDERS = ("2025-01-01T12:30:00", "lr=0.1,wd=0.2", "with spaces ünï", "a:1,b:2", "a.py,b")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str = SUBMISSION) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


@pytest.mark.slow
@pytest.mark.parametrize("where", FOLDERS)
def test_a_file_in_a_folder_of_any_name(folder: Path, where: str) -> None:
    path = write(f"{where}/mine.py")
    for name in (path, f"./{path}:Mine", str(folder / path)):
        assert split_names([f"wsd,{name}", name]) == ["wsd", name]
    assert (resolve_submission(path, load_registry()).load or "").endswith("mine.py:Mine")


@pytest.mark.slow
def test_a_workload_in_a_folder_of_any_name(folder: Path) -> None:
    name = write("12:30,x/task.py", Path(micro.__file__).read_text()) + ":Micro"
    assert split_names([f"{name},lm-tiny"]) == [name, "lm-tiny"]
    assert resolve_workloads(name, load_registry())[0].facts.name == micro.ENTRY.facts.name


@pytest.mark.slow
def test_every_entrance_takes_such_a_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write("a:1,b:2/mine,2.py")
    assert {s.study for s in harness.plan(f"{name}:Mine,wsd", "resnet-digits", studies=2)} == {0, 1}
    assert len(list(harness.plan([name, "wsd"], ["resnet-digits"], studies=1))) == 2
    Path("sweep.yaml").write_text(f'submissions: ["{name}", "wsd"]\nworkloads: resnet-digits\nstudies: 1\n')
    assert cli.invoke(["run", "sweep.yaml", "--dry-run"]) == 0
    assert cli.invoke(["run", "-s", f"wsd,{name}", "-w", "resnet-digits", "--smoke", "--dry-run"]) == 0
    assert cli.invoke(["show", f"{name}:Mine"]) == 0
    assert "mine" in capsys.readouterr().out


def test_a_list_of_files_is_still_a_list(folder: Path) -> None:
    write("a.py")
    write("b.py")
    assert split_names(["a.py,b.py", "a.py:Mine,./none.py, wsd"]) == ["a.py", "b.py", "a.py:Mine", "./none.py", "wsd"]
    write("a.py,b.py")
    assert split_names(["a.py,b.py"]) == ["a.py,b.py"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("mine.py", ("mine.py", None)),
        ("mine.py:Mine", ("mine.py", "Mine")),
        ("12:30/mine.py", ("12:30/mine.py", None)),
        ("12:30/mine.py:Mine", ("12:30/mine.py", "Mine")),
        ("torch.optim:Adam", None),
        ("wsd", None),
        ("tier:cpu", None),
    ],
)
def test_one_function_splits_a_path(text: str, parts: tuple[str, str | None] | None) -> None:
    assert split_file_name(text) == parts


@pytest.mark.parametrize(
    "name", ["12:30/none.py", "a,b/none.py:Mine", "~nobody-here/none.py", "x" * 5000 + ".py", "\0.py"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        resolve_submission(name, load_registry())


def test_a_series_finds_its_copies(folder: Path) -> None:
    series = SeriesFile(Path("series.json"), "series")
    side = SeriesSide(asked="12:30/mine.py", source="0" * 64, copy="series/0/mine.py")
    assert series.spelling(side) == "series/0/mine.py"
    assert series.spelling(msgspec.structs.replace(side, asked="12:30/mine.py:Mine")) == "series/0/mine.py:Mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["calibrate", "--dry-run", "tier:cpu"],
        ["show", "wsd", "-w", "tier:gpu"],
        ["show", "schedule:rex", "-w", "tier:cpu"],
    ],
)
def test_a_tier_is_not_one_workload(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(arguments) == 2
    assert "workloads, but one is needed" in capsys.readouterr().err


def test_two_submissions_of_equal_name_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their records would be merged. The same submission may be named twice."""

    def entry(name: str, _registry: object = None) -> SubmissionEntry:
        return SubmissionEntry(name=Path(name).stem, summary="", load=f"{Path(name).resolve()}:Mine")

    one, two = "a/mine.py", "b/mine.py"
    check_distinct_names({one: entry(one), f"./{one}": entry(one), "b/other.py": entry("b/other.py")})
    problem = r"a/mine.py and b/mine.py are both called mine \(rename one of them\)"
    with pytest.raises(UsageError, match=problem):
        check_distinct_names({one: entry(one), two: entry(two)})
    monkeypatch.setattr(plan, "resolve_submission", entry)
    with pytest.raises(UsageError, match=problem):
        harness.plan([one, two], "resnet-digits", ruleset="fixed-budget")
    monkeypatch.setattr(cost, "resolve_submission", entry)
    assert cli.invoke(["cost", f"{one},{two}", "-w", "resnet-digits"]) == 2
