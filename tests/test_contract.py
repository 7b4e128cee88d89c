"""The contract, for every workload of the CPU tier and every submission of this repository.

Workloads on real data have small generated files in its place, in the same formats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import torch

from harness.contract import hyperparameters
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import RunSpec
from harness.contract.schedule import Factors, Progress
from harness.contract.workload import WHOLE, Shard
from harness.errors import BenchError
from harness.execution.state import Interrupted
from harness.planning import compose, rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins import loading
from harness.plugins.registry import load_registry
from harness.testing.checks import NotApplicable
from harness.testing.workloads import WORKLOAD_CHECKS, WorkloadCase
from harness.worker.protocols import Screenable
from harness.worker.screening import estimate_metrics, find_bias
from tests import micro
from tests.helpers import Remember, outcome, run_here
from tests.workloads import stand_ins

REGISTRY = load_registry()
WORKLOADS = [w for w in REGISTRY.workloads() if w.facts.tier == "cpu"]
#: Every submission may run on one of these: a pool with scores and a stream with boundaries are always among them.
PLACES = [*WORKLOADS, micro.ENTRY, micro.STREAM_ENTRY]
SUBMISSIONS = list(REGISTRY.submissions())


def name_of(entry: Any) -> str:
    name: str = entry.name
    return name


#: What every workload is tried with: two that use what its kind of data offers.
TRIED = {
    "pool": ("muon-wsd", "wsd-ema"),
    "scored": ("muon-wsd", "quality-ascending"),
    "stream": ("d2z", "rewarm-replay"),
}


def firsts() -> list[SubmissionEntry]:
    """The first submission with each optimizer and each averager, or with a step of its own."""
    seen: set[str] = set()
    chosen = []
    for entry in SUBMISSIONS:
        made = {part for part in entry.parts if part.startswith(("optimizer:", "averaging:"))} or {entry.name}
        if not made <= seen:
            chosen.append(entry)
        seen |= made
    return chosen


#: Every submission on the small workloads, every workload with two submissions, and every optimizer and averager on a
#: network with convolutions and batch norm: the whole product takes half an hour.
PAIRS = [
    *((s, w) for s in SUBMISSIONS for w in (micro.ENTRY, micro.STREAM_ENTRY)),
    *((REGISTRY.submission(n), w) for w in WORKLOADS for n in TRIED["scored" if w.facts.scores else w.facts.access]),
    *((s, REGISTRY.workload("resnet-digits")) for s in firsts() if s.name not in TRIED["pool"]),
]


def test_nothing_of_ours_is_broken() -> None:
    assert [plugin.error for plugin in REGISTRY.plugins] == [None] * len(REGISTRY.plugins)
    families = {"lm-", "resnet-", "continual-", "curriculum-"}
    assert {prefix for prefix in families for w in WORKLOADS if w.name.startswith(prefix)} == families
    assert {need for w in WORKLOADS for need in w.needs_data} == {"mnist", "fashion-mnist", "tinyshakespeare"}
    # One detail changed, for each of them; the scenarios of a workload are not others.
    bases = {w.name for w in WORKLOADS if not {"+", ":"} & set(w.name)}
    assert bases == {w.name.partition("+")[0] for w in WORKLOADS if "+" in w.name}
    assert len(SUBMISSIONS) >= 4
    assert {s.name for s in SUBMISSIONS} >= {name for pair in TRIED.values() for name in pair}


@pytest.fixture(scope="module", autouse=True)
def _data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with stand_ins.installed(tmp_path_factory.mktemp("data")):
        yield


@pytest.fixture(scope="module", params=WORKLOADS, ids=name_of)
def case(request: pytest.FixtureRequest, _data: None, tmp_path_factory: pytest.TempPathFactory) -> WorkloadCase:
    """A workload with its training data and a model."""
    return WorkloadCase(request.param, REGISTRY, tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
@pytest.mark.usefixtures("thawed")
class TestWorkload:
    # The pairs below run every workload, and the test of windows measures its shards.
    @pytest.mark.parametrize("check", [name for name in WORKLOAD_CHECKS if name not in ("runs", "shards")])
    def test_it_passes_the_checks_for_authors(self, case: WorkloadCase, check: str) -> None:
        try:
            WORKLOAD_CHECKS[check](case)
        except NotApplicable as reason:
            pytest.skip(str(reason))
        if check == "training data":
            assert (case.facts.access == "stream") == bool(case.facts.stages)

    def test_windows_of_a_split_are_the_whole_split(self, case: WorkloadCase) -> None:
        """Windows that follow each other have the values of the whole split; those of every metric average to it."""
        entry, workload = case.entry, case.workload
        assert isinstance(workload, Screenable)
        screenable = cast(Any, workload)
        model = workload.build_model(3).eval()
        for stage in range(len(entry.facts.stages)) or (None,):
            with torch.no_grad():
                whole = screenable.measure(model, "score", WHOLE, stage)
                windows = [Shard(stop=64), Shard(start=64, stop=128), Shard(start=128)]
                parts = [screenable.measure(model, "score", window, stage) for window in windows]
                metrics = workload.evaluate(model, "score", stage)
            assert screenable.metrics(whole, "score", stage) == metrics
            for name, tensor in _join(parts).items():
                assert len(tensor) == len(whole[name])
                assert torch.allclose(tensor.double().sort()[0], whole[name].double().sort()[0], atol=1e-5)
            values = screenable.example_values(whole, "score", WHOLE, stage)
            targets = entry.facts.stages[stage] if stage is not None else None
            wanted = entry.facts.targets if targets is None else (*targets.targets, *targets.floors)
            assert {target.metric for target in wanted} <= set(values)
            for name, tasks in values.items():
                mean = sum(float(task.double().mean()) for task in tasks) / len(tasks)
                assert mean == pytest.approx(metrics[name], rel=1e-6, abs=1e-9)
            first = screenable.example_values(parts[0], "score", windows[0], stage)
            both = screenable.example_values(_join(parts[:2]), "score", Shard(stop=128), stage)
            for name, tasks in first.items():
                for task, longer, every in zip(tasks, both[name], values[name], strict=True):
                    assert len(task) == min(64, len(every))
                    assert torch.equal(task, longer[: len(task)])
                    assert not len(task) or math.isfinite(float(task.double().mean()))

    def test_a_prefix_of_a_split_is_a_random_sample(self, case: WorkloadCase) -> None:
        entry, workload, data = case.entry, case.workload, cast(Any, case.data)
        screenable = cast(Any, workload)
        model = workload.build_model(3)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for step in range(20):
            n = entry.facts.batch_sizes[0]
            batch = (
                data.gather(torch.arange(n * step, n * step + n) % len(data))
                if entry.facts.access == "pool"
                else data.draw(n)
            )
            optimizer.zero_grad()
            workload.loss(model, batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        stage = len(entry.facts.stages) - 1 if entry.facts.stages else None
        with torch.no_grad():
            whole, part = (
                screenable.example_values(screenable.measure(model, "score", shard, stage), "score", shard, stage)
                for shard in (WHOLE, Shard(stop=128))
            )
            metrics = workload.evaluate(model, "score", stage)
        totals = {name: [len(task) for task in tasks] for name, tasks in whole.items()}
        assert find_bias(estimate_metrics(part, totals), metrics) == ""


def _join(windows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([window[name] for window in windows]) for name in windows[0]}


def spec_or_reason(submission: SubmissionEntry, workload: WorkloadEntry) -> RunSpec | str:
    composition = compose.compose(submission, REGISTRY)
    ruleset = rulesets.ruleset("quick")
    reason = compose.find_ineligibility(composition, workload.facts, ruleset)
    settings = PlanSettings(ruleset=ruleset, smoke=True)
    return reason or plan_trials(workload, submission, REGISTRY, settings)[0]


@pytest.mark.slow
@pytest.mark.usefixtures("thawed")
@pytest.mark.parametrize(("submission", "workload"), PAIRS, ids=[f"{s.name}-{w.name}" for s, w in PAIRS])
class TestPair:
    def test_it_trains_or_says_why_not(
        self, submission: SubmissionEntry, workload: WorkloadEntry, tmp_path: Path
    ) -> None:
        """A few steps end as they should, and broken off in the middle they end the same."""
        spec = spec_or_reason(submission, workload)
        if isinstance(spec, str):
            assert spec.startswith("needs ")
            return
        whole = run_here(spec, tmp_path / "whole")
        assert whole.status in ("exhausted", "reached"), whole.reason
        assert whole.counters.steps > 0
        assert whole.points[-1].metrics.keys() >= whole.points[0].metrics.keys()
        from harness.execution.trial import run_trial
        from tests.worker.interrupt import StopAt

        with pytest.raises(Interrupted):
            run_trial(spec, tmp_path / "broken", Remember(), transport=StopAt(2))
        torch.manual_seed(99)
        assert outcome(run_here(spec, tmp_path / "broken")) == outcome(whole)


@pytest.mark.parametrize("submission", SUBMISSIONS, ids=name_of)
class TestSubmission:
    def test_its_defaults_are_valid_everywhere_it_may_run(self, submission: SubmissionEntry) -> None:
        for workload in PLACES:
            spec = spec_or_reason(submission, workload)
            if not isinstance(spec, str):
                composed = compose.compose(submission, REGISTRY)
                assert set(spec.hparams) == set(composed.space) | {"batch_size"}

    def test_it_refuses_what_does_not_exist(self, submission: SubmissionEntry) -> None:
        settings = PlanSettings(ruleset=rulesets.ruleset("quick"), overrides={"no_such_thing": "1"})
        workload = next(w for w in PLACES if not isinstance(spec_or_reason(submission, w), str))
        with pytest.raises(BenchError, match="no_such_thing"):
            plan_trials(workload, submission, REGISTRY, settings)


@pytest.mark.parametrize("part", [p for p in REGISTRY.parts() if p.kind == "schedule"], ids=name_of)
def test_schedules_are_pure_and_bounded(part: Any) -> None:
    """Equal progress gives equal factors, in [0, 1] between the start and the end."""
    schedule = loading.load_object(part.load)
    values = {name: hyperparameters.default(domain) for name, domain in part.space.items()}
    for step in (0, 1, 10, 50, 99, 100):
        progress = Progress(step=step, horizon=100)
        said = schedule(progress, **values)
        assert said == schedule(progress, **values)
        assert 0.0 <= (said.lr if isinstance(said, Factors) else said) <= 1.0
    assert msgspec.json.decode(msgspec.json.encode(part), type=type(part)) == part
