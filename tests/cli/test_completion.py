"""Completion in shells: the scripts, the names that are completed, and a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from harness import cli
from harness.cli.app import app
from harness.cli.completion import VARIABLE

ROOT = Path(__file__).resolve().parent.parent.parent
RUN_IDS = ("run-1f2e3d4c5b6a", "run-1f00aabbccdd", "run-9900aabbccdd")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with runs, of which only the names exist, and a program `bench` on the PATH."""
    for name in (*RUN_IDS, "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    program = tmp_path / "bin" / "bench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness.cli "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environment(folder: Path, **variables: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", **variables}


@pytest.fixture
def complete(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Return what is offered for the last word of a line."""
    monkeypatch.chdir(folder)

    def call(line: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        return BashComplete(app, {}, "bench", VARIABLE).complete().splitlines()

    return call


def test_names_are_completed(complete: Callable[[str], list[str]]) -> None:
    assert complete("bench le") == ["plain,leaderboard"]
    assert "plain,adamw-cosine" in complete("bench run -s adamw-c")
    assert complete("bench run -s wsd,muon-w") == ["plain,wsd,muon-wsd"]
    assert complete("bench gate wsd -w lm-ti") == ["plain,lm-tiny", "plain,lm-tiny+postnorm"]
    assert complete("bench run --ruleset quic") == ["plain,quick"]
    assert complete("bench data get mni") == ["plain,mnist"]
    assert complete("bench diff run-1f") == [f"plain,{name}" for name in sorted(RUN_IDS[:2])]
    assert complete("bench run -s ./mi") == ["file,./mi"]


def test_runs_are_those_of_the_folder_of_the_command(folder: Path, complete: Callable[[str], list[str]]) -> None:
    (folder / "elsewhere" / "run-77aabb").mkdir(parents=True)
    assert complete("bench note --runs elsewhere run-") == ["plain,run-77aabb"]
    (folder / "bench.yaml").write_text("runs: elsewhere\n")
    assert complete("bench show run-") == ["plain,run-77aabb"]
    (folder / "bench.yaml").write_text("runs: [\n")
    assert complete("bench show run-") == ["file,run-"], "a broken project file breaks no shell"


def test_completion_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from harness.cli import main\n"
        "try:\n    main([])\n"
        "finally:\n"
        "    print({'torch', 'pandas', 'scipy', 'rich', 'numpy'} & set(sys.modules), file=sys.stderr)\n"
    )
    variables = {VARIABLE: "bash_complete", "COMP_WORDS": "bench show sgd-nes", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder, **variables), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr.strip()) == ("plain,sgd-nesterov", "set()")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(folder: Path) -> None:
    script = (
        'eval "$(bench completion bash)"\n'
        "COMP_WORDS=(bench compare wsd muon-w); COMP_CWORD=3\n"
        '_bench_completion bench muon-w wsd\necho "${COMPREPLY[@]}"\n'
        "complete -p bench\n"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=folder, env=environment(folder), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["muon-wsd", "complete -o nosort -F _bench_completion bench"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_calls_bench(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_BENCH_COMPLETE={shell}_complete" in script
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True, capture_output=True)


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
