"""The list of workloads is up to date, and its sizes are those of the installed workloads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.plugins.registry import load_registry
from tests.documents import ROOT
from tools import make_workload_list
from tools.measure_workloads import measure


def test_the_page_is_not_stale() -> None:
    committed = make_workload_list.PAGE.read_text(encoding="utf-8")
    assert committed == make_workload_list.page(), "stale: run `make pages` and commit the page"


def test_the_sizes_are_those_of_the_installed_versions() -> None:
    installed = {entry.facts.id for entry in make_workload_list.listed(load_registry())}
    assert set(make_workload_list.read_sizes()) == installed, "run python -m tools.measure_workloads"


@pytest.mark.parametrize("name", ["resnet-digits", "continual-digits"])
def test_the_sizes_are_measured(name: str) -> None:
    entry = load_registry().workload(name)
    assert make_workload_list.read_sizes()[entry.facts.id] == measure(entry)


def test_the_page_is_made_without_torch() -> None:
    script = "import sys; from tools.make_workload_list import page; page(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
