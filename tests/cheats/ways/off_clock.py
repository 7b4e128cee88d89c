"""Work while the clock is stopped."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.api import Work
from tests.cheats.ways.honest import Honest, burn


class CollectsGarbage(Honest):
    """Computes in a callback of the garbage collector, which runs while the clock is stopped."""

    def begin(self) -> None:
        gc.callbacks.append(lambda phase, info: burn(0.1) if phase == "start" else None)


class HooksStateDict(Honest):
    """Computes in a hook on `state_dict` of the model, from the second evaluation on."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 6:
            self.model.register_state_dict_pre_hook(lambda *_: burn(0.2))  # type: ignore[no-untyped-call]


class LoadsState(Honest):
    """Computes in `state_dict` and in `eval_weights`, which are on the clock."""

    def state_dict(self) -> dict[str, Any]:
        if self.calls == 4:
            burn()
        return super().state_dict()

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        yield
        if self.calls == 8:
            burn()


class InterruptsEvaluation(Honest):
    """Computes in a signal handler, which a timer of wall time calls from the first steps on.

    On a fast machine the timer has not fired often enough when most of the run is over. Then the run waits for it.
    """

    def update(self, work: Work) -> None:
        super().update(work)
        while self.calls == 40 and self.left:
            time.sleep(0.001)

    def begin(self) -> None:
        import signal

        left = self.left = [0.3, 0.3]
        is_busy = False

        def compute(*_: object) -> None:
            nonlocal is_busy
            if left and not is_busy:
                is_busy = True
                burn(left.pop())
                is_busy = False

        signal.signal(signal.SIGALRM, compute)
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
