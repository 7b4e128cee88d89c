"""Runs a trial in this process that is interrupted and resumed."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.contract.events import AnyEvent, Evaluated
from harness.contract.record import Record
from harness.contract.run import Job, RunSpec
from harness.execution.state import Interrupted
from harness.execution.trial import run_trial
from harness.worker.emit import Emit
from harness.worker.job import run_job
from tests.helpers import Remember, run_here


class StopAt:
    """A transport that runs the worker's code in this process and interrupts it after a number of evaluations.

    A checkpoint is written after each evaluation.
    """

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def __call__(self, job: Job, receive: Emit) -> None:
        evaluations = 0

        def emit(event: AnyEvent) -> None:
            nonlocal evaluations
            receive(event)
            evaluations += isinstance(event, Evaluated)
            if evaluations == self.stop:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("harness.worker.loop.CHECKPOINT_SHARE", math.inf)
            run_job(job, emit)


def interrupted_run(spec: RunSpec, runs: Path, stops: list[int]) -> Record:
    """The trial, interrupted in each attempt after so many evaluations, then finished."""
    for stop in stops:
        with pytest.raises(Interrupted):
            run_trial(spec, runs, Remember(), transport=StopAt(stop))
        disturb_randomness()
    return run_here(spec, runs)


def disturb_randomness() -> None:
    """Move every global source of randomness."""
    torch.manual_seed(123)
    np.random.seed(321)
    random.seed(231)
