"""The loop of a gate, with records made by hand in place of runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.envelope import EnvelopeHorizon, ReferenceEnvelope
from harness.contract.run import RunSpec
from harness.contract.watcher import SilentWatcher
from harness.errors import StoreError, UsageError
from harness.execution.state import Interrupted
from harness.gating.envelopes import envelope_path, find_envelope, make_envelope, plan_envelope, read_envelope
from harness.gating.gate import GateLimits, GateProgress, GateResult, run_gate
from harness.gating.session import GateSession
from harness.gating.setup import GateOptions, GateSetup, GateWorkload, default_workloads, gate_budget
from harness.planning.internal_rulesets import GATE_RULESET
from harness.planning.references import find_reference
from harness.plugins.registry import load_registry
from harness.storage.envelopes import envelope_file, write_envelope
from harness.storage.layout import run_id
from tests import micro
from tests.gating.builders import FakeRunner
from tests.scoring import builders

REGISTRY = load_registry()
MICRO = GateWorkload(entry=micro.ENTRY, device="cpu", budget=1600)
A, B = REGISTRY.submission("adamw-constant"), REGISTRY.submission("adamw-cosine")
SETUP = GateSetup(a=A, b=B, workloads=(MICRO,), registry=REGISTRY)


def losses(ratio: float, noise: float = 0.01) -> Callable[[RunSpec], float]:
    """A ends at `ratio` times the loss of B, give or take the seed's luck."""

    def value(spec: RunSpec) -> float:
        luck = noise * (spec.seeds.data % 1000 / 500 - 1)
        return 2.0 * (ratio if spec.submission.name == A.name else 1.0) * math.exp(luck)

    return value


def gate(runner: FakeRunner, setup: GateSetup = SETUP, **limits: Any) -> GateResult:
    return run_gate(setup, GateLimits(**limits), {}, runner)


def test_it_stops_at_a_verdict_and_alternates_the_sides() -> None:
    runner = FakeRunner(losses(0.9))
    result = gate(runner)
    assert (result.outcome, result.stopped) == ("better", "")
    assert len(result.pairs) == 6
    assert len(runner.ran) == 12
    firsts = [spec.submission.name for spec in runner.ran[::2]]
    assert firsts == [A.name, B.name] * 3
    assert gate(FakeRunner(losses(1.1))).outcome == "worse"
    assert gate(FakeRunner(losses(1.0001))).outcome == "equivalent"


def test_pairs_share_seeds_and_end_at_the_gate_budget() -> None:
    (side_a, a), (side_b, b) = SETUP.plan_pair(3)
    assert (side_a, side_b) == ("B", "A")
    assert a.seeds == b.seeds
    for spec in (a, b):
        assert (spec.study, spec.purpose, spec.stop, spec.workload.facts.budget.horizon) == (3, "gate", 1600, 1600)
    assert b.submission.name == A.name
    assert a.hparams["horizon_fraction"] == 1.0
    assert SETUP.plan_pair(3) == SETUP.plan_pair(3)


def test_a_second_call_runs_only_what_is_missing() -> None:
    runner = FakeRunner(losses(0.9))
    first = gate(runner, max_pairs=4)
    assert (first.outcome, len(runner.ran)) == ("undecided", 8)
    assert first.stopped == "4 pairs cannot decide at alpha = 0.05: at least 6 are needed"
    second = gate(runner)
    assert (second.outcome, len(runner.ran)) == ("better", 12)
    assert second.pairs[:4] == first.pairs


def test_after_an_interruption_it_goes_on_with_the_run_that_is_missing() -> None:
    class Interrupting(FakeRunner):
        def __call__(self, specs: Any) -> Any:
            if len(self.ran) == 6:
                super().__call__(specs[:1])
                raise Interrupted("stopped")
            return super().__call__(specs)

    runner = Interrupting(losses(0.9))
    with pytest.raises(Interrupted):
        gate(runner)
    assert len(runner.ran) == 7
    assert gate(runner).outcome == "better"
    assert len(runner.ran) == len({run_id(spec) for spec in runner.ran}) == 12


