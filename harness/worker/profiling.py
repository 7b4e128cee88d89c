"""Where the time of a step goes, for `--profile`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

#: What a step spends outside data and passes is charged to `optimizer`: its update, the schedule and the submission's
#: own code.
PHASES = ("data", "forward", "backward", "optimizer", "eval_weights")

P = ParamSpec("P")
T = TypeVar("T")


class Profiler:
    """Seconds by phase. A phase that runs inside another is not charged to the outer one.

    It waits for the device at every edge of a phase, so that queued work is charged to the phase that queued it. That
    costs time: a run that is not profiled has no profiler.

    Args:
        device: of the run.

    Attributes:
        phases: seconds so far, by name.
    """

    def __init__(self, device: torch.device) -> None:
        self.phases = dict.fromkeys(PHASES, 0.0)
        self._device = device
        self._open: list[str] = []
        self._edge = 0.0

    def start(self, phase: str) -> None:
        """Charge the time from now on to `phase`."""
        self._charge_until_now()
        self._open.append(phase)

    def stop(self) -> None:
        """Go back to the phase that was open before the last `start`."""
        self._charge_until_now()
        self._open.pop()

    def timed(self, phase: str, function: Callable[P, T]) -> Callable[P, T]:
        """The function, with the time of its calls charged to `phase`."""

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            self.start(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self.stop()

        return call

    def reset(self) -> None:
        """Forget what has been charged so far."""
        self.phases.update(dict.fromkeys(PHASES, 0.0))

    def charge(self, phase: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere."""
        self.phases[phase] += seconds

    def _charge_until_now(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._open:
            self.phases[self._open[-1]] += now - self._edge
        self._edge = now


def timed(profiler: Profiler | None, phase: str, function: Callable[P, T]) -> Callable[P, T]:
    """The function, timed where there is a profiler; itself otherwise, so that a call costs nothing more."""
    return function if profiler is None else profiler.timed(phase, function)
