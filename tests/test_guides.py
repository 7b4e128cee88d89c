"""The examples of the guides train: every submission of docs/submissions.md and the workload of docs/workloads.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.plugins.registry import load_registry
from harness.worker.recipe import Recipe
from tests import micro
from tests.documents import ROOT, Block, find_blocks
from tests.helpers import run_here, spec_of


def python_blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block for block in find_blocks(page, text) if block.language == "python"]


def write_example(block: Block, folder: Path) -> tuple[str, dict[str, Any]]:
    """Write a block to a file; return the file's path and the names that the block defines."""
    path = folder / f"example_{block.line}.py"
    path.write_text(block.text)
    names: dict[str, Any] = {"__name__": path.stem}
    exec(compile(block.text, str(path), "exec"), names)
    return str(path), names


def submission_of(block: Block, folder: Path) -> SubmissionEntry:
    """The entry of the last name that a block defines, which is its submission."""
    path, names = write_example(block, folder)
    name, value = list(names.items())[-1]
    needs = value.all_needs if isinstance(value, Recipe) else frozenset()
    return SubmissionEntry(
        name=name.lower(),
        summary="an example",
        load=f"{path}:{name}",
        parts=value.parts if isinstance(value, Recipe) else (),
        needs=frozenset(needs),
        space=value.search_space,
        distribution="tests",
    )


@pytest.mark.parametrize("block", python_blocks("docs/submissions.md"), ids=lambda block: block.place)
def test_the_submissions_train(block: Block, tmp_path: Path) -> None:
    entry = submission_of(block, tmp_path)
    workload = micro.STREAM_ENTRY if "replay" in entry.needs else micro.ENTRY
    record = run_here(spec_of(entry, workload, load_registry(), smoke=True), tmp_path / "runs")
    assert record.status in ("exhausted", "reached"), record.reason
    assert record.counters.steps > 0


def test_the_guide_has_every_kind_of_submission(tmp_path: Path) -> None:
    entries = [submission_of(block, tmp_path) for block in python_blocks("docs/submissions.md")]
    assert [entry.name for entry in entries] == ["triangle", "inorder", "replaying", "averaged", "twopasses"]


def test_the_workload_is_reached_by_two_submissions(tmp_path: Path) -> None:
    (block,) = python_blocks("docs/workloads.md")
    path, names = write_example(block, tmp_path)
    assert len(block.text.splitlines()) <= 60
    facts = names["FACTS"]
    entry = WorkloadEntry(facts=facts, load=f"{path}:Points", summary="an example", distribution="tests")
    for submission in ("adamw-cosine", "wsd"):
        record = run_here(spec_of(submission, entry), tmp_path / "runs")
        assert record.status == "reached", record.reason
        assert record.hit is not None
        assert record.hit >= 50, "the hit comes after at least 50 evaluations"
        assert set(record.points[-1].metrics) == {"loss", "se"}
    required = {name for name in facts.__struct_fields__ if name in _required(facts)}
    table = (ROOT / "docs" / "workloads.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in table for name in required)


def _required(facts: Any) -> set[str]:
    import msgspec

    return {field.name for field in msgspec.structs.fields(facts) if field.required}
