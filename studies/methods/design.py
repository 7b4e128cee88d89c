"""What is compared in docs/comparison.md: arms, workloads, budgets, seeds and claims, all of it fixed before any run.

Every arm is a preset at its defaults but for what is tuned: its learning rate and, where it plans for a horizon, its
`horizon_fraction`. Five settings of these two are tried on one tuning seed, all five on the same; they are the first
points of the Halton sequence that every ruleset draws from. Each measure has its own best setting, and each best
setting five fresh seeds, the same for all arms, so that runs pair. All runs go to the end of their budget. All other
methods have three learning rates on `resnet-digits`, and one run at their defaults on `lm-tiny`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: `loss`: the score metric at the end of the budget. `target`: examples drawn at the first evaluation at the target.
Measure = Literal["loss", "target"]
Kind = Literal["better", "not worse"]
#: What is tried for an arm: points over its learning rate and its horizon, learning rates alone, or its defaults.
Settings = Literal["points", "rates", "defaults"]

RULESET = Path(__file__).with_name("methods.yaml")
#: Root of all seeds; no other runs of this repository have it.
ROOT_SEED = 6
#: Settings tried for a main arm, learning rates tried for any other, fresh seeds of each best setting.
TRIALS, RATES, SEEDS = 5, 3, 5
#: Two-sided error of every table and of the list of claims, after correction.
ALPHA = 0.05
#: A ratio of losses or of examples nearer to 1 than this is of no interest to a claim, whatever its p.
WORTH = 0.03


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One workload at one budget.

    Args:
        workload: its name.
        budget: in examples; None for the workload's own.
        arms: submissions that run there.
        settings: what is tried on the tuning seed; nothing, where the defaults are run.
        seeds: fresh ones, of each best setting.
        measures: those whose best settings are run on fresh seeds.
        eval_every: examples between evaluations; None for the workload's own.
    """

    workload: str
    budget: int | None = None
    arms: Sequence[str]
    settings: Settings = "points"
    seeds: int = SEEDS
    measures: tuple[Measure, ...] = ("loss", "target")
    eval_every: int | None = None

    @property
    def title(self) -> str:
        return self.workload if self.budget is None else f"{self.workload}, {self.budget:,} examples"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says of two methods, as a test on pairs of fresh seeds.

    Args:
        paper: its title.
        says: the claim in a few words, as far as it can be tried here.
        arm, other: the method said to be better (or not to be worse), and the one it is compared with.
        measure: what is compared.
        small: at the small budget of `resnet-digits` instead of at the full ones.
        confounds: what differs from the paper's setting.
    """

    paper: str
    says: str
    arm: str
    other: str
    measure: Measure = "loss"
    kind: Kind = "better"
    small: bool = False
    confounds: str


SCHEDULES = (
    "adamw-cosine",
    "adamw-constant",
    "d2z",
    "wsd",
    "wsd-s",
    "rex",
    "uba",
    "infinite",
    "one-cycle",
    "step",
)
#: Schedule-Free has no WSD on top: its average stands in for the decay.
OPTIMIZERS = (
    "wsd",
    "nadamw-wsd",
    "nesterov-wsd",
    "lion-wsd",
    "muon-wsd",
    "soap-wsd",
    "schedule-free-adamw",
    "prodigy-wsd",
)
#: Family -> its arms, the first of which the others are compared with.
FAMILIES: dict[str, tuple[str, ...]] = {"Schedules, with AdamW": SCHEDULES, "Optimizers, with WSD": OPTIMIZERS}
MAIN = tuple(dict.fromkeys((*SCHEDULES, *OPTIMIZERS)))
#: Tuned by learning rate alone, on `resnet-digits`; at their defaults on `lm-tiny`.
REST = (
    "adabound-wsd",
    "adafactor-wsd",
    "adamod-wsd",
    "adamw-polynomial",
    "adamw-swa",
    "ademamix-wsd",
    "amsbound-wsd",
    "clr",
    "clr-sgd",
    "cosine-10pct",
    "cosine-power",
    "cosine-power-sgd",
    "cyclic-cosine",
    "dog",
    "fadam-wsd",
    "galore-wsd",
    "heavy-ball-wsd",
    "inverse-sqrt",
    "lamb-wsd",
    "large-then-decay",
    "ldog",
    "linear-10pct",
    "minicpm",
    "multiplicative-cyclic",
    "nadamw-algoperf",
    "nadamw-algoperf-points",
    "one-cycle-sgd",
    "power",
    "prodigy",
    "radam-wsd",
    "rex-sgd",
    "sam-sgd",
    "schedule-free-radam",
    "schedule-free-sgd",
    "sgd-nesterov",
    "sgd-swa",
    "sgdw-wsd",
    "shampoo-wsd",
    "slow-start-fast-decay",
    "step-sgd",
    "uba-sgd",
    "wsd-ema",
    "wsd-lawa",
    "wsdc",
    "wsm",
)
#: A quarter of the budget: where the papers on budgeted training see the largest differences.
SMALL = Stage(workload="resnet-digits", budget=7_168, arms=MAIN)
#: The workloads at their own budgets, on which claims are tried.
#: The evaluations of `lm-tiny` take longer than its training; 51 are enough to compare arms with each other.
FULL = (Stage(workload="resnet-digits", arms=MAIN), Stage(workload="lm-tiny", arms=MAIN, eval_every=640))
OTHERS = Stage(workload="resnet-digits", arms=REST, settings="rates", measures=("target",))
UNTUNED = Stage(workload="lm-tiny", arms=REST, settings="defaults", seeds=1, measures=("target",), eval_every=640)
#: In the order in which they run; what matters most comes first.
STAGES = (FULL[0], SMALL, FULL[1], OTHERS, UNTUNED)

_ONE_SIZE = "a network of some ten thousand weights and some hundred updates"
_SHARED_SPACE = "warmup and the schedule's own numbers are not tuned"


def _claims() -> Iterator[Claim]:
    refinement = "When, Why and How Much? Adaptive Learning Rate Scheduling by Refinement"
    yield Claim(
        paper=refinement,
        says="linear decay matches or outperforms cosine",
        arm="d2z",
        other="adamw-cosine",
        kind="not worse",
        confounds=_ONE_SIZE,
    )
    rex = "REX: Revisiting Budgeted Training with an Improved Schedule"
    yield Claim(
        paper=rex,
        says="REX outperforms linear decay at a low budget",
        arm="rex",
        other="d2z",
        small=True,
        confounds=f"{_ONE_SIZE}; a quarter of a budget is not the paper's 1 %",
    )
    for other, name in (("d2z", "linear"), ("adamw-cosine", "cosine"), ("step", "step"), ("one-cycle", "one-cycle")):
        yield Claim(
            paper=rex,
            says=f"REX matches or exceeds {name} decay at a high budget",
            arm="rex",
            other=other,
            kind="not worse",
            confounds=_ONE_SIZE,
        )
    uba = "Stepsize anything: A unified learning rate schedule for budgeted-iteration training"
    for small in (True, False):
        for other, name in (("adamw-cosine", "cosine"), ("step", "step"), ("one-cycle", "one-cycle"), ("rex", "REX")):
            yield Claim(
                paper=uba,
                says=f"UBA surpasses {name}",
                arm="uba",
                other=other,
                small=small,
                confounds=f"φ stays at 1; {_SHARED_SPACE}",
            )
    river = "Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape Perspective"
    yield Claim(
        paper=river,
        says="WSD-S, with checkpoints on the way, ends no worse than WSD",
        arm="wsd-s",
        other="wsd",
        kind="not worse",
        confounds="the paper counts the losses at all budgets of a run, here it is the last alone; final 0.1 against 0",
    )
    yield Claim(
        paper="A disciplined approach to neural network hyper-parameters: Part 1 -- learning rate, batch size, "
        "momentum, and weight decay",
        says="one cycle reaches the target earlier than steps",
        arm="one-cycle",
        other="step",
        measure="target",
        confounds="the paper is about SGD; momentum is AdamW's beta1 here",
    )
    road = "The Road Less Scheduled"
    measures: tuple[Measure, ...] = ("loss", "target")
    for measure in measures:
        yield Claim(
            paper=road,
            says="Schedule-Free is no worse than a tuned cosine, without knowing the horizon",
            arm="schedule-free-adamw",
            other="adamw-cosine",
            measure=measure,
            kind="not worse",
            confounds="β₁ and warmup are not tuned, and it has one tuned number where the cosine has two",
        )
    for matrix, name in (("muon-wsd", "Muon"), ("soap-wsd", "SOAP")):
        yield Claim(
            paper="Fantastic Pretraining Optimizers and Where to Find Them",
            says=f"{name} is faster than tuned AdamW",
            arm=matrix,
            other="wsd",
            measure="target",
            confounds="speed counts examples, so its dearer step is free; the paper sees gains shrink with size",
        )
    yield Claim(
        paper="How far away are truly hyperparameter-free learning algorithms?",
        says="Prodigy lags behind a calibrated NAdamW",
        arm="nadamw-wsd",
        other="prodigy-wsd",
        measure="target",
        confounds="NAdamW is calibrated on the workload itself, and so is Prodigy's factor",
    )


CLAIMS = tuple(_claims())
