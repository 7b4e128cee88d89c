"""docs/getting-started.md: an author's commands from a file to published records, and a reader's check of them."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents import ROOT, find_blocks, join_continued
from tests.test_third_party import Site

PAGE = "docs/getting-started.md"
#: What `make demo` installs into its environment, and the envelope of the gate.
CHECKOUT = ("harness", "workloads", "submissions", "calibration")
FILES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
#: Without a network: the package is built with the installed tools, and no relay of the beacon answers.
OFFLINE = {"PIP_NO_BUILD_ISOLATION": "false", "PIP_NO_INDEX": "1", "BENCH_BEACON": "http://127.0.0.1:9"}
#: Better; worse, equivalent or identical; undecided.
VERDICTS = (0, 1, 4)


def read_commands() -> tuple[list[str], list[str], list[str]]:
    """The commands of the page: those before the file is written, those of the author, and those of the reader."""
    blocks = find_blocks(PAGE, (ROOT / PAGE).read_text(encoding="utf-8"))
    before, author, reader = (join_continued(block.text) for block in blocks if block.language == "bash")
    return before, author, reader


def optimizer_of_the_readme() -> str:
    (text,) = (
        block.text
        for block in find_blocks("README.md", (ROOT / "README.md").read_text(encoding="utf-8"))
        if block.text.startswith("# my_optimizer.py")
    )
    return text


def copy_checkout(folder: Path) -> None:
    for name in CHECKOUT:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)


def make_environment(folder: Path) -> Site:
    """An environment with the commands `bench` and `pip`, and this project installed from a copy of the checkout."""
    site = Site(folder)
    (folder / "algorace").mkdir()
    copy_checkout(folder / "algorace")
    site.environment |= {**OFFLINE, "PATH": f"{site.python.parent}:{site.environment['PATH']}"}
    site.environment.pop("PYTHONPATH", None)
    for program, module in (("bench", "harness.cli"), ("pip", "pip")):
        script = site.python.parent / program
        script.write_text(f'#!/bin/sh\nexec "{site.python}" -m {module} "$@"\n')
        script.chmod(0o755)
    return site


def type_command(line: str, site: Site, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command of the page in the checkout; print its processor time; return what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=site.folder / "algorace",
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{seconds:6.1f} s  {line}")
    assert done.returncode in codes, f"{line}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_page_has_at_most_eight_commands_after_the_file() -> None:
    before, author, reader = read_commands()
    assert "cd algorace" in before[0]
    assert len(author) + len(reader) <= 8
    steps = (r"bench tune", r"bench gate", r"bench new", r"pip install", r"bench check", r"bench run", r"bench publish")
    assert all(re.match(step, line) for step, line in zip(steps, author, strict=True))
    assert [line.split("#")[0].strip() for line in reader] == ["bench verify ../algorace-results/results"]


@pytest.mark.slow
def test_the_commands_lead_to_records_that_somebody_else_verifies(tmp_path: Path) -> None:
    before, author, reader = read_commands()
    site = make_environment(tmp_path / "author")
    type_command("pip install --quiet --no-deps -e .", site)
    (make_repository,) = (line for line in before if line.startswith("git init"))
    type_command(make_repository, site)
    (site.folder / "algorace/my_optimizer.py").write_text(optimizer_of_the_readme())
    for line in author:
        published = type_command(line, site, VERDICTS if line.startswith("bench gate") else (0,))
    assert "published 3 record(s)" in published
    # The author types the commands that were printed, except the last one, which needs a server.
    identity = "git -c user.name=a -c user.email=a@example.org -C"
    for line in re.findall(r"^git -C .*$", published, re.MULTILINE):
        if " push " not in line:
            type_command(line.replace("git -C", identity, 1), site)

    other = make_environment(tmp_path / "reader")
    other.install(other.folder / "algorace")
    cloned = ["git", "clone", "--quiet", str(site.folder / "algorace-results"), str(other.folder / "algorace-results")]
    subprocess.run(cloned, check=True)
    assert "bench-my-optimizer" not in type_command("bench plugins", other)
    for line in reader:
        verified = type_command(line, other)
    assert "FAILED" not in verified
    assert len(re.findall(r"my-optimizer", verified)) >= 3
