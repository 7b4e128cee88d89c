"""`docs/methods.md` is what the entries say, and its levels have evidence."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from harness.plugins.registry import load_registry

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def make_methods() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_methods", ROOT / "docs" / "make_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale(make_methods: ModuleType) -> None:
    kept = (ROOT / "docs" / "methods.md").read_text()
    assert kept == make_methods.page(load_registry()), "stale: python docs/make_methods.py, and commit"


def test_a_level_is_of_a_method_there_is_and_its_evidence_names_it(make_methods: ModuleType) -> None:
    registry = load_registry()
    levels = make_methods.levels(registry)
    assert set(levels) <= {part.id for part in registry.parts()} | {entry.name for entry in registry.submissions()}
    for name, found in levels.items():
        for level, place in found:
            evidence = (ROOT / place).read_text()
            plain = name.partition(":")[2] or name
            stem = plain.replace("-", "_")
            named = plain in evidence or stem in evidence or stem.rpartition("_")[0] in evidence
            assert named or level == "compared", f"{name} is not in {place}"


def test_compared_is_an_arm_that_has_run_and_its_parts(make_methods: ModuleType) -> None:
    table = """
| arm | loss |
|---|---|
| `muon-wsd` | 0.05 |
| `d2z` | not run |

`rex` in a sentence, and | `uba` | within a row.
"""
    assert make_methods.compared(load_registry(), table) == ["muon-wsd", "optimizer:muon", "schedule:wsd"]


def test_every_method_of_ours_cites_a_paper_or_is_folklore() -> None:
    without = {part.id for part in load_registry().parts() if part.distribution == "algorace" and not part.sources}
    assert without <= {"schedule:constant"}
