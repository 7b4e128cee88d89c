"""The stages of streams of labelled images, as plain data. This module must not import torch."""

from __future__ import annotations

from collections.abc import Sequence

from harness.api import Stage, Target


def accuracy_stages(
    averages: Sequence[float], *, floor: float, max_examples: int, min_examples: int
) -> tuple[Stage, ...]:
    """Return the stages `task-0`, `task-1` and so on. Each has the mean accuracy over the tasks seen so far as target.

    Args:
        averages: target of each stage, in [0, 1].
        floor: minimum accuracy of every earlier task when the last stage ends. In earlier stages, only the mean
            accuracy must meet its target, so one task may fall behind.
        max_examples: maximum number of examples of every stage.
        min_examples: minimum number of examples of every stage. Without it, a stage could meet its target by chance,
            and end before the replay reservoir (the stored examples) has enough of its examples.
    """
    last = len(averages) - 1
    floors = tuple(Target(metric=f"accuracy/{task}", goal="max", value=floor) for task in range(last))
    return tuple(
        Stage(
            name=f"task-{task}",
            targets=(Target(metric="avg_seen", goal="max", value=average),),
            floors=floors if task == last else (),
            max_examples=max_examples,
            min_examples=min_examples,
        )
        for task, average in enumerate(averages)
    )
