"""Measures the wall seconds of each phase of a step, for `--profile`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

#: The parts of the training time that are measured. `optimizer` is the part of a step outside `data`, `forward` and
#: `backward`: the update, the schedule and the submission's own code. `eval_weights` is not part of a step: it is the
#: time in which the submission swaps weights and returns its state at evaluations.
PHASES = ("data", "forward", "backward", "optimizer", "eval_weights")

P = ParamSpec("P")
T = TypeVar("T")


class Profiler:
    """Measures wall seconds by phase. The time of an inner phase is not added to the outer phase.

    The profiler waits for the device when a phase starts or stops. The time of queued work is therefore added to the
    phase that queued the work. Waiting costs time, so a run without `--profile` has no profiler.

    Args:
        device: the rank's device.

    Attributes:
        phases: seconds so far by phase.
    """

    def __init__(self, device: torch.device) -> None:
        self.phases = dict.fromkeys(PHASES, 0.0)
        self._device = device
        self._open_phases: list[str] = []
        self._charged_until = 0.0

    def start(self, phase: str) -> None:
        """Start a phase: add the time from now on to `phase`."""
        self._charge_until_now()
        self._open_phases.append(phase)

    def stop(self) -> None:
        """Stop the current phase, and return to the phase in which it started."""
        self._charge_until_now()
        self._open_phases.pop()

    def timed(self, phase: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function wrapped so that the time of its calls is added to `phase`."""

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            self.start(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self.stop()

        return call

    def reset(self) -> None:
        """Set the seconds of all phases to 0."""
        self.phases.update(dict.fromkeys(PHASES, 0.0))

    def charge(self, phase: str, seconds: float) -> None:
        """Add seconds that the caller measured to a phase."""
        self.phases[phase] += seconds

    def _charge_until_now(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._open_phases:
            self.phases[self._open_phases[-1]] += now - self._charged_until
        self._charged_until = now


def timed(profiler: Profiler | None, phase: str, function: Callable[P, T]) -> Callable[P, T]:
    """Return the function timed by the profiler. Without a profiler, return the function unchanged."""
    return function if profiler is None else profiler.timed(phase, function)
