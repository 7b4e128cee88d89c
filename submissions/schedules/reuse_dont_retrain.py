"""Reuse, don't retrain: a later task goes on at the rate where the first one ended, without re-warming.

Source: Reuse, Don't Retrain: A Recipe for Continued Pretraining of Language Models, arXiv 2407.07263.
"""

from __future__ import annotations

from harness.api import Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import WARMUP, own_task
from submissions.schedules.cosine import cosine

ENTRY = PartEntry(
    kind="schedule",
    name="reuse-dont-retrain",
    load=f"{__name__}:reuse_dont_retrain",
    summary="half a cosine to `final` in the first task; from there to `floor` of it in every later one, not re-warmed",
    space={
        "warmup": WARMUP,
        "final": Uniform(0.1, 0.5, default=0.2, limits=(0.0, 1.0)),
        "floor": Fixed(0.1, limits=(0.0, 1.0)),
    },
    checks=("steps(warmup) <= horizon",),
    # `horizon` brings `horizon_fraction`: the share of a task's cap that the decay is planned for.
    needs=frozenset({"stream", "boundaries", "horizon"}),
    sources=(
        Source(
            title="Reuse, Don't Retrain: A Recipe for Continued Pretraining of Language Models",
            arxiv="2407.07263",
            equation="the learning-rate schedule of the recipe",
        ),
    ),
)


def reuse_dont_retrain(p: Progress, warmup: float = 0.0, final: float = 0.0, floor: float = 0.1) -> float:
    """`cosine` from 1 to `final` in the first task; from `final` to final·floor in each later one.

    The paper has one continuation; with more, each is a continuation of the first task's end. Where no tasks are
    visible, the run is the first task.

    >>> at = lambda t: Progress(step=100 + t, horizon=200, task_index=1, task_step=t, task_horizon=100)
    >>> [round(reuse_dont_retrain(at(t), final=0.2), 3) for t in (0, 50, 100)]
    [0.2, 0.11, 0.02]
    """
    own = own_task(p)
    return final * cosine(own, 0.0, floor) if p.task_index else cosine(own, warmup, final)
