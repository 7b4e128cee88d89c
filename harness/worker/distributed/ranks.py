"""Starts the processes of the other ranks of a run, and ends the run if one of these processes dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType

import msgspec
import torch

from harness.contract.events import Done
from harness.contract.run import Job
from harness.errors import BenchError
from harness.system import python_process
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.distributed.join import LOST_CONTACT, RankAssignment, join_group, open_store, rank_key
from harness.worker.emit import Emit

#: Seconds from the death of a rank's process until rank 0's process is ended. In this time, rank 0 normally fails in a
#: collective operation and ends by itself.
GRACE_S = 10.0
#: Seconds that rank 0 waits for the other ranks to end, and for the exit code and report of a rank whose process died.
_EXIT_S = 5.0


class RankProcesses:
    """The processes of all ranks of a run except rank 0.

    Rank 0 starts these processes on its own machine. They end when rank 0 ends.

    Args:
        job: the trial and its folder.
        emit: function that receives the last event before `abort` is called.
        abort: function that ends this process if another rank's process died; None if this process must not be ended
            (`--in-process`).

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
        self._store = open_store(job)

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
        deadline = time.monotonic() + (_EXIT_S if kind is None else 0.0)
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()

    def _start(self, rank: int) -> None:
        read_end, write_end = os.pipe()
        peer = python_process.command("harness.worker.distributed.peer", str(write_end))
        environment = python_process.environment()
        process = subprocess.Popen(peer, stdin=subprocess.PIPE, pass_fds=(write_end,), env=environment)
        os.close(write_end)
        self._processes.append(process)
        assert process.stdin is not None
        assignment = RankAssignment(job=self._job, rank=rank, port=self._store.port)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(assignment) + b"\n")
            process.stdin.flush()
        threading.Thread(target=self._watch, args=(rank, process, read_end), name=f"rank-{rank}", daemon=True).start()

    def join_group(self) -> ProcessGroup:
        """Wait until all ranks are connected, and return their group.

        Raises:
            BenchError: a rank ended before it connected.
        """
        keys = [rank_key(rank) for rank in range(1, self._count)]
        while not self._store.check(keys):
            with self._changed:
                if self._lost_ranks or self._changed.wait(0.05):
                    reason = next(iter(self._lost_ranks.values())).reason
                    raise BenchError(reason, fix="read the output of all ranks in worker.log")
        self._group = join_group(0, self._job, self._store)
        return self._group

    def _watch(self, rank: int, process: subprocess.Popen[bytes], read_end: int) -> None:
        """Wait until a rank ends. If the rank failed before this run has ended, end this run."""
        with open(read_end, "rb") as pipe:
            report = pipe.read()
        process.wait()
        if self._ended.is_set() or (process.returncode == 0 and not report):
            return
        with self._changed:
            self._lost_ranks[rank] = _describe_rank_end(rank, process.returncode, report)
            self._changed.notify_all()
        # Usually this process fails in its next collective operation with the dead rank, and then ends by itself.
        if not self._ended.wait(GRACE_S) and self._abort is not None:
            self._emit(self._lost_ranks[rank])
            self._abort()

    def explain_end(self, last_event: Done) -> Done:
        """Return the run's last event: that of rank 0, or of the rank whose death ended rank 0.

        Args:
            last_event: the last event of rank 0.
        """
        if last_event.status == "crashed" and last_event.reason.startswith(LOST_CONTACT):
            with self._changed:
                self._changed.wait_for(lambda: bool(self._lost_ranks), _EXIT_S)
            causes = [lost for lost in self._lost_ranks.values() if LOST_CONTACT not in lost.reason]
            last_event = causes[0] if causes else last_event
        self._ended.set()
        return last_event


def _require_devices(job: Job) -> None:
    ranks, device = job.spec.ranks, torch.device(job.spec.device)
    if device.type == "cuda":
        visible = torch.cuda.device_count() - (device.index or 0)
        if visible < ranks:
            raise BenchError(
                f"{ranks} ranks need {ranks} GPUs, but only {visible} can be used",
                fix="lower --gpus, or change CUDA_VISIBLE_DEVICES",
            )
    elif device.type != "cpu":
        raise BenchError(
            f"several ranks need the device cpu or cuda, got {device.type}", fix="choose --gpus 1, or another --device"
        )


def _describe_rank_end(rank: int, returncode: int, report: bytes) -> Done:
    """Make a rank's last event from its report or, without a report, from its exit code."""
    if report:
        done = msgspec.json.decode(report, type=Done)
        return Done(status=done.status, reason=f"rank {rank}: {done.reason}")
    if returncode < 0:
        return Done(status="crashed", reason=f"rank {rank} was killed by {signal.Signals(-returncode).name}")
    return Done(status="crashed", reason=f"rank {rank} exited with code {returncode}")
