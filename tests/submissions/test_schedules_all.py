"""What holds for every installed schedule, whatever its hyperparameters; and which are refused before anything runs."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import hyperparameters
from harness.contract.domains import Choice, Domain, Fixed, HParams, LogUniform, Uniform
from harness.contract.entries import PartEntry
from harness.contract.schedule import Factors, Progress
from harness.errors import UsageError
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins import loading
from harness.plugins.locating import locate
from harness.plugins.registry import load_registry
from tests import micro

REGISTRY = load_registry()
PARTS = [part for part in REGISTRY.parts() if part.kind == "schedule"]
WITH_HORIZON = [part for part in PARTS if "horizon" in part.needs]
by_name: dict[str, Any] = {"ids": lambda part: part.name}


def lr(said: Factors | float) -> float:
    return said.lr if isinstance(said, Factors) else said


def values_of(domain: Domain) -> st.SearchStrategy[Any]:
    """Values that may be set by hand, and the extreme ones among them."""
    match domain:
        case Choice() | Fixed(values=tuple()):
            return st.sampled_from(domain.values or ())
        case Fixed() if isinstance(domain.default, bool):
            return st.booleans()
        case Fixed() | Uniform() | LogUniform():
            low, high = hyperparameters.override_limits(domain)
            around = float(hyperparameters.default(domain))
            far = 10 * abs(around) + 1
            low, high = max(low, around - far), min(high, around + far)
            numbers = st.floats(low, high) | st.just(low) | st.just(high)
            return numbers.map(round) if isinstance(hyperparameters.default(domain), int) else numbers
    low, high = hyperparameters.override_limits(domain)
    return st.integers(int(low), int(min(high, 10 * float(hyperparameters.default(domain)))))


@st.composite
def settings_of(draw: st.DrawFn, part: PartEntry) -> tuple[HParams, int]:
    """Hyperparameters that planning accepts, and a horizon."""
    horizon = draw(st.integers(1, 300))
    drawn = {name: draw(values_of(domain)) for name, domain in part.space.items()}
    try:
        return hyperparameters.resolve(part.space, drawn, part.checks, {"horizon": horizon}), horizon
    except UsageError:
        return {name: hyperparameters.default(domain) for name, domain in part.space.items()}, horizon


def at(step: int, horizon: int) -> Progress:
    return Progress(step=step, horizon=horizon, examples=step * 8, tokens=step * 64, batch_size=8)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS, **by_name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_factors_are_finite_between_0_and_1(part: PartEntry, data: st.DataObject) -> None:
    schedule = loading.load_object(part.load)
    hparams, horizon = data.draw(settings_of(part))
    for step in {0, 1, horizon // 3, horizon // 2, max(horizon - 1, 0), horizon, horizon + 1, 3 * horizon}:
        factor = lr(schedule(at(step, horizon), **hparams))
        assert math.isfinite(factor)
        assert 0 <= factor <= 1 + 1e-12, step


@pytest.mark.parametrize("part", WITH_HORIZON, **by_name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_end_value_is_reached_at_the_horizon_and_kept(part: PartEntry, data: st.DataObject) -> None:
    schedule = loading.load_object(part.load)
    hparams, horizon = data.draw(settings_of(part))
    if any(
        0 < hyperparameters.steps(float(hparams.get(name, 0)), horizon) >= horizon for name in ("warmup", "cooldown")
    ):
        return  # all of the run is warmup: there is no end value
    end = schedule(at(horizon, horizon), **hparams)
    assert schedule(at(horizon + 1, horizon), **hparams) == end
    assert schedule(at(7 * horizon, horizon), **hparams) == end


@pytest.mark.parametrize("horizon", [1, 2, 100, 1001])
@pytest.mark.parametrize("part", [part for part in WITH_HORIZON if "warmup" in part.space], **by_name)
def test_a_warmup_of_the_whole_horizon_rises_to_its_end(part: PartEntry, horizon: int) -> None:
    """Planning lets it pass wherever there need be no decay; it once divided by the nothing that is left."""
    schedule = loading.load_object(part.load)
    hparams = {name: 0.0 for name in ("decay", "cooldown", "tail") if name in part.space} | {"warmup": float(horizon)}
    factors = [lr(schedule(at(step, horizon), **hparams)) for step in range(horizon + 2)]
    assert factors[:horizon] == pytest.approx([step / horizon for step in range(horizon)])
    assert all(math.isfinite(factor) and 0 <= factor <= 1 for factor in factors[horizon:])
    assert factors[horizon] == factors[horizon + 1]


@pytest.mark.parametrize("part", PARTS, **by_name)
def test_hyperparameters_are_the_arguments(part: PartEntry) -> None:
    """Else a hyperparameter would be searched that changes nothing, or an argument could not be set."""
    names = list(inspect.signature(loading.load_object(part.load)).parameters)[1:]
    assert sorted(names) == sorted(part.space)


@pytest.mark.parametrize("part", PARTS, **by_name)
def test_bare_it_has_no_warmup_and_an_end_at_0(part: PartEntry) -> None:
    defaults = {k: p.default for k, p in inspect.signature(loading.load_object(part.load)).parameters.items()}
    assert defaults.get("warmup", 0) == 0
    # Where a decay goes in proportions there is no way to 0.
    assert defaults.get("final", 0) == {"wsd-s": 0.1, "infinite": 0.01}.get(part.name, 0)


@pytest.mark.parametrize("part", PARTS, **by_name)
def test_a_schedule_imports_no_torch(part: PartEntry) -> None:
    module = part.load.partition(":")[0]
    source = Path(str(locate(module))).read_text()
    assert "torch" not in {
        line.split()[1].partition(".")[0] for line in source.splitlines() if "import" in line.split()[:1]
    }
    assert part.sources or part.name == "constant"


TITLES = {
    "Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape Perspective",
    "Beyond Cosine Decay: On the effectiveness of Infinite Learning Rate Schedule for Continual Pre-training",
    "When, Why and How Much? Adaptive Learning Rate Scheduling by Refinement",
    "MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies",
    "REX: Revisiting Budgeted Training with an Improved Schedule",
    "Stepsize anything: A unified learning rate schedule for budgeted-iteration training",
    "Straight to Zero: Why Linearly Decaying the Learning Rate to Zero Works Best for LLMs",
    "Power Scheduler: A Batch Size and Token Number Agnostic Learning Rate Scheduler",
    "Cyclical Learning Rates for Training Neural Networks",
    "A disciplined approach to neural network hyper-parameters: Part 1 -- learning rate, batch size, momentum, and "
    "weight decay",
    "Fast Benchmarking of Accuracy vs. Training Time with Cyclic Learning Rates",
    "Simple and Scalable Strategies to Continually Pre-train Large Language Models",
    "Continual Pre-Training of Large Language Models: How to (re)warm your model?",
    "Reuse, Don't Retrain: A Recipe for Continued Pretraining of Language Models",
    "A Simple Fine-tuning Is All You Need: Towards Robust Deep Learning Via Adversarial Fine-tuning",
    "PLM: Efficient Peripheral Language Models Hardware-Co-Designed for Ubiquitous Computing",
    "sharpDARTS: Faster and More Accurate Differentiable Architecture Search",
    "SGD with Large Step Sizes Learns Sparse Features",
    "OctoThinker: Mid-training Incentivizes Reinforcement Learning Scaling",
}


def test_every_paper_is_cited_by_its_title() -> None:
    cited = {source.title for part in PARTS for source in part.sources}
    assert cited >= TITLES


def test_every_schedule_has_a_submission() -> None:
    used = {part for entry in REGISTRY.submissions() for part in entry.parts}
    assert {part.id for part in PARTS} <= used


@pytest.mark.parametrize(
    ("submission", "given", "word"),
    [
        ("wsd", {"warmup": "-1"}, "warmup=-1"),
        ("wsd", {"decay": "10000"}, "steps(decay)"),
        ("wsd", {"warmup": "0.5", "decay": "0.6"}, "steps(warmup) + steps(decay) <= horizon"),
        ("wsd", {"shape": "exp"}, "final > 0"),
        ("wsd", {"shape": "inv"}, "final > 0"),
        ("wsd", {"half_life": "0"}, "half_life=0"),
        ("wsd", {"final": "1.5"}, "final=1.5"),
        ("wsdc", {"tail": "10000"}, "steps(tail)"),
        ("wsd-s", {"final": "0"}, "final=0"),
        ("wsd-s", {"cycles": "0"}, "cycles=0"),
        ("cyclic-cosine", {"ratio": "0.5"}, "ratio=0.5"),
        ("uba", {"phi": "-0.1"}, "phi=-0.1"),
        ("cosine-power", {"p": "0.5"}, "p=0.5"),
        ("step", {"gamma": "2"}, "gamma=2"),
        ("clr", {"step_size": "0"}, "step_size=0"),
        ("clr", {"step_size": "10000"}, "steps(step_size) <= horizon"),
        ("clr", {"shape": "sawtooth"}, "triangular2"),
        ("one-cycle", {"pct_start": "1.5"}, "pct_start=1.5"),
        ("one-cycle", {"three_phase": "true", "pct_start": "0.6"}, "pct_start"),
        ("one-cycle", {"base_momentum": "0.99"}, "base_momentum"),
        ("infinite", {"constant": "0.1", "final": "0.2"}, "final <= constant"),
        ("multiplicative-cyclic", {"period": "0"}, "period=0"),
        ("power", {"b": "0.5"}, "b=0.5"),
        ("rex", {"warmup": "10000"}, "steps(warmup) <= horizon"),
        ("inverse-sqrt", {"warmup": "-5"}, "warmup=-5"),
        ("large-then-decay", {"decay": "10000"}, "steps(decay)"),
        ("slow-start-fast-decay", {"rate": "0"}, "rate=0"),
    ],
)
def test_bad_hyperparameters_are_refused_by_name_when_planning(
    submission: str, given: dict[str, str], word: str
) -> None:
    asked = PlanSettings(ruleset=rulesets.ruleset("quick"), overrides=given)
    with pytest.raises(UsageError) as refused:
        plan_trials(micro.ENTRY, REGISTRY.submission(submission), REGISTRY, asked)
    assert word in str(refused.value)
