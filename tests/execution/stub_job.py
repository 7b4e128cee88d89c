"""A trial's job with the stub worker in it; jobs import this, so it imports little."""

from __future__ import annotations

from harness.execution.remote import Delivery
from harness.execution.slurm import TrialJob
from tests.execution import stub


class StubJob(TrialJob):
    """A trial with the stub worker."""

    def __call__(self) -> Delivery:
        stub.install()
        return super().__call__()
