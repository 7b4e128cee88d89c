"""Self-kill and resume. A death is noted in the trial's own folder, which workers may write."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from harness.api import Work
from tests.cheats.ways.honest import Honest, burn, find_run


class Dies(Honest):
    """Burns time, and ends its worker after the first checkpoint."""

    def begin(self) -> None:
        self.folder = Path(find_run().folder)

    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def update(self, work: Work) -> None:
        super().update(work)
        mark = self.folder / "died"
        if self.calls == 20 and not mark.exists():
            mark.touch()
            burn()
            self.end()


class Exits(Dies):
    """Ends its worker as if it were done."""

    def end(self) -> None:
        os._exit(0)


class EditsAccount(Dies):
    """Removes the supervisor's account of the time, and the marks of the restart, before it dies."""

    def end(self) -> None:
        (self.folder / "account.json").write_text("{}")
        super().end()


class Raises(Dies):
    """Raises an exception that only ends a process."""

    def end(self) -> None:
        sys.exit(1)
