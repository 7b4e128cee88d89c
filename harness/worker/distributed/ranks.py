"""Starts the other ranks of a run, and ends the run when one of them dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

import msgspec
import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import Store

from harness.contract.base import Data
from harness.contract.events import AnyEvent, Done
from harness.contract.run import Job
from harness.errors import BenchError
from harness.system import python_process
from harness.worker.distributed.collectives import CombinedWatcher, ProcessGroup

Emit = Callable[[AnyEvent], None]
#: Seconds that rank 0 has to notice by itself that another rank is gone, before it is ended from outside its step.
GRACE_S = 10.0
#: Seconds that a rank which ends may take to be seen ending.
_ENDING_S = 5.0
_JOINING = timedelta(minutes=10)
_LOCALHOST = "127.0.0.1"


class RankAssignment(Data, frozen=True, kw_only=True):
    """What a rank other than 0 is told: the job, which one it is, and where rank 0 listens."""

    job: Job
    rank: int
    port: int


class RankProcesses:
    """The ranks 1 … n - 1, as processes of this machine that rank 0 starts and that die with it.

    Args:
        job: the trial.
        emit: receives the last event, if this process has to be ended in the middle of something.
        abort: ends this process; None where it is not ours to end (`--in-process`).

    Raises:
        BenchError: there are fewer devices than ranks.
    """

    def __init__(self, job: Job, emit: Emit, abort: Callable[[], None] | None) -> None:
        self._job = job
        self._emit = emit
        self._abort = abort
        self._count = job.spec.ranks
        self._lost_ranks: dict[int, Done] = {}
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._group: ProcessGroup | None = None
        _require_devices(job)
        # Port 0: the system picks a free one, and only this machine can reach it.
        self._store = TCPStore(_LOCALHOST, 0, self._count, is_master=True, timeout=_JOINING, wait_for_workers=False)

    def __enter__(self) -> RankProcesses:
        for rank in range(1, self._count):
            self._start(rank)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        with contextlib.suppress(Exception):
            if self._group is not None:
                self._group.close()
        deadline = time.monotonic() + (_ENDING_S if kind is None else 0.0)
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()

    def _start(self, rank: int) -> None:
        reading, writing = os.pipe()
        peer = python_process.command("harness.worker.distributed.peer", str(writing))
        environment = python_process.environment()
        process = subprocess.Popen(peer, stdin=subprocess.PIPE, pass_fds=(writing,), env=environment)
        os.close(writing)
        self._processes.append(process)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(
                msgspec.json.encode(RankAssignment(job=self._job, rank=rank, port=self._store.port)) + b"\n"
            )
            process.stdin.flush()
        threading.Thread(target=self._watch, args=(rank, process, reading), name=f"rank-{rank}", daemon=True).start()

    def join_group(self) -> ProcessGroup:
        """The group, when all ranks are there.

        Raises:
            BenchError: one of them ended instead.
        """
        names = [rank_key(rank) for rank in range(1, self._count)]
        while not self._store.check(names):
            with self._changed:
                if self._lost_ranks or self._changed.wait(0.05):
                    raise BenchError(next(iter(self._lost_ranks.values())).reason)
        self._group = join_group(0, self._job, self._store)
        return self._group

    def _watch(self, rank: int, process: subprocess.Popen[bytes], reading: int) -> None:
        """Wait for a rank's end, and end this run with it when it was too early."""
        with open(reading, "rb") as pipe:
            report = pipe.read()
        process.wait()
        if self._ended.is_set() or (process.returncode == 0 and not report):
            return
        with self._changed:
            self._lost_ranks[rank] = _describe_rank_end(rank, process.returncode, report)
            self._changed.notify_all()
        # Usually this process finds out in its next exchange with that rank, and ends in good order.
        if not self._ended.wait(GRACE_S) and self._abort is not None:
            self._emit(self._lost_ranks[rank])
            self._abort()

    def explain_end(self, end: Done) -> Done:
        """Rank 0's own end, or what ended another rank first, where it is that which ended this one."""
        if end.status == "crashed" and end.reason.startswith(LOST_CONTACT):
            with self._changed:
                self._changed.wait_for(lambda: bool(self._lost_ranks), _ENDING_S)
            told = [lost for lost in self._lost_ranks.values() if LOST_CONTACT not in lost.reason]
            end = told[0] if told else end
        self._ended.set()
        return end


#: How a rank begins to say that it lost touch with the others, so that this never passes for the cause.
LOST_CONTACT = "lost touch with another rank"


def is_peer_loss(error: BaseException) -> bool:
    """Whether an error says that another rank is gone."""
    if isinstance(error, dist.DistError):
        return True
    words = ("closed by peer", "reset by peer", "broken pipe", "gloo", "nccl")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def join_group(rank: int, job: Job, store: Store) -> ProcessGroup:
    """Become a rank of the group."""
    # One machine: the loopback device needs no name service and no network.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    device = rank_device(rank, job)
    set_default_device(device)
    return CombinedWatcher(rank, job.spec.ranks, store, device)


def set_default_device(device: torch.device) -> None:
    """Have what names no GPU mean this one: the state of its randomness, and what a submission creates on `cuda`."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def rank_device(rank: int, job: Job) -> torch.device:
    """The device of a rank: one GPU each, in order, beginning with the one that the trial names."""
    device = torch.device(job.spec.device)
    if job.spec.ranks == 1 or device.type != "cuda":
        return device
    return torch.device("cuda", (device.index or 0) + rank)


def join_as_rank(assignment: RankAssignment) -> ProcessGroup:
    """Join rank 0, which listens already."""
    store = TCPStore(_LOCALHOST, assignment.port, assignment.job.spec.ranks, is_master=False, timeout=_JOINING)
    store.set(rank_key(assignment.rank), "here")
    return join_group(assignment.rank, assignment.job, store)


def rank_key(rank: int) -> str:
    return f"seat-{rank}"


def _require_devices(job: Job) -> None:
    ranks, device = job.spec.ranks, torch.device(job.spec.device)
    if device.type == "cuda":
        found = torch.cuda.device_count() - (device.index or 0)
        if found < ranks:
            raise BenchError(f"{ranks} ranks need {ranks} GPUs, {found} can be seen", fix="see CUDA_VISIBLE_DEVICES")
    elif device.type != "cpu":
        raise BenchError(f"several ranks run on cpu or cuda, not on {device.type}")


def _describe_rank_end(rank: int, returncode: int, report: bytes) -> Done:
    """How a rank ended, by its own report or by what the system says."""
    if report:
        done = msgspec.json.decode(report, type=Done)
        return Done(status=done.status, reason=f"rank {rank}: {done.reason}")
    if returncode < 0:
        return Done(status="crashed", reason=f"rank {rank} was killed by {signal.Signals(-returncode).name}")
    return Done(status="crashed", reason=f"rank {rank} exited with code {returncode}")
