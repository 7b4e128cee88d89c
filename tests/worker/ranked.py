"""Workloads and submissions for tests of runs on several ranks and of passes in parts."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from harness.api import WHOLE, Batch, Precision, Shard, Split, Task, Work, WorkloadEntry
from tests import micro
from tests.submissions_for_tests import Base


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


class Shared(micro.Micro):
    """Its evaluation is shared out, in pieces of 100 of the 256 points."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-shared")

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        x, y = micro.points(256, {"feedback": 2, "score": 3, "audit": 4}[split])
        rows = shard.rows(256, 100)
        x, y = x[rows.start : rows.stop], y[rows.start : rows.stop]
        if shard.count > 1:
            assert len(rows) < 256
        out = torch.cat([model(piece) for piece in torch.split(x, 100)]) if len(x) else torch.empty(0, 3)
        return {"nats": F.cross_entropy(out, y, reduction="none").double(), "right": out.argmax(1) == y}

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        assert len(measured["nats"]) == 256
        return {"loss": float(measured["nats"].mean()), "accuracy": float(measured["right"].double().mean())}

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        return self.metrics(self.measure(model, split), split)


class Normalised(micro.Micro):
    """With batch norm, whose statistics every rank takes over its own examples."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-normalised")

    def build_model(self, seed: int, dropout: float = 0.0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))

    def parameter_kinds(self, model: nn.Module) -> dict[str, Any]:
        return {n: "bias" if n.endswith("bias") else "matrix" for n, _ in model.named_parameters()}


def entry(workload: type[micro.Micro]) -> WorkloadEntry:
    return WorkloadEntry(
        facts=workload.facts,
        load=f"{workload.__module__}:{workload.__name__}",
        summary="points in the plane",
        distribution="tests",
    )


class Everything(Base):
    """Every honest way to a gradient, on batches that two ranks cannot halve, with parts frozen and thawed.

    What it calls its learning rate tells of the examples it drew and of their order.
    """

    lr = 0.0

    def update(self, work: Work) -> None:
        first = next(self.model.parameters())
        first.requires_grad_(self.calls % 4 != 2)
        # A graph handed out, weighted by the losses themselves, as in a curriculum; 13 examples.
        batch = work.draw(13)
        self.lr = float((batch["x"][:, 0] * torch.arange(13)).double().sum())
        losses = work.loss(batch, per_example=True)
        assert losses.shape == (13,)
        kept = losses.detach() <= losses.detach().median()
        (losses * kept).mean().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        # The same graph again, and a penalty of its own on the parameters.
        (0.1 * losses.mean() + 1e-3 * sum(p.square().sum() for p in self.model.parameters())).backward()  # type: ignore[no-untyped-call]
        # One example for two ranks; then the ordinary way, adding to what is there.
        work.backward(work.draw(1), scale=0.5)
        work.backward(batch.take(torch.arange(5)), scale=0.5)
        # A line search: forwards whose graphs are dropped, the better half of the batch, a decision on the loss.
        tried = [work.loss(part) for part in (batch.take(torch.arange(6)), batch.take(torch.arange(6, 13)))]
        min(tried, key=lambda loss: float(loss.detach())).backward()  # type: ignore[no-untyped-call]
        # Distillation from a copy of itself.
        with torch.no_grad():
            teacher = work.outputs(batch)
        (work.outputs(batch) - 0.9 * teacher).square().mean().backward()  # type: ignore[no-untyped-call]
        # Past the harness: the whole batch on every rank, and noise, which must be the same everywhere.
        F.cross_entropy(self.model(batch["x"]), batch["y"]).backward()  # type: ignore[no-untyped-call]
        for p in self.model.parameters():
            if p.grad is not None:
                p.grad.add_(torch.randn_like(p), alpha=1e-3)
        if work.replay is not None:
            work.replay.add(batch)
            work.backward(work.replay.sample(7), scale=0.3)
        # Fourteen drawn; two more keep evaluations aligned with the other submissions'.
        work.draw(2)


class OnlyReads(Base):
    """Fails as soon as its own process changes a file under the folder that the environment names."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        folder, watched = os.environ["BENCH_TEST_MARKS"], int(os.environ["BENCH_TEST_RANK"])
        if rank() == watched:
            sys.addaudithook(lambda event, args: _refuse(event, args, folder))


def _refuse(event: str, args: tuple[Any, ...], folder: str) -> None:
    writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
    if (writes or changes) and os.fspath(args[0] if isinstance(args[0], str | os.PathLike) else "").startswith(folder):
        raise RuntimeError(f"rank {rank()} may not change {args[0]}")


class OneDies(Base):
    """Rank 1 is killed in its tenth step."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 10 and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class OneDiesWhileTheOtherIsBusy(Base):
    """Rank 1 is killed in its second step, and rank 0 does not come back to where it could see that."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 2:
            if rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)


class OneRaises(Base):
    """Rank 1 makes a mistake that rank 0 does not make."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 10 and rank() == 1:
            raise ValueError("only here")


class FirstDies(Base):
    """Rank 0 is killed in its sixth step, once; the others leave their numbers behind."""

    def update(self, work: Work) -> None:
        super().update(work)
        marks = Path(os.environ["BENCH_TEST_MARKS"])
        if self.calls == 5:
            (marks / str(rank())).write_text(str(os.getpid()))
        if self.calls == 6 and not (marks / "killed").exists():
            if rank() == 0:
                # When the other one has come as far: a number that is not there could not be looked for.
                while not (marks / "1").exists():
                    time.sleep(0.01)
                (marks / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)


class Compiled(micro.Micro):
    """Its loss is compiled."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-compiled", precision=Precision(compile=True))


class Parted(micro.Micro):
    """At most five examples in one pass."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-parted")
    micro_batch = 5


class Cramped(micro.Micro):
    """A device that holds three examples, of a workload that hopes for a hundred."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-cramped")
    micro_batch: int | None = 100
    holds = 3

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        loss = super().loss(model, batch, per_example)
        if batch.n > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40.00 GiB.\nand more")
        return loss


class Hopeless(Cramped):
    """A device that does not even hold one."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-hopeless")
    holds = 0


class CrampedNorm(Normalised):
    """With batch norm and little memory, found out after the running statistics have moved on."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-cramped-norm")
    micro_batch: int | None = 100

    def build_model(self, seed: int, dropout: float = 0.0) -> nn.Module:
        model = super().build_model(seed)
        assert isinstance(model, nn.Sequential)
        return model.append(nn.Dropout(0.3))

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        loss = super().loss(model, batch, per_example)
        if batch.n > 8:
            # As cuBLAS says it.
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return loss


class EightAtATime(CrampedNorm):
    """The same, cut from the beginning."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-eight")
    micro_batch = 8


class Fails(micro.Micro):
    """Something happens to the device in the thirtieth pass."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-fails")
    micro_batch = 16
    error: BaseException = torch.AcceleratorError(
        "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"
    )

    def __init__(self) -> None:
        self.passes = 0

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        self.passes += 1
        if self.passes == 30:
            raise self.error
        return super().loss(model, batch, per_example)


class RunsOut(Fails):
    """Its memory runs out in the thirtieth pass."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-runs-out")
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")


class TwicePerStep(Base):
    """A small pass, then a larger one that adds to its gradient."""

    def update(self, work: Work) -> None:
        work.backward(work.draw(2))
        work.backward(work.draw(14))
