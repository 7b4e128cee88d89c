"""Submissions that burn processor time where no clock used to see it, and honest ones that look similar."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.api import Task, Work
from tests.micro import Micro
from tests.submissions_for_tests import Base

#: Processor seconds that each of these submissions burns.
BURNED_S = 0.4


def burn(seconds: float = BURNED_S) -> None:
    """Use a processor without holding the interpreter's lock."""
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 3000)


class SlowMicro(Micro):
    """A workload whose evaluations last until the thread of `ThreadInEvaluations` has computed for some time."""

    def evaluate(self, model: nn.Module, split: Any, stage: int | None = None) -> dict[str, float]:
        marks = Path(os.environ["BENCH_TEST_MARKS"])
        while (marks / "began").exists() and not (marks / "computed").exists():
            time.sleep(0.005)
        return super().evaluate(model, split, stage)


def _mark(name: str) -> bool:
    """Whether this is the first call with a name in a trial."""
    path = Path(os.environ["BENCH_TEST_MARKS"]) / name
    if path.exists():
        return False
    path.touch()
    return True


class DiesOnce(Base):
    """Searches for something after the first checkpoint, and kills itself to get the clock of the checkpoint back."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 6 and _mark("died"):
            burn()
            os.kill(os.getpid(), signal.SIGKILL)


class ChildTrains(Base):
    """A child process computes, during steps and evaluations alike."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 1:
            self.child = multiprocessing.get_context("fork").Process(target=burn)
            self.child.start()
        if work.examples >= 1200 and self.child is not None:
            self.child.join()
            self.child = None  # type: ignore[assignment]


class OrphanTrains(Base):
    """A daemon with a session of its own, whose parent has ended, computes and is never waited for."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 1 and os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                burn()
                Path(os.environ["BENCH_TEST_MARKS"], "burned").touch()
                time.sleep(60)
            os._exit(0)
        while self.calls == 40 and not Path(os.environ["BENCH_TEST_MARKS"], "burned").exists():
            time.sleep(0.01)


class ThreadInEvaluations(Base):
    """A thread computes while the clock is stopped, and only then."""

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        stopped = threading.Event()
        marks, is_first = Path(os.environ["BENCH_TEST_MARKS"]), _mark("began")

        def compute() -> None:
            # Longer than the time between two readings of the supervisor, so that a late one sees it, too.
            if is_first:
                burn(0.5)
                (marks / "computed").touch()
            while not stopped.is_set():
                hashlib.pbkdf2_hmac("sha256", b"", b"", 3000)

        thread = threading.Thread(target=compute, name="off-clock")
        thread.start()
        yield
        stopped.set()
        thread.join()


class IdleThread(Base):
    """Honest: a thread that waits."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


class LoadsLong(Base):
    """Computes when its state is loaded."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        burn()


class IgnoresChildren(Base):
    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


class TrainsUncounted(Base):
    """Draws, but computes its gradients where nothing counts them."""

    def update(self, work: Work) -> None:
        batch = work.draw()
        weights = [p.detach().clone().requires_grad_() for p in self.model.parameters()]
        hidden = nn.functional.relu(nn.functional.linear(batch["x"], weights[0], weights[1]))
        loss = nn.functional.cross_entropy(nn.functional.linear(hidden, weights[2], weights[3]), batch["y"])
        gradients = torch.autograd.grad(loss, weights)
        for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
            parameter.grad = gradient


class ReplacesCounting(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        setattr(type(work), "backward", lambda work, batch, scale=1.0: None)  # noqa: B010


class HidesCounting(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 2:
            original = work.backward

            def backward(batch: Any, scale: float = 1.0) -> Any:
                before = work.gradient_examples  # type: ignore[attr-defined]
                loss = original(batch, scale)
                work.gradient_examples = before  # type: ignore[attr-defined]
                return loss

            work.backward = backward  # type: ignore[method-assign]


class PrecisionInForward(Base):
    """Lowers the precision inside the model's forward pass only."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        model.register_forward_pre_hook(lambda *_: torch.set_float32_matmul_precision("medium"))
        model.register_forward_hook(lambda *_: torch.set_float32_matmul_precision("highest"))


class ThreadsInBackward(Base):
    """Uses more threads from the first to the last gradient."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        *_, last = model.parameters()
        first = next(model.parameters())
        last.register_hook(lambda gradient: torch.set_num_threads(3))  # type: ignore[no-untyped-call]
        first.register_hook(lambda gradient: torch.set_num_threads(1))  # type: ignore[no-untyped-call]


class DrawsInEvalWeights(Base):
    """Honest: refreshes statistics with fresh batches whenever it is evaluated."""

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        for _ in range(4):
            self.work.outputs(self.work.draw())
        yield

    def update(self, work: Work) -> None:
        self.work = work
        work.backward(work.draw(64))
