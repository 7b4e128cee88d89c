"""docs/workloads.md: from the template to two submissions that reach the target, by the commands of the page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.system import python_process
from tests.documents import ROOT, find_blocks, join_continued

PAGE = "docs/workloads.md"


def read_commands() -> list[str]:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    return next(join_continued(block.text) for block in find_blocks(PAGE, text) if block.language == "bash")


@pytest.mark.slow
def test_two_submissions_reach_the_workload_of_the_template(tmp_path: Path) -> None:
    (tmp_path / "bench").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness.cli "$@"\n')
    (tmp_path / "bench").chmod(0o755)
    environment = python_process.environment()
    environment |= {"PATH": f"{tmp_path}:{environment['PATH']}", "BENCH_CACHE": str(tmp_path / "cache")}
    commands = read_commands()
    assert commands[0].startswith("bench new workload my-task --file")
    printed = []
    for line in commands:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    *_, run, board = printed
    assert "2 reached" in run
    assert {"adamw-cosine", "wsd"} <= set(re.findall(r"[a-z-]+(?=@1)", board))
