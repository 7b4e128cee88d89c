"""The workflow that validates a pull request of results: its commands exist, and its steps accept and refuse."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml

from harness.cli.app import app
from harness.contract.marks import Mark
from harness.storage.marks import append_mark
from harness.storage.records import encode
from harness.system import python_process
from tests.publishing.local_runs import group, publish_in, write_runs
from tests.verification.forging import REPOSITORY

WORKFLOWS = REPOSITORY / ".github/workflows"


def read(name: str) -> dict[Any, Any]:
    content = yaml.safe_load((WORKFLOWS / name).read_text())
    assert isinstance(content, dict)
    return content


def steps() -> list[dict[str, Any]]:
    return list(read("validate-results.yml")["jobs"]["validate"]["steps"])


def commands() -> list[list[str]]:
    """Every call of `bench` in a step, as words."""
    lines = "\n".join(step.get("run", "") for step in steps()).replace("|\n", "|").splitlines()
    calls = [match for line in lines for match in re.findall(r"(?:^|[ |;(])(bench [^|;)]*)", line.split("echo")[0])]
    return [shlex.split(call.split(">")[0]) for call in calls]


def require_command(words: list[str]) -> None:
    """Check that a command and its options exist."""
    command: click.Command | None = app
    rest = words[1:]
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(app), rest.pop(0))
    assert command is not None, words
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known, words


def test_the_commands_of_the_workflow_exist() -> None:
    assert {" ".join(words[1:3]) for words in commands()} >= {"results verify", "verify --against"}
    for words in commands():
        require_command(words)


def test_the_commands_of_the_page_exist() -> None:
    blocks = (REPOSITORY / "docs/publishing.md").read_text().split("```")[1::2]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("bench ")]
    assert len(lines) >= 9
    for line in lines:
        require_command(shlex.split(line, comments=True))


def test_inputs_and_permissions() -> None:
    workflow = read("validate-results.yml")
    inputs = set(workflow[True]["workflow_call"]["inputs"])  # YAML reads the key `on` as a truth value
    text = (WORKFLOWS / "validate-results.yml").read_text()
    assert set(re.findall(r"inputs\.(\w+)", text)) == inputs
    assert workflow["permissions"] == {"contents": "read"}
    scripts = "".join(step.get("run", "") for step in steps())
    assert "${{" not in scripts, "a name from a pull request must not become a part of a script"
    caller = read("results.yml")["jobs"]["validate"]
    assert caller["uses"] == "./.github/workflows/validate-results.yml"
    assert set(caller["with"]) <= inputs


class Repository:
    """A repository with the published records of one submission, as its main branch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_runs(folder / "runs", group("adamw-cosine"))
        publish_in(folder, "adamw-cosine")
        (folder / ".gitignore").write_text("runs\nbin\n")
        self.git("init", "-q", "-b", "main")
        self.commit()
        self.base = self.git("rev-parse", "HEAD").strip()
        binary = folder / "bin/bench"
        binary.parent.mkdir()
        binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness.cli "$@"\n')
        binary.chmod(0o755)

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "-qm", "change")

    def failing_step(self) -> tuple[str, str]:
        """The name and the output of the first step that fails; empty if the pull request is valid."""
        environment = {
            **python_process.environment(),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FOLDER": "results",
            "BASE": self.base,
            "RUNNER_TEMP": str(self.folder / "bin"),
        }
        for step in steps():
            if "run" not in step or step["name"] == "Install":
                continue
            # The shell of GitHub's runners.
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(shell, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                return step["name"], done.stdout + done.stderr
        return "", ""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.slow
def test_a_valid_pull_request_passes(repository: Repository) -> None:
    write_runs(repository.folder / "runs", group("wsd"))
    publish_in(repository.folder, "wsd")
    repository.commit()
    assert repository.failing_step() == ("", "")


@pytest.mark.slow
def test_a_copy_of_a_published_record_fails(repository: Repository) -> None:
    other = group("wsd")[0]
    copied = msgspec.structs.replace(group("adamw-cosine")[0], run_id=other.run_id, spec=other.spec)
    path = repository.folder / "results/new/folder" / f"{other.run_id}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(encode(copied))
    repository.commit()
    name, output = repository.failing_step()
    assert name == "New records pass all checks"
    assert "copies: it has the" in output


def test_a_changed_record_fails(repository: Repository) -> None:
    shard = next(repository.folder.glob("results/*/*/*/*.jsonl.xz"))
    shard.write_bytes(shard.read_bytes() + b"x")
    repository.commit()
    name, output = repository.failing_step()
    assert name == "Published records do not change"
    assert shard.name in output


def test_a_removed_line_of_the_marks_fails(repository: Repository) -> None:
    record = group("adamw-cosine")[0]
    mark = Mark(time="2026", event="doubted", run_id=record.run_id, record=record.content_hash, why="odd")
    append_mark(repository.folder / "results", mark)
    repository.commit()
    repository.base = repository.git("rev-parse", "HEAD").strip()
    (repository.folder / "results/marks.jsonl").write_text("")
    repository.commit()
    assert "only appended" in repository.failing_step()[1]


@pytest.mark.slow
def test_a_stale_page_fails(repository: Repository) -> None:
    (repository.folder / "results/LEADERBOARD.md").write_text("# Leaderboard\n\nI win.\n")
    repository.commit()
    assert "Draw the tables again" in repository.failing_step()[1]
