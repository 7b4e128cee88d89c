"""The plans of the rankings in results/LEADERBOARD.md: every submission can run on every workload of its tier."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import sweep as sweeps
from harness.gating.setup import find_gate_ineligibility
from harness.planning.resolve import resolve_submission
from harness.plugins.registry import load_registry

REGISTRY = load_registry()
FOLDER = Path(__file__).resolve().parents[2] / "studies" / "leaderboard"


@pytest.mark.parametrize(("file", "access"), [("pools.yaml", "pool"), ("streams.yaml", "stream")])
def test_twelve_submissions_run_on_the_whole_cpu_tier(file: str, access: str) -> None:
    sweep = sweeps.read(FOLDER / file)
    assert len(set(sweep.submissions)) == 12
    tier = {
        entry.name: entry.facts
        for entry in REGISTRY.workloads()
        if entry.facts.tier == "cpu" and entry.facts.access == access and "+" not in entry.name
    }
    assert set(sweep.workloads) == set(tier)
    for name in sweep.submissions:
        submission = resolve_submission(name, REGISTRY)
        for facts in tier.values():
            assert not find_gate_ineligibility(submission, facts, REGISTRY), (name, facts.name)