def test_one_pair_is_undecided_and_says_why() -> None:
    result = gate(FakeRunner(losses(0.5)), max_pairs=1)
    assert result.outcome == "undecided"
    assert result.stopped.startswith("1 pair cannot decide")
    assert result.progress.minutes_needed is None


def test_no_pairs_and_no_time_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--max-pairs 0: .* \(give at least 6"):
        GateLimits(max_pairs=0)
    with pytest.raises(UsageError, match="a gate has 1,000 pairs at most"):
        GateLimits(max_pairs=1001)
    with pytest.raises(UsageError, match="--max-minutes 0"):
        GateLimits(max_minutes=0)
    with pytest.raises(UsageError, match="alpha"):
        GateLimits(alpha=1.5)


def test_it_stops_before_the_minutes_are_spent() -> None:
    now = 0.0

    def clock() -> float:
        return now

    class Slow(FakeRunner):
        def __call__(self, specs: Any) -> Any:
            nonlocal now
            now += 60
            return super().__call__(specs)

    seen: list[GateProgress] = []
    result = run_gate(SETUP, GateLimits(max_minutes=3.5), {}, Slow(losses(0.9)), on_pair=seen.append, clock=clock)
    assert len(seen) == len(result.pairs) == 3
    assert result.minutes == pytest.approx(3.0)
    assert "--max-minutes" in result.stopped
    assert result.progress.minutes_per_pair == pytest.approx(1.0)
    needed = result.progress.look.pairs_needed
    assert needed
    assert result.progress.minutes_needed == pytest.approx(needed)


class Clock:
    """A clock that advances by a minute whenever a run starts."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def runner(self, value: Callable[[RunSpec], float]) -> FakeRunner:
        def take_a_minute(spec: RunSpec) -> float:
            self.now += 60
            return value(spec)

        return FakeRunner(take_a_minute)


def test_the_runs_of_an_envelope_count_as_time_of_the_gate(tmp_path: Path) -> None:
    clock = Clock()
    runner = clock.runner(lambda spec: 2.0 * spec.workload.facts.budget.horizon**-0.1)
    session = GateSession(
        REGISTRY,
        GateOptions(runs=tmp_path / "runs", envelopes=tmp_path),
        watch=lambda label, total: nullcontext(SilentWatcher()),
        note=lambda line: None,
        on_pair=lambda progress: None,
        run=runner,
        clock=clock,
    )
    ending = session.gate(SETUP, GateLimits(max_minutes=5))
    assert {spec.purpose for spec in runner.ran} == {"gate-envelope"}
    assert (len(runner.ran), ending.result.pairs, ending.result.outcome) == (12, (), "undecided")
    assert ending.result.minutes == pytest.approx(12.0)
    assert ending.result.stopped.startswith("no pair has run, because making the envelope took the 5 minutes")
    # The envelope exists now, so there is time for two pairs of two minutes.
    assert len(session.gate(SETUP, GateLimits(max_minutes=5)).result.pairs) == 2


def test_pairs_of_earlier_calls_take_no_time() -> None:
    clock = Clock()
    runner = clock.runner(losses(0.9))
    finished = gate(runner, max_pairs=4)
    started = clock.now - 3600

    def is_finished(spec: RunSpec) -> bool:
        return run_id(spec) in runner.finished

    result = run_gate(
        SETUP, GateLimits(max_minutes=1), {}, runner, is_finished=is_finished, clock=clock, started=started
    )
    assert result.pairs == finished.pairs
    assert "--max-minutes" in result.stopped


def test_a_run_that_breaks_counts_against_its_owner() -> None:
    def value(spec: RunSpec) -> float | None:
        return None if spec.submission.name == A.name else 1.0

    result = gate(FakeRunner(value))
    assert result.outcome == "worse"
    assert len(result.progress.look.broken) == 6


@pytest.mark.slow
def test_two_workloads_are_decided_by_their_mean_and_none_may_be_worse() -> None:
    other = GateWorkload(
        entry=msgspec.structs.replace(
            micro.ENTRY, facts=msgspec.structs.replace(micro.FACTS, name="micro-two")
        ),
        device="cpu",
        budget=640,
    )  # fmt: skip
    both = replace(SETUP, workloads=(MICRO, other))

    def value(spec: RunSpec) -> float:
        ratio = 0.7 if spec.workload.facts.name == "micro" else 1.2
        return losses(ratio)(spec)

    result = gate(FakeRunner(value), both)
    assert result.outcome == "undecided"
    assert "worse on micro-two" in result.stopped
    assert len(result.pairs) == 7, "after six the mean is decided, and Holm could not yet show the harm"
    better = gate(FakeRunner(losses(0.8)), both)
    assert (better.outcome, len(better.pairs)) == ("better", 7)


@pytest.mark.slow
def test_an_edit_in_the_middle_is_an_error(tmp_path: Path) -> None:
    from harness.planning.resolve import resolve_submission

    source = Path("tests/fixtures/my_optimizer.py").read_text()
    file = tmp_path / "mine.py"
    file.write_text(source)
    setup = replace(SETUP, a=resolve_submission(str(file), REGISTRY))

    class Editing(FakeRunner):
        def __call__(self, specs: Any) -> Any:
            if len(self.ran) == 4:
                file.write_text(source + "\n# edited\n")
            return super().__call__(specs)

    with pytest.raises(UsageError, match="mine was edited after 2 pairs: a gate cannot mix two sources"):
        gate(Editing(losses(0.9)), setup)


def test_an_edit_of_the_file_of_a_workload_in_the_middle_is_an_error(tmp_path: Path) -> None:
    source = Path(micro.__file__).read_text()
    file = tmp_path / "task.py"
    file.write_text(source)
    entry = msgspec.structs.replace(micro.ENTRY, load=f"{file}:Micro", distribution="file")
    setup = replace(SETUP, workloads=(replace(MICRO, entry=entry),))

    class Editing(FakeRunner):
        def __call__(self, specs: Any) -> Any:
            if len(self.ran) == 4:
                file.write_text(f"{source}\n# a comment\n")
            if len(self.ran) == 6:
                file.write_text(f"{source}\nEDITED = 1\n")
            return super().__call__(specs)

    with pytest.raises(UsageError, match="micro was edited after 3 pairs: a gate cannot mix two sources"):
        gate(Editing(losses(0.9)), setup)


def test_what_cannot_run_is_refused_before_anything_runs() -> None:
    stream = GateWorkload(entry=micro.STREAM_ENTRY, device="cpu", budget=1600)
    setup = replace(SETUP, b=REGISTRY.submission("cma"), workloads=(MICRO, stream))
    with pytest.raises(UsageError, match=r"cma cannot run on micro-stream: it needs .*leave micro-stream out of -w"):
        gate(FakeRunner(losses(0.9)), setup)
    with pytest.raises(UsageError, match="compared with itself"):
        gate(FakeRunner(losses(0.9)), replace(SETUP, a=B))
    with pytest.raises(UsageError, match="no workload to gate on"):
        gate(FakeRunner(losses(0.9)), replace(SETUP, workloads=()))


# --- budgets, references, envelopes -----------------------------------------------------------------


def test_a_gate_budget_is_a_quarter_and_whole_evaluations() -> None:
    assert gate_budget(micro.FACTS) == 1600
    assert gate_budget(micro.STREAM_FACTS) == 1536, "twelve evaluations in each of two stages"
    assert gate_budget(builders.facts(eval_every=5)) == 80, "sixteen evaluations at least"
    assert gate_budget(builders.facts(eval_every=10)) == 100, "a horizon of ten evaluations"
    assert gate_budget(micro.FACTS, 700) == 704
    for wrong in (0, 100, 10_000):
        with pytest.raises(UsageError, match="a gate budget must be from 256 to 6,400 examples"):
            gate_budget(micro.FACTS, wrong)


def test_the_reference_is_found_by_its_tag() -> None:
    pool, stream = (find_reference(facts, REGISTRY, GATE_RULESET) for facts in (micro.FACTS, micro.STREAM_FACTS))
    assert pool is not None
    assert stream is not None
    assert (pool.name, stream.name) == ("adamw-cosine", "replay")


def test_the_default_gate_set_needs_no_data() -> None:
    assert default_workloads(REGISTRY.workloads()) == ["lm-tiny", "resnet-digits", "resnet-synthetic"]


def envelope_runner() -> FakeRunner:
    return FakeRunner(lambda spec: 2.0 * spec.workload.facts.budget.horizon**-0.1)


def test_an_envelope_is_made_once_and_kept(tmp_path: Path) -> None:
    specs = plan_envelope(MICRO, REGISTRY)
    assert {spec.purpose for spec in specs} == {"gate-envelope"}
    assert sorted({spec.stop or 0 for spec in specs}) == [384, 768, 1600, 3200]
    assert len(specs) == 12
    assert read_envelope(tmp_path, MICRO) is None
    made = make_envelope(tmp_path, MICRO, specs, envelope_runner())
    assert read_envelope(tmp_path, MICRO) == made
    assert made.runs == tuple(map(run_id, specs))
    assert made.provisional
    assert made.reference == "adamw-cosine@1"
    # Another budget is another envelope, in a file of its own; another version of the workload has none.
    longer = replace(MICRO, budget=3200)
    assert envelope_path(tmp_path, longer).name == "micro-3200.json"
    assert read_envelope(tmp_path, longer) is None
    entry = msgspec.structs.replace(micro.ENTRY, facts=msgspec.structs.replace(micro.FACTS, version="2"))
    assert read_envelope(tmp_path, replace(MICRO, entry=entry)) is None


def test_an_envelope_of_the_calibration_is_used_if_it_has_the_gate_budget(tmp_path: Path) -> None:
    provisional, calibrated = tmp_path / "gate", tmp_path / "envelopes"
    horizons = [EnvelopeHorizon(examples=n, hparams={}, metrics=(m, 4 * m)) for n, m in ((400, 2.0), (3200, 1.0))]
    full = ReferenceEnvelope(
        workload=MICRO.entry.facts.id,
        metric="loss",
        goal="min",
        budget=MICRO.budget,
        reference="adamw-cosine@1",
        hardware="any",
        horizons=tuple(horizons),
    )
    write_envelope(calibrated, full)
    assert find_envelope(provisional, replace(MICRO, budget=3200), calibrated) is None
    for other in ({"workload": "micro@2"}, {"metric": "accuracy"}):
        write_envelope(calibrated, msgspec.structs.replace(full, **other))
        assert find_envelope(provisional, MICRO, calibrated) is None
    write_envelope(calibrated, full)
    envelope_file(calibrated, "another").write_text("{")  # the damaged file of a workload that is not gated
    found = find_envelope(provisional, MICRO, calibrated)
    assert found is not None
    assert not found.provisional
    # The geometric means of the seeds are 4 and 2.
    assert [round(math.exp(found.log_budget(loss))) for loss in (4.0, 2.0)] == [400, 3200]
    # An envelope in the folder of the gate comes first.
    made = make_envelope(provisional, MICRO, plan_envelope(MICRO, REGISTRY), envelope_runner())
    assert find_envelope(provisional, MICRO, calibrated) == made


@pytest.mark.parametrize(
    "fields", [{"values": (2.0, 0.0, 1.0, 1.0)}, {"values": (2.0,)}, {"horizons": (-1, 1, 2, 3)}, {"spreads": ()}]
)
def test_an_envelope_that_has_no_logarithm_is_damaged(tmp_path: Path, fields: dict[str, object]) -> None:
    made = make_envelope(tmp_path, MICRO, plan_envelope(MICRO, REGISTRY), envelope_runner())
    path = envelope_path(tmp_path, MICRO)
    path.write_bytes(msgspec.json.encode({**msgspec.structs.asdict(made), **fields}))
    with pytest.raises(StoreError, match=f"{path.name} is damaged.*bench gate --envelope"):
        read_envelope(tmp_path, MICRO)


def test_multipliers_are_those_of_the_envelope(tmp_path: Path) -> None:
    envelope = make_envelope(tmp_path, MICRO, plan_envelope(MICRO, REGISTRY), envelope_runner())
    result = run_gate(SETUP, GateLimits(), {"micro": envelope}, FakeRunner(losses(0.99)))
    assert result.outcome == "better"
    assert result.progress.look.verdict.overall.estimate == pytest.approx(-10 * math.log(0.99), rel=1e-6)
    assert result.envelopes == {"micro": envelope}


def test_the_rules_of_a_gate_are_never_ranked() -> None:
    assert not GATE_RULESET.ranked
