"""Work in children and threads."""

from __future__ import annotations

import os
import signal
import threading

from harness.api import Work
from tests.cheats.ways.honest import Honest, burn

#: Processor seconds of a child that does not live for long.
SHORT_S = 0.02


class Daemon(Honest):
    """A daemon with a session of its own computes, and nobody waits for it."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 1:
            self.burned, burned = os.pipe()
            if not os.fork():
                os.setsid()
                if not os.fork():
                    burn()
                    os.write(burned, b"!")
                    burn(60.0)
                os._exit(0)
        if self.calls == 40:
            # However fast or busy the machine is: the daemon has computed before the run ends.
            os.read(self.burned, 1)


class ShortLived(Honest):
    """Many children live for a few milliseconds each."""

    def update(self, work: Work) -> None:
        super().update(work)
        if not (child := os.fork()):
            burn(SHORT_S)
            os._exit(0)
        os.waitpid(child, 0)


class Forgets(Honest):
    """Lets the kernel drop the times of its children."""

    def begin(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 1 and not os.fork():
            burn()
            os._exit(0)


class Thread(Honest):
    """A thread computes all the time."""

    def begin(self) -> None:
        self.has_burned = threading.Event()
        threading.Thread(target=self.compute, daemon=True).start()

    def compute(self) -> None:
        burn()
        self.has_burned.set()
        burn(60.0)

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 40:
            self.has_burned.wait()
