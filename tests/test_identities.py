"""Run ids and source hashes of the shipped submissions: what makes a finished run be kept, and a record comparable.

Both are recorded in golden/identities.json. A hash changes when the source of a submission does, and with it
every run id; nothing else may change them. If that was meant:
BENCH_WRITE_GOLDEN=1 python -m pytest tests/test_identities.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from harness.planning import compose, rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import load_registry
from harness.storage import layout

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "identities.json"
REGISTRY = load_registry()
WORKLOADS = ("resnet-digits", "lm-tiny", "continual-digits", "curriculum-lm")


def identities() -> dict[str, dict[str, str]]:
    """Of every shipped submission: its source hash, and the id of its first run on a workload of each family."""
    settings = PlanSettings(ruleset=rulesets.ruleset("quick"))
    result: dict[str, dict[str, str]] = {}
    for entry in REGISTRY.submissions():
        row: dict[str, str] = {}
        for name in WORKLOADS:
            workload = REGISTRY.workload(name)
            if compose.find_ineligibility(compose.compose(entry, REGISTRY), workload.facts, settings.ruleset):
                continue
            # The id names the hardware; here it is one that no machine has, so that it is the same on all.
            spec = msgspec.structs.replace(plan_trials(workload, entry, REGISTRY, settings)[0], hardware="any")
            row["source"] = spec.submission.source_hash
            row[name] = layout.run_id(spec)
        result[entry.name] = row
    return result


def test_identities_are_as_recorded() -> None:
    now = identities()
    if os.environ.get("BENCH_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n")
    assert now == json.loads(GOLDEN.read_text())
