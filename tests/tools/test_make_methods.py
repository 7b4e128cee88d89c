"""docs/methods.md agrees with the plugins' entries, and each level has evidence."""

from __future__ import annotations

from harness.plugins.registry import load_registry
from tools import make_methods


def test_the_page_is_not_stale() -> None:
    committed = make_methods.PAGE.read_text()
    assert committed == make_methods.page(load_registry()), (
        "stale: run python -m tools.make_methods and commit the page"
    )


def test_every_level_names_an_existing_method_and_its_evidence_names_the_method() -> None:
    registry = load_registry()
    levels = make_methods.levels(registry)
    assert set(levels) <= {part.id for part in registry.parts()} | {entry.name for entry in registry.submissions()}
    for name, places in levels.items():
        for level, place in places:
            evidence = (make_methods.ROOT / place).read_text()
            plain = name.partition(":")[2] or name
            stem = plain.replace("-", "_")
            named = plain in evidence or stem in evidence or stem.rpartition("_")[0] in evidence
            assert named or level == "compared", f"{name} is not in {place}"


def test_compared_means_an_arm_that_has_run_and_its_parts() -> None:
    table = """
| arm | loss |
|---|---|
| `muon-wsd` | 0.05 |
| `d2z` | not run |

`rex` in a sentence, and | `uba` | within a row.
"""
    assert make_methods.compared_methods(load_registry(), table) == ["muon-wsd", "optimizer:muon", "schedule:wsd"]


def test_every_first_party_method_cites_a_paper_or_is_folklore() -> None:
    without = {part.id for part in load_registry().parts() if part.distribution == "algorace" and not part.sources}
    assert without <= {"schedule:constant"}


def test_every_need_on_the_page_is_explained() -> None:
    registry = load_registry()
    needs = {need for part in registry.parts() if part.distribution == "algorace" for need in part.all_needs}
    assert all(f"| `{need}` |" in make_methods.HEAD for need in needs)
