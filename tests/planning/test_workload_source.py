"""Workloads whose source changes without a new version: in a file, and in an editable installation."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from harness.contract.entries import WorkloadEntry
from harness.contract.run import ExecutionOptions, RunSpec
from harness.execution.scheduler import run_all
from harness.execution.trial import finished_summary
from harness.planning.resolve import resolve_workloads
from harness.planning.rulesets import ruleset
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import Registry
from harness.plugins.source_hash import may_change
from harness.scoring.selection import keep_newest_versions
from harness.storage import layout, records
from tests import micro
from tests.execution.test_scheduler import Scripted
from tests.helpers import NoParts, Remember, folder_of, run_here, submission

SOURCE = '''
"""A task of a test."""
from tests.micro import FACTS, Micro

class Task(Micro):
    facts = FACTS
'''
EDITED = f"{SOURCE}\n    def build_model(self, seed, dropout=0.0):\n        return super().build_model(seed + 1)\n"
ENTRY = submission("tests.submissions_for_tests:Base", needs=frozenset({"feedback", "pool", "holdout"}))


def workload(path: Path) -> WorkloadEntry:
    (entry,) = resolve_workloads(str(path), Registry([]))
    return entry


def planned(entry: WorkloadEntry) -> RunSpec:
    return plan_trials(entry, ENTRY, NoParts(), PlanSettings(ruleset=ruleset("quick"), smoke=True))[0]


def is_kept(spec: RunSpec, runs: Path) -> bool:
    return finished_summary(spec, layout.run_id(spec), runs, ExecutionOptions()) is not None


def test_a_trial_on_an_edited_file_is_run_again(tmp_path: Path) -> None:
    path, runs = tmp_path / "task.py", tmp_path / "runs"
    path.write_text(SOURCE)
    first = planned(workload(path))
    record = run_here(first, runs)
    assert record.status == "exhausted", record.reason
    assert is_kept(planned(workload(path)), runs)
    path.write_text(EDITED)
    # A trial that was planned before the edit does not run on the edited workload.
    late = run_here(first, tmp_path / "late")
    assert (late.status, late.hit) == ("crashed", None)
    assert f"{first.workload.facts.id} was edited after its trials had been planned" in late.reason
    second = planned(workload(path))
    assert first.workload.facts.version != second.workload.facts.version
    assert {v.workload.facts.version.partition("#")[0] for v in (first, second)} == {micro.FACTS.version}
    assert not is_kept(second, runs)
    for name in [name for name in sys.modules if name.startswith("bench_file_task")]:
        del sys.modules[name]  # a process imports a file once
    again = run_here(second, runs)
    assert again.points[0].metrics != record.points[0].metrics
    found, problems = records.read_all([runs])
    assert (len(found), problems) == (2, [])
    selected, skipped = keep_newest_versions(found)
    assert [r.run_id for r in selected] == [again.run_id], "the source that was run last, whatever its hash"
    assert [s.reason for s in skipped] == [f"{second.workload.facts.id} is newer"]


def test_the_run_id_depends_on_the_version_and_not_on_the_source_of_an_installation() -> None:
    spec = planned(micro.ENTRY)
    edited = with_source(spec, "f" * 64)
    assert layout.run_id(spec) == layout.run_id(edited)
    assert layout.run_id_of_json(
        msgspec.json.encode({"spec": msgspec.to_builtins(edited, order="sorted")})
    ) == layout.run_id(spec)
    # As it was written before the field existed.
    fields = msgspec.to_builtins(spec, order="sorted")
    del fields["workload"]["source_hash"]
    assert layout.run_id_of_json(msgspec.json.encode({"spec": fields})) == layout.run_id(spec)


def with_source(spec: RunSpec, source_hash: str) -> RunSpec:
    return msgspec.structs.replace(spec, workload=msgspec.structs.replace(spec.workload, source_hash=source_hash))


@pytest.mark.parametrize(
    ("direct_url", "expected"),
    [
        ('{"url": "file:///x", "dir_info": {"editable": true}}', True),
        ('{"url": "file:///x", "dir_info": {}}', False),
        ('{"url": "https://example.org/x.whl", "archive_info": {}}', False),
        ("[1]", False),
        ("{", False),
        (None, False),
    ],
)
def test_the_source_of_an_editable_installation_may_change(
    direct_url: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "bench_odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-odd\nVersion: 1.0\n")
    if direct_url is not None:
        (info / "direct_url.json").write_text(direct_url)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert may_change("tests.micro:Micro", "bench-odd") == expected
    assert may_change("/somewhere/task.py:Task", "file")
    assert not may_change("tests.micro:Micro", "no-such-distribution")
    entry = msgspec.structs.replace(micro.ENTRY, distribution="bench-odd")
    assert bool(planned(entry).workload.source_hash) == expected


def test_kept_trials_of_an_edited_installation_are_named_once(tmp_path: Path) -> None:
    before = [with_source(s, "a" * 64) for s in plans(studies=2)]
    for spec in before:
        run_here(spec, tmp_path)
    backend, watcher = Scripted(tmp_path, {}), Remember()
    for hashes, warnings in ((("a" * 64,) * 2, 0), (("",) * 2, 0), (("b" * 64,) * 2, 1)):
        watcher = Remember()
        specs = [with_source(spec, source) for spec, source in zip(before, hashes, strict=True)]
        summaries = list(run_all(backend, specs, tmp_path, watcher, ExecutionOptions()))
        assert [summary.kept for summary in summaries] == [True, True]
        assert len(watcher.warnings) == warnings
    assert "the source of micro@1 has changed" in watcher.warnings[0]
    assert "--force" in watcher.warnings[0]


def plans(studies: int) -> tuple[RunSpec, ...]:
    return plan_trials(
        micro.ENTRY, ENTRY, NoParts(), PlanSettings(ruleset=ruleset("quick"), smoke=True, studies=studies)
    )


def test_a_resumed_trial_of_an_edited_installation_is_named(tmp_path: Path) -> None:
    spec = with_source(planned(micro.ENTRY), "a" * 64)
    record = run_here(spec, tmp_path)
    folder = folder_of(spec, tmp_path)
    folder.write(msgspec.structs.replace(record, status="interrupted"))
    watcher = Remember()
    run_here(with_source(spec, "b" * 64), tmp_path, watcher)
    assert "the source of micro@1 has changed since the trial began" in watcher.warnings[0]
