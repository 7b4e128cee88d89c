"""The submission that the cheats extend, and what they share."""

from __future__ import annotations

import hashlib
import sys
import time
from typing import Any

from torch import nn

from harness.api import Task
from tests.submissions_for_tests import Base

#: Processor seconds that cheats burn: several times those of an honest run on `micro`.
BURNED_S = 0.5


class Honest(Base):
    """SGD; a subclass cheats in `begin`, in `update` or elsewhere."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        self.begin()

    def begin(self) -> None:
        """Cheat once, in the constructor."""


def burn(seconds: float = BURNED_S) -> None:
    """Use a processor without holding the interpreter's lock."""
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 3000)


def find_run() -> Any:
    """The harness's training loop, on the stack of the caller."""
    from harness.worker.loop import TrainingRun

    frame = sys._getframe()
    while not isinstance(frame.f_locals.get("self"), TrainingRun):
        assert frame.f_back is not None
        frame = frame.f_back
    return frame.f_locals["self"]
