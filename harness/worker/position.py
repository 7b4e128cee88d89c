"""The progress of a run: its evaluations, and the current stage of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.contract.run import Point


@dataclass
class Position:
    """The progress of a run.

    Args:
        points: the evaluations so far.
        stage: index of the current stage, from 0; 0 on a pool.
        stage_began: number of examples that had been drawn when the current stage began.
        stage_hits: for every completed stage, the index in `points` of the evaluation that ended the stage.
    """

    points: list[Point] = field(default_factory=list)
    stage: int = 0
    stage_began: int = 0
    stage_hits: list[int] = field(default_factory=list)

    def advance(self) -> None:
        """Advance to the next stage. The last evaluation ended the current stage."""
        self.stage_hits.append(len(self.points) - 1)
        self.stage += 1
        self.stage_began = self.points[-1].examples

    def list_stage_hits(self, reached: bool) -> tuple[int, ...]:
        """Return the indices of the evaluations that ended a stage. The run, on a stream, must be over.

        Args:
            reached: whether the last evaluation ended the last stage.
        """
        return (*self.stage_hits, len(self.points) - 1) if reached else tuple(self.stage_hits)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as strings and lists."""
        points = msgspec.json.encode(self.points).decode()
        return {"points": points, "stage": [self.stage, self.stage_began, list(self.stage_hits)]}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Position:
        """Return the position with the state that `state_dict` returned."""
        stage, stage_began, stage_hits = state["stage"]
        return cls(msgspec.json.decode(state["points"], type=list[Point]), stage, stage_began, list(stage_hits))
