"""Work in children and threads."""

from __future__ import annotations

import os
import signal
import threading
import time

from harness.api import Work
from tests.cheats.ways.honest import Honest, burn


class Daemon(Honest):
    """A daemon with a session of its own computes, and nobody waits for it."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 1 and not os.fork():
            os.setsid()
            if not os.fork():
                burn(5.0)
            os._exit(0)
        if self.calls in (30, 60):
            time.sleep(0.4)


class ShortLived(Honest):
    """Many children live for a few milliseconds each."""

    def update(self, work: Work) -> None:
        super().update(work)
        if not (child := os.fork()):
            burn(0.02)
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
        threading.Thread(target=burn, args=(60.0,), daemon=True).start()
