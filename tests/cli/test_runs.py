"""`bench runs` and `bench note`: which runs are listed, in which order, and what was written about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import cli
from tests.report import synthetic

Listed = Callable[..., list[str]]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs of `alpha` with other learning rates, one of `beta`, each in its folder."""
    records = [synthetic.exploring(study=study, lr=lr) for study, lr in enumerate((0.1, 0.003, 0.01))]
    return synthetic.write(tmp_path / "runs", [*records, synthetic.record("beta")])


@pytest.fixture
def listed(runs: Path, capsys: pytest.CaptureFixture[str]) -> Listed:
    """The run ids that `bench runs` lists with these arguments."""

    def run(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert cli.invoke(["runs", "--runs", str(runs), "--results", "none", "--json", *arguments]) == 0
        return [entry["run_id"] for entry in json.loads(capsys.readouterr().out)["runs"]]

    return run


def test_control_characters_of_a_note_and_a_reason_are_shown_and_do_not_act(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = synthetic.record("gamma", reason="bad \x1b]0;title\x07 \u202e end")
    synthetic.write(runs, [failed])
    folder = runs / failed.run_id
    assert cli.invoke(["note", failed.run_id, "--runs", str(runs), "see \x1b[2J here"]) == 0
    for arguments in (["show", failed.run_id], ["runs"], ["note", failed.run_id]):
        assert cli.invoke([*arguments, "--runs", str(runs)]) == 0
        out = capsys.readouterr().out
        assert not any(character in out for character in "\x1b\x07\u202e"), arguments
    assert folder.exists()
    assert r"\x1b[2J" in out


def test_filters_choose_by_submission_setting_and_status(listed: Listed) -> None:
    everything = listed()
    assert len(everything) == 4
    (beta,) = listed("-s", "beta")
    (one,) = listed("--where", "lr=3e-3")
    assert {beta, one} < set(everything)
    assert len(listed("-s", "alpha", "-w", "hills@1")) == 3
    assert listed("--status", "crashed") == []
    assert len(listed("--limit", "2")) == 2


def test_filters_take_ranges_several_values_and_failures(listed: Listed) -> None:
    assert len(listed("--where", "lr=3e-3..1e-2")) == 2
    assert len(listed("--where", "lr=0.003,0.1")) == 2
    assert listed("--where", "lr=1..2") == []
    assert listed("--where", "shape=COSINE") == listed("--where", "shape=cosine") != []
    assert listed("--failed") == []


def test_a_limit_keeps_the_latest_runs_or_the_best(listed: Listed) -> None:
    assert listed("--limit", "2") == listed()[-2:]
    assert listed("--sort", "metric", "--limit", "2") == listed("--sort", "metric")[:2]


def test_runs_are_sorted_by_their_best_metric(runs: Path, listed: Listed, capsys: pytest.CaptureFixture[str]) -> None:
    order = listed("--sort", "metric")
    cli.invoke(["runs", "--runs", str(runs), "--results", "none", "--json"])
    best = {entry["run_id"]: entry["best"] for entry in json.loads(capsys.readouterr().out)["runs"]}
    assert [best[run] for run in order] == sorted(best.values())


def test_a_note_is_written_printed_and_searched(runs: Path, listed: Listed, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = listed("-s", "beta")
    (runs / run).mkdir(exist_ok=True)
    assert cli.invoke(["note", run, "with", "twice the decay", "--runs", str(runs)]) == 0
    assert capsys.readouterr().err == f"noted on {run}\n"
    assert cli.invoke(["note", run, "with", "twice the decay", "--runs", str(runs)]) == 0
    assert capsys.readouterr().err == f"noted on {run} (it replaces 'with twice the decay')\n"
    assert cli.invoke(["note", run, "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == "with twice the decay\n"
    assert listed("--noted", "TWICE") == [run]
    assert cli.invoke(["runs", "--runs", str(runs), "--results", "none", "-s", "beta"]) == 0
    assert "with twice the decay" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs", "--where", "lr"], "of the form NAME=VALUE (write for example --where lr=3e-4"),
        (["runs", "--sort", "luck"], "is not one of"),
        (["runs", "--since", "yesterday"], "--since 'yesterday' is not a date (write it as in 2026-01-31)"),
        (["runs", "--status", "exausted"], "unknown status 'exausted'; did you mean 'exhausted'?"),
        (["runs", "--where", "lr=1", "--where", "lr=2"], "--where lr is given twice: 1 and 2"),
        (["note", "run-nothing"], "no run 'run-nothing'"),
    ],
)
def test_a_mistake_is_one_line(
    runs: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke([*arguments, "--runs", str(runs), "--results", "none"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_no_run_is_a_remark_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").mkdir()
    assert cli.invoke(["runs", "--runs", str(tmp_path / "runs"), "--results", "none"]) == 0
    assert "no run matches" in capsys.readouterr().err
