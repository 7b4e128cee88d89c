"""Several ranks on this machine's CPU: the same run as with one, and an end when one of them dies."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.api import Shard
from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.execution.supervisor import CHECKPOINT_SHARE_VARIABLE
from harness.hardware import detect
from harness.planning import compose, phases, rulesets
from harness.planning.trials import PlanSettings
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry
from harness.worker.protocols import Sharded
from tests import micro
from tests.helpers import NoParts, Remember, outcome, run_here, run_worker, spec_of, submission
from tests.worker import ranked
from tests.worker.interrupt import interrupted_run

TWO = 2


def on_two(spec: RunSpec) -> RunSpec:
    return msgspec.structs.replace(spec, ranks=TWO)


def base(name: str, **fields: Any) -> Any:
    return submission(f"tests.submissions_for_tests:{name}", **fields)


def own(name: str, **fields: Any) -> Any:
    return submission(f"tests.worker.ranked:{name}", **fields)


def assert_same(one: Record, two: Record) -> None:
    """Equal counts at every point, metrics and losses to 1e-5."""
    assert two.status == one.status, two.reason
    assert two.hit == one.hit
    assert [(p.examples, p.gradient_examples, p.steps, p.lr, p.stage) for p in two.points] == [
        (p.examples, p.gradient_examples, p.steps, p.lr, p.stage) for p in one.points
    ]
    assert two.counters.forward_examples == one.counters.forward_examples
    for a, b in zip(one.points, two.points, strict=True):
        assert b.metrics == pytest.approx(a.metrics, abs=1e-5)
        for name in ("train_loss", "mean_train_loss", "grad_norm"):
            value = getattr(a, name)
            assert getattr(b, name) == (None if value is None else pytest.approx(value, abs=1e-5)), name


@pytest.mark.slow
def test_two_ranks_run_as_one(tmp_path: Path) -> None:
    """In worker processes, with the supervisor's clock beside theirs, until the target."""
    spec = spec_of(base("Base"), ranked.entry(ranked.Shared))
    one = run_worker(spec, tmp_path / "one")
    two = run_worker(on_two(spec), tmp_path / "two")
    assert one.status == "reached"
    assert_same(one, two)
    # Of equal weights, exactly: every rank evaluates the pieces that one rank does, and their values are joined.
    assert two.points[0].metrics == one.points[0].metrics
    # One process spent the seconds of the first, two those of the second.
    assert two.counters.process_seconds > 0
    assert two.usage.peak_memory_bytes > 0


@pytest.mark.slow
def test_two_ranks_learn_a_language_as_one(tmp_path: Path) -> None:
    registry = load_registry()
    spec = spec_of("adamw-cosine", registry.workload("lm-tiny"), registry, smoke=True)
    one = run_here(spec, tmp_path / "one", grad_norm=True)
    assert_same(one, run_here(on_two(spec), tmp_path / "two", grad_norm=True))


@pytest.mark.slow
@pytest.mark.parametrize("workload", [micro.ENTRY, micro.STREAM_ENTRY], ids=["pool", "stream"])
def test_every_way_to_a_gradient_is_the_same_on_two(workload: WorkloadEntry, tmp_path: Path) -> None:
    """Handed-out graphs, shares that differ, frozen parts, replay, noise; rank 0 evaluates alone."""
    spec = spec_of(own("Everything"), workload, smoke=True)
    one = run_here(spec, tmp_path / "one")
    assert one.status in ("exhausted", "reached"), one.reason
    assert_same(one, run_here(on_two(spec), tmp_path / "two"))


@pytest.mark.slow
def test_an_interrupted_run_on_two_ranks_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    """Dropout differs between ranks, and goes on in each from where it was."""
    spec = on_two(spec_of(base("Noisy", model_options={"dropout": 0.3}), smoke=True))
    whole = run_here(spec, tmp_path / "whole")
    assert whole.status == "exhausted", whole.reason
    assert outcome(interrupted_run(spec, tmp_path / "broken", [2])) == outcome(whole)


