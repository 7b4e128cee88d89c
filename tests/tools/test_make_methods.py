"""docs/methods.md agrees with the plugins' entries, and the evidence for each method exists."""

from __future__ import annotations

from harness.plugins.registry import load_registry
from tools import make_methods


def test_the_page_is_not_stale() -> None:
    committed = make_methods.PAGE.read_text()
    assert committed == make_methods.page(load_registry()), (
        "stale: run python -m tools.make_methods and commit the page"
    )


def test_all_evidence_is_for_an_existing_method_and_names_the_method() -> None:
    registry = load_registry()
    evidence_by_method = make_methods.evidence_by_method(registry)
    known = {part.id for part in registry.parts()} | {entry.name for entry in registry.submissions()}
    assert set(evidence_by_method) <= known
    for name, places in evidence_by_method.items():
        for kind, place in places:
            text = (make_methods.ROOT / place).read_text()
            plain = name.partition(":")[2] or name
            stem = plain.replace("-", "_")
            named = plain in text or stem in text or stem.rpartition("_")[0] in text
            assert named or kind == "compared", f"{name} is not in {place}"


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
