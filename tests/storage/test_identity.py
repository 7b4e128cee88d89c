"""Identity: a record or checkpoint under the name of another trial, or a damaged one, never becomes that trial's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.contract.run import ExecutionOptions, RunSpec
from harness.errors import StoreError
from harness.execution.state import Interrupted
from harness.execution.trial import finished_summary, run_trial
from harness.storage import records
from harness.storage.layout import run_id
from harness.storage.packing import pack, unpack
from harness.storage.verification import verify
from tests.helpers import Remember, folder_of, run_here, spec_of, submission
from tests.worker.interrupt import StopAt

ENTRY = submission("tests.submissions_for_tests:Base", needs=frozenset({"feedback", "pool", "holdout"}))


@pytest.fixture(scope="module")
def specs() -> tuple[RunSpec, RunSpec]:
    return spec_of(ENTRY, smoke=True), spec_of(ENTRY, smoke=True, seed=1)


def is_kept(spec: RunSpec, runs: Path) -> bool:
    return finished_summary(spec, run_id(spec), runs, ExecutionOptions()) is not None


def test_a_copied_run_folder_is_not_the_result_of_another_trial(specs: tuple[RunSpec, RunSpec], tmp_path: Path) -> None:
    first, second = specs
    original = run_here(first, tmp_path)
    shutil.copytree(folder_of(first, tmp_path).path, folder_of(second, tmp_path).path)
    assert is_kept(first, tmp_path)
    assert not is_kept(second, tmp_path)
    with pytest.raises(StoreError, match=f"is of another trial, {original.run_id}"):
        folder_of(second, tmp_path).record()
    loaded, problems = records.read_all([tmp_path])
    assert [record.run_id for record in loaded] == [original.run_id]
    assert len(problems) == 1
    watcher = Remember()
    record = run_here(second, tmp_path, watcher)
    assert record.run_id == run_id(second)
    assert record.spec == second
    assert "is of another trial" in watcher.warnings[0]
    assert {found.run_id for found in records.read_all([tmp_path])[0]} == {run_id(first), run_id(second)}


def test_a_published_record_under_another_name_is_skipped(specs: tuple[RunSpec, RunSpec], tmp_path: Path) -> None:
    first, second = specs
    run_here(first, tmp_path / "runs")
    content = folder_of(first, tmp_path / "runs").record_path.read_bytes()
    results = tmp_path / "results"
    results.mkdir()
    (results / f"{run_id(second)}.json").write_bytes(content)
    assert records.read_all([results])[0] == []
    (results / "run-of-mine.json").write_bytes(content)
    assert [record.run_id for record in records.read_all([results])[0]] == [run_id(first)]


def reseal(content: bytes) -> bytes:
    """The record with the content hash of its changed content."""
    fields = json.loads(content)
    return json.dumps({**fields, "content_hash": records.content_hash(content)}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.replace(b'"loss":', b'"loss":1', 1),
        lambda content: content.replace(b'"steps":', b'"steps":1', 1),
        lambda content: content.replace(b'"reason":"', b'"reason":"\xff'),
        lambda content: content.replace(b'"schema":1', b'"schema":2'),
        lambda content: reseal(content.replace(b'"deaths":0', b'"deaths":"none"')),
        lambda content: reseal(content.replace(b'"deaths":0', b'"lives":0')),
    ],
    ids=["a metric", "a count", "a byte", "the schema", "a type, with its hash", "a name, with its hash"],
)
def test_a_damaged_record_is_kept_by_none_and_read_by_none(
    damage: Callable[[bytes], bytes], specs: tuple[RunSpec, RunSpec], tmp_path: Path
) -> None:
    """`bench run` and the leaderboard agree on the records that count."""
    spec, _ = specs
    run_here(spec, tmp_path)
    path = folder_of(spec, tmp_path).record_path
    content = path.read_bytes()
    assert is_kept(spec, tmp_path)
    assert damage(content) != content
    path.write_bytes(damage(content))
    assert not is_kept(spec, tmp_path)
    assert records.read_all([tmp_path])[0] == []


def test_a_checkpoint_of_another_trial_is_not_resumed(specs: tuple[RunSpec, RunSpec], tmp_path: Path) -> None:
    first, second = (spec_of(ENTRY), spec_of(ENTRY, seed=1))
    whole = run_here(second, tmp_path / "whole")
    for spec in (first, second):
        with pytest.raises(Interrupted):
            run_trial(spec, tmp_path, Remember(), transport=StopAt(2))
    for path in folder_of(first, tmp_path).worker_path.glob("checkpoint*.pt"):
        shutil.copyfile(path, folder_of(second, tmp_path).worker_path / path.name)
    watcher = Remember()
    record = run_here(second, tmp_path, watcher)
    assert watcher.resumed == [0]
    assert f"it belongs to the trial {run_id(first)}" in watcher.warnings[0]
    assert record.final_weights == whole.final_weights


def test_verify_names_a_record_under_the_name_of_another_trial(specs: tuple[RunSpec, RunSpec], tmp_path: Path) -> None:
    first, second = specs
    run_here(first, tmp_path / "runs")
    content = folder_of(first, tmp_path / "runs").record_path.read_bytes()
    for place in (f"copies/{run_id(second)}/record.json", f"published/{run_id(second)}.json"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        problems = [problem for report in verify(tmp_path / place.partition("/")[0]) for problem in report.problems]
        assert len(problems) == 1
        assert f"is of another trial, {run_id(first)}" in problems[0]
    assert not [problem for report in verify(tmp_path / "runs") for problem in report.problems]
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / f"{run_id(second)}.json").write_bytes(content)
    list(pack(packed))
    assert any("is of another trial" in problem for report in verify(packed) for problem in report.problems)


@pytest.mark.parametrize("name", ["run-mine.json", "run-0123456789abcdef.json", "x-run-.json"])
def test_a_name_in_an_index_is_that_of_its_line(specs: tuple[RunSpec, RunSpec], tmp_path: Path, name: str) -> None:
    run_here(specs[0], tmp_path / "runs")
    packed = tmp_path / "packed"
    packed.mkdir()
    own_name = f"{run_id(specs[0])}.json"
    shutil.copy(folder_of(specs[0], tmp_path / "runs").record_path, packed / own_name)
    list(pack(packed))
    (index,) = packed.glob("*.index.json")
    index.write_text(index.read_text().replace(f'"{own_name}"', f'"{name}"'))
    for report in (*verify(packed), *unpack(packed)):
        assert f"record {own_name} in" in report.problems[0]
    assert not (packed / name).exists()
