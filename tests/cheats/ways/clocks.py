"""Changed clocks."""

from __future__ import annotations

import time

from harness.api import Work
from tests.cheats.ways.honest import Honest, burn, find_run


class ReplacesTime(Honest):
    """Replaces the functions of the module `time`, which the harness bound before."""

    def begin(self) -> None:
        time.perf_counter = time.process_time = lambda: 0.0


class ReplacesBoundTime(Honest):
    """Replaces the functions that the harness's clock has bound."""

    def begin(self) -> None:
        from harness.worker import clock

        wall, process = time.perf_counter, time.process_time
        vars(clock).update(perf_counter=lambda: wall() * 0.01, process_time=lambda: process() * 0.01)


class SetsClockBack(Honest):
    """Takes what it burned off the clock of the worker."""

    def begin(self) -> None:
        self.run = find_run()

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 20:
            burn()
            self.run.clock.process_seconds -= 0.5
            self.run.clock._process_start += 0.5


class StopsClock(Honest):
    """Stops the clock during every step, and starts it again."""

    def begin(self) -> None:
        self.run = find_run()

    def update(self, work: Work) -> None:
        self.run.clock.pause("evaluation")
        super().update(work)
        self.run.clock.resume("training")


class StopsClockOnce(Honest):
    """Stops the clock only twice, for most of its work, in a phase that has no limit of its own."""

    def begin(self) -> None:
        self.run = find_run()

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 20:
            self.run.clock.pause("build")
            burn(2.0)
            self.run.clock.resume("training")
