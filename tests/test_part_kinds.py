"""The table of part kinds is the only place that lists them: recipes, entries and documents follow it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from harness.contract import part_kinds
from harness.contract.entries import NEEDS, PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import UsageError
from harness.planning.compose import compose, find_ineligibility
from harness.planning.rulesets import ruleset
from harness.plugins.code_reading import submission_from_path
from harness.plugins.registry import load_registry
from harness.worker.recipe import Recipe
from tests import micro

ROOT = Path(__file__).resolve().parent.parent


class OnePart:
    """A registry with an optimizer and one more part, which declares no needs."""

    def __init__(self, kind: str) -> None:
        self._entries = {name: PartEntry(kind=name, name="p", load="m:f", summary="s") for name in ("optimizer", kind)}

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry:
        assert kind is not None
        return self._entries[kind]


def test_every_kind_is_a_field_of_a_recipe() -> None:
    fields = [field.name for field in dataclasses.fields(Recipe)]
    assert fields[: len(PART_KINDS)] == list(PART_KINDS), "the parts come first, in the order of the table"
    required = {f.name for f in dataclasses.fields(Recipe) if f.default is f.default_factory is dataclasses.MISSING}
    assert required == {name for name, kind in PART_KINDS.items() if kind.required}


def test_an_entry_of_another_kind_is_refused() -> None:
    assert get_args(part_kinds.PartKindName) == tuple(PART_KINDS)
    text = msgspec.json.encode(PartEntry(kind="order", name="p", load="m:f", summary="s"))
    assert msgspec.json.decode(text, type=PartEntry).kind == "order"
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.json.decode(text.replace(b'"order"', b'"sequence"'), type=PartEntry)


def test_implied_needs_are_needs() -> None:
    assert frozenset().union(*(kind.implied_needs for kind in PART_KINDS.values())) <= NEEDS


@pytest.mark.parametrize("part", load_registry().parts(), ids=lambda part: part.id)
def test_a_shipped_part_declares_what_its_kind_implies(part: PartEntry) -> None:
    """So that the table changes no run id, which depends on the needs of a submission."""
    assert part.all_needs == part.needs


@pytest.mark.parametrize(
    ("kind", "workload", "reason"),
    [
        ("order", micro.STREAM_ENTRY, "needs random access to its training data"),
        ("order", micro.ENTRY, ""),
        ("replay", micro.ENTRY, "needs a replay buffer"),
        ("replay", micro.STREAM_ENTRY, ""),
        ("penalty", micro.ENTRY, ""),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_part_needs_what_its_kind_implies(kind: str, workload: WorkloadEntry, reason: str) -> None:
    entry = SubmissionEntry(name="s", summary="s", parts=("optimizer:p", f"{kind}:p"))
    assert find_ineligibility(compose(entry, OnePart(kind)), workload.facts, ruleset("quick")) == reason


@pytest.mark.parametrize("part", ["part", '"reservoir"'], ids=["callable", "named"])
@pytest.mark.parametrize(
    ("kind", "skips"), [("replay", "micro: needs a replay buffer"), ("order", "micro-stream: needs random access")]
)
def test_a_part_in_a_file_needs_what_its_kind_implies(kind: str, skips: str, part: str, tmp_path: Path) -> None:
    if (kind, part) == ("order", '"reservoir"'):
        part = '"quality-ascending"'
    path = tmp_path / "mine.py"
    path.write_text(
        "from harness.api import Recipe\ndef optimizer(parameters): ...\ndef part(task): ...\n"
        f"Mine = Recipe(optimizer=optimizer, {kind}={part})\n"
    )
    registry = load_registry()
    entry = submission_from_path(str(path)).entry
    name, _, reason = skips.partition(": ")
    for workload in (micro.ENTRY, micro.STREAM_ENTRY):
        found = find_ineligibility(compose(entry, registry), workload.facts, ruleset("quick"))
        assert found.startswith(reason) if workload.name == name else reason not in found


def test_a_submission_of_parts_has_every_required_kind() -> None:
    entry = SubmissionEntry(name="s", summary="s", parts=("order:p",))
    with pytest.raises(UsageError, match="'s' has no optimizer") as error:
        compose(entry, OnePart("order"))
    assert error.value.fix == "add a part of this kind in front: OPTIMIZER+order:p"


@pytest.mark.parametrize("kind", PART_KINDS.values(), ids=PART_KINDS)
def test_the_documents_have_a_row_for_every_kind(kind: part_kinds.PartKind) -> None:
    assert f"| `{kind.name}` | {kind.called_with} | {kind.returns} |" in (ROOT / "docs" / "authors.md").read_text()
