"""Tables from stored summaries equal tables from records, and whatever changes a table is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from harness.cli.leaderboard import leaderboard
from harness.cli.report import report
from harness.contract.attestation import Attestation
from harness.contract.marks import Mark, MarkEvent
from harness.contract.record import Record
from harness.report import html
from harness.report.page_runs import PageSummary, summarize_for_page
from harness.report.table_records import stored_summaries
from harness.scoring.summary import (
    LeaderboardQuery,
    MetricBudget,
    RunSummary,
    summarize_content,
)
from harness.storage import derived, derived_records, packing, records
from harness.storage.attestations import write_attestation
from harness.storage.derived import DerivedValues
from harness.storage.layout import RECORD, run_id
from harness.storage.marks import append_mark
from tests.report import synthetic
from tests.storage import published

Run = Callable[..., str]
EVENTS: tuple[MarkEvent, ...] = ("doubted", "withdrawn")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(derived, "MIN_VALUES", 1)
    monkeypatch.setattr(derived, "_SETTLED_S", -1)
    monkeypatch.setattr(html, "plotting_scripts", list)
    return tmp_path / "cache" / derived.FOLDER


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The run_ids of the records that were decoded."""
    run_ids: list[str] = []

    class Listing:
        def decode(self, payload: bytes) -> Record:
            record = msgspec.json.decode(payload, type=Record)
            run_ids.append(record.run_id)
            return record

    monkeypatch.setattr(records, "_RECORDS", Listing())
    return run_ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs with every kind of record, and published records that are packed or not."""
    stopped = msgspec.structs.replace(synthetic.RULES, name="fixed-stop", stopping="chosen")
    kinds = [
        *synthetic.field(),
        synthetic.record("beta", spec={"ruleset": stopped, "stop": 2000}, run_id="run-stopped"),
        synthetic.exploring(),
        *(synthetic.record("alpha", study=s, spec={"purpose": "tuning"}, run_id=f"run-t{s}") for s in range(2)),
        *(synthetic.record("beta", study=9, spec={name: True}, run_id=f"run-{name}") for name in ("smoke", "profile")),
        synthetic.record("beta", study=8, trust="evaluated", sandbox="none", run_id="run-evaluated"),
        synthetic.record("beta", study=7, evaluations=0, run_id="run-empty", environment=None, status="crashed"),
    ]
    synthetic.write(tmp_path / "runs", kinds)
    for name in ("delta", "epsilon"):
        published.write(tmp_path / "results", name, 0, 1, 2)
    assert list(packing.pack(tmp_path / "results" / "hills" / "delta"))
    return tmp_path


@pytest.fixture
def shown(folder: Path) -> Run:
    def run(command: click.Command = leaderboard, *arguments: str) -> str:
        options = ["--runs", str(folder / "runs"), "--results", str(folder / "results"), "--reference", "alpha"]
        outcome = CliRunner().invoke(command, [*arguments, *options], obj=())
        assert outcome.exit_code == 0, outcome.output
        return outcome.output

    return run


def uncached(shown: Run, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    with monkeypatch.context() as without_cache:
        without_cache.setattr(DerivedValues, "find", lambda *_: None)
        without_cache.setattr(DerivedValues, "save", lambda *_: None)
        return shown(leaderboard, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [("--json",), ("--format", "md"), ("--by", "metric@50%", "--json"), ("--target", "easy", "--format", "md")],
)
def test_a_leaderboard_is_the_same_from_stored_summaries(
    shown: Run, cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    expected = uncached(shown, monkeypatch, *arguments)
    assert not cache.exists()
    decoded.clear()
    assert shown(leaderboard, *arguments) == expected
    assert len(decoded) == 34
    decoded.clear()
    assert shown(leaderboard, *arguments) == expected
    # Tuning trials have no summary. Tables of rulesets with a fixed stop need the whole record.
    assert sorted(decoded) == ["run-stopped", "run-t0", "run-t1"]


def test_a_report_is_the_same_from_stored_summaries(shown: Run, folder: Path, decoded: list[str]) -> None:
    pages = []
    for number in range(2):
        decoded.clear()
        out = folder / f"{number}.html"
        shown(report, str(out))
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]
    assert len(decoded) == 3


@pytest.mark.parametrize(("kind", "compute"), [(RunSummary, summarize_content), (PageSummary, summarize_for_page)])
def test_a_stored_summary_equals_the_computed_one(kind: type[RunSummary], compute: Callable[..., RunSummary]) -> None:
    query = LeaderboardQuery(metric_budget=MetricBudget(amount=0.5, unit="share"))
    originals = [*synthetic.field(), synthetic.record("beta", evaluations=0, status="crashed")]

    def values() -> DerivedValues[RunSummary]:
        return stored_summaries(kind, compute, query, [Path("runs")])

    first = values()
    for number, record in enumerate(originals):
        first.add(bytes([number]) * 32, compute(record, query))
    first.save()
    second = values()
    for number, record in enumerate(originals):
        # Unlike ==, the text distinguishes 1 from 1.0.
        assert repr(second.find(bytes([number]) * 32)) == repr(compute(record, query))


def test_a_changed_byte_is_noticed(shown: Run, folder: Path) -> None:
    before = shown(leaderboard, "--json")
    path = next((folder / "runs").glob("*alpha-hills*0*")) / RECORD
    content, times = path.read_bytes(), path.stat()
    position = content.index(b'"process_seconds":') + 20
    path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "was edited" in shown(leaderboard, "--json")
    path.write_bytes(content)
    assert shown(leaderboard, "--json") == before


def test_a_record_under_the_name_of_another_trial_is_noticed(tmp_path: Path) -> None:
    (path,) = published.write(tmp_path, "alpha", 0)
    query = LeaderboardQuery()
    problems: list[str] = []
    for expected in (1, 0):
        values = stored_summaries(RunSummary, summarize_content, query, [tmp_path])
        listed = [(path.parent, [path.name])]
        items = derived_records.iter_derived(listed, problems, values)
        assert len(list(items)) == expected
        path = path.rename(path.with_name(f"{run_id(published.record('beta', 0).spec)}.json"))
    assert len(problems) == 1
    assert "is of another trial" in problems[0]


def test_marks_and_attestations_are_not_stored(shown: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert '"evaluated"' not in shown(leaderboard, "--json")
    record = published.record("epsilon", 1)
    content_hash = records.add_content_hash(record).content_hash
    place = folder / "results" / "hills" / "epsilon"
    for study in range(3):
        other = records.add_content_hash(published.record("epsilon", study))
        attestation = Attestation(
            record=other.content_hash,
            run_id=other.run_id,
            method="fresh-seeds",
            outcome="accepted",
        )
        write_attestation(place, attestation)
    assert '"evaluated"' in shown(leaderboard, "--json")
    outputs = {shown(leaderboard, "--json")}
    for event in EVENTS:
        mark = Mark(
            time=f"2026-01-0{len(outputs)}", event=event, run_id=record.run_id, record=content_hash, why="a fault"
        )
        append_mark(folder / "results", mark)
        outputs.add(shown(leaderboard, "--json"))
        assert outputs >= {uncached(shown, monkeypatch, "--json")}
    assert len(outputs) == 3


def test_other_source_and_another_query_use_no_stored_summary(
    shown: Run, cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(leaderboard, "--json")
    for arguments in ((), ("--by", "examples"), ("--by", "metric@10s"), ("--by", "metric@11s"), ("--target", "hard")):
        decoded.clear()
        shown(leaderboard, *arguments, "--json")
        assert len(decoded) == (34 if arguments else 3), arguments
    assert len(list(cache.iterdir())) == 5
    monkeypatch.setattr(derived, "_read_source", lambda: ("changed", 0.0))
    decoded.clear()
    shown(leaderboard, "--json")
    assert len(decoded) == 34
    decoded.clear()
    shown(leaderboard, "--json")
    assert len(decoded) == 3