@pytest.mark.slow
@pytest.mark.parametrize(("watched", "status"), [(1, "exhausted"), (0, "crashed")])
def test_only_the_first_rank_writes(watched: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of a file is refused in one process; the first one cannot do without."""
    monkeypatch.setenv("BENCH_TEST_MARKS", str(tmp_path))
    monkeypatch.setenv("BENCH_TEST_RANK", str(watched))
    record = run_worker(on_two(spec_of(own("OnlyReads"), smoke=True)), tmp_path)
    assert record.status == status, record.reason
    assert ("may not change" in record.reason) == (watched == 0)


@pytest.mark.slow
def test_statistics_of_a_batch_are_averaged(tmp_path: Path) -> None:
    """Each rank normalises its own examples; what evaluation uses is the same everywhere, or the run is rejected."""
    spec = spec_of(base("Averaged"), ranked.entry(ranked.Normalised), smoke=True)
    one, two = run_here(spec, tmp_path / "one"), run_here(on_two(spec), tmp_path / "two")
    assert two.status == "exhausted", two.reason
    assert two.points[-1].metrics["loss"] == pytest.approx(one.points[-1].metrics["loss"], rel=0.2)
    assert two.points[-1].metrics != one.points[-1].metrics


@pytest.mark.slow
def test_ranks_that_drift_apart_are_rejected(tmp_path: Path) -> None:
    record = run_here(on_two(spec_of(base("GradOfLoss"), smoke=True)), tmp_path)
    assert record.status == "rejected"
    assert "differs by" in record.reason
    assert "raw-grad" in record.reason


# --- a rank that dies -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("OneDies", "rank 1 was killed by SIGKILL"),
        ("OneDiesWhileTheOtherIsBusy", "rank 1 was killed by SIGKILL"),
        ("OneRaises", "rank 1: ValueError: only here"),
    ],
)
def test_a_rank_that_dies_ends_the_trial(name: str, words: str, tmp_path: Path) -> None:
    began = time.monotonic()
    record = run_worker(on_two(spec_of(own(name))), tmp_path)
    assert record.status == "crashed"
    assert words in record.reason
    # A hang would last for an hour, so this is no measurement. Starting two processes is in it.
    assert time.monotonic() - began < 120


@pytest.mark.slow
def test_ranks_die_with_the_first_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_TEST_MARKS", str(tmp_path))
    monkeypatch.setenv(CHECKPOINT_SHARE_VARIABLE, "inf")
    monkeypatch.setenv("BENCH_SANDBOX", "none")  # the ranks leave files outside of the trial's folder
    spec = on_two(spec_of(own("FirstDies"), smoke=True))
    record = run_worker(spec, tmp_path / "broken")
    assert record.status == "interrupted"
    assert "SIGKILL" in record.reason
    pid = int((tmp_path / "1").read_text())
    deadline = time.monotonic() + 30
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)
    # Given again, it takes up its checkpoint; undisturbed, it ends the same.
    watcher = Remember()
    again = run_worker(spec, tmp_path / "broken", watcher)
    assert watcher.resumed == [2]
    whole = run_worker(spec, tmp_path / "whole")
    assert whole.status == "exhausted", whole.reason
    assert outcome(again) == outcome(whole)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended but that nobody waits for runs no more.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_more_ranks_than_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    record = run_here(msgspec.structs.replace(on_two(spec_of(base("Base"))), device="cuda"), tmp_path)
    assert record.status == "crashed"
    assert "2 ranks need 2 GPUs, but only 1 can be used" in record.reason
    record = run_here(msgspec.structs.replace(on_two(spec_of(base("Base"))), device="mps"), tmp_path)
    assert "got mps" in record.reason


# --- what is divided, and what cannot be ----------------------------------------------------------


@given(n=st.integers(0, 300), count=st.integers(1, 9), unit=st.integers(1, 70))
def test_shards_are_complete_disjoint_and_cut_between_pieces(n: int, count: int, unit: int) -> None:
    shards = [Shard(index=k, count=count).rows(n, unit) for k in range(count)]
    assert [row for rows in shards for row in rows] == list(range(n))
    assert all(rows.start % unit == 0 or not len(rows) for rows in shards)
    pieces = [-(-len(rows) // unit) for rows in shards]
    assert max(pieces) - min(pieces) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lm-tiny", "curriculum-lm", "resnet-digits"])
def test_shards_measure_what_the_whole_does(name: str) -> None:
    entry = load_registry().workload(name)
    workload: Any = load_object(entry.load)(**entry.arguments)
    assert isinstance(workload, Sharded)
    workload = cast(Any, workload)
    model = workload.build_model(0).eval()
    with torch.no_grad():
        whole = workload.evaluate(model, "score")
        parts = [workload.measure(model, "score", Shard(index=k, count=40)) for k in range(40)]
    all_gather_rows = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    assert workload.metrics(all_gather_rows, "score") == pytest.approx(whole, rel=1e-6)


def test_raw_gradients_are_for_one_device() -> None:
    entry = base("GradOfLoss", needs=frozenset({"raw-grad"}))
    composed = compose.compose(entry, NoParts())
    assert compose.find_ineligibility(composed, micro.FACTS, rulesets.ruleset("quick")) == ""
    assert "raw-grad" in compose.find_ineligibility(composed, micro.FACTS, rulesets.ruleset("quick"), ranks=2)


def test_a_plan_for_several_devices_leaves_out_who_cannot() -> None:
    settings = PlanSettings(ruleset=rulesets.ruleset("quick"), overrides={}, ranks=TWO)
    entries = [base("Base"), base("GradOfLoss", needs=frozenset({"raw-grad"}))]
    pairs = [
        phases.SubmissionOnWorkload(submission=entry, workload=micro.ENTRY, settings=settings) for entry in entries
    ]
    made = phases.plan_phases(pairs, NoParts(), ())
    assert {(spec.submission.name, spec.ranks) for spec in made.phase1} == {("base", 2)}
    assert made.skipped == (
        "skipped: gradofloss on micro: needs raw gradients (raw-grad), which are not exchanged between devices; "
        "run the submission with --gpus 1",
    )


def test_the_command_line_passes_ranks_on(capsys: pytest.CaptureFixture[str]) -> None:
    from harness import cli

    ids = {}
    for ranks in ("1", "2"):
        flags = ["--smoke", "--dry-run", "--json", "--gpus", ranks]
        assert cli.invoke(["run", "-s", "adamw-cosine", "-w", "lm-tiny", *flags]) == 0
        (trial,) = json.loads(capsys.readouterr().out)["specs"]
        assert trial["spec"].get("ranks", 1) == int(ranks)
        ids[ranks] = (trial["run_id"], trial["spec"]["hardware"])
    assert ids["1"][0] != ids["2"][0]
    assert ids["2"][1] == f"2x{ids['1'][1]}"


def test_ranks_are_part_of_the_hardware() -> None:  # of GPUs: tests/hardware/test_classes.py
    alone = detect.hardware_class("cpu", 1)
    assert detect.hardware_class("cpu", 1, 2) == f"2x{alone}"
    spec = spec_of(base("Base"), ranks=2)
    assert spec.hardware == f"2x{alone}"
