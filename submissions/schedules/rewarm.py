"""Re-warming and re-decaying: one warmup and one cosine for every task of a stream.

Source: Simple and Scalable Strategies to Continually Pre-train Large Language Models, arXiv 2403.08763;
Continual Pre-Training of Large Language Models: How to (re)warm your model?, arXiv 2308.04014.
"""

from __future__ import annotations

from harness.api import Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import own_task
from submissions.schedules.cosine import cosine

ENTRY = PartEntry(
    kind="schedule",
    name="rewarm",
    aliases=("re-warm", "rewarm-redecay"),
    load=f"{__name__}:rewarm",
    summary="for every task anew: linear warmup, then half a cosine to `final` over the planned part of its cap",
    space={
        "warmup": Uniform(0.0, 0.1, default=0.02, limits=(0.0, None)),
        "final": Fixed(0.1, limits=(0.0, 1.0)),
    },
    # From 1 on it is a number of updates, of which every task must have as many.
    checks=("steps(warmup) <= horizon", "warmup < 1 or warmup <= task"),
    # `horizon` brings `horizon_fraction`: the share of a task's cap that the decay is planned for.
    needs=frozenset({"stream", "boundaries", "horizon"}),
    sources=(
        Source(
            title="Simple and Scalable Strategies to Continually Pre-train Large Language Models",
            arxiv="2403.08763",
        ),
        Source(
            title="Continual Pre-Training of Large Language Models: How to (re)warm your model?", arxiv="2308.04014"
        ),
    ),
)


def rewarm(p: Progress, warmup: float = 0.0, final: float = 0.0) -> float:
    """`cosine` in the task's own updates; where no tasks are visible, the run is one task.

    >>> rewarm(Progress(step=1000, horizon=2000, task_index=1, task_step=0, task_horizon=400))
    1.0
    """
    return cosine(own_task(p), warmup, final)
