"""A worker without torch: speaks the protocol, trains nothing, and does what its trial's hyperparameters say.

Each evaluation takes `pause` seconds of sleep and `work` seconds of a busy core; its checkpoint is a JSON file. What
its metrics are depends on the seeds alone, so that a resumed trial can be told from a wrong one.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.events import ClockChanged, Done, Evaluated, Ready
from harness.contract.record import Environment, Usage
from harness.contract.run import Counters, Job, Point
from harness.execution import launching, warm
from harness.storage.layout import CHECKPOINTS, WORKER
from harness.worker.clock import Clock
from harness.worker.process import main

ENVIRONMENT = Environment(python="3", torch="none", platform="stub", hardware_name="stub", cpu_count=1, threads=1)
COMMAND = (sys.executable, "-m", "tests.execution.stub")
SERVER_COMMAND = (sys.executable, "-m", "tests.execution.stub_server")


def install() -> None:
    """From here on supervisors of this process start this worker, fresh or forked."""
    launching.WORKER = list(COMMAND)
    warm.SERVER = list(SERVER_COMMAND)


def run_job(job: Job, emit: Callable[..., None]) -> None:
    """What `harness.worker.job.run_job` is to a real worker."""
    hparams, facts = job.spec.hparams, job.spec.workload.facts
    folder = Path(job.folder)
    if hparams.get("describes"):
        print(json.dumps(describe_process()), flush=True)  # to the log of the worker
    path = folder / "checkpoint.pt"
    points = msgspec.json.decode(path.read_bytes(), type=list[Point]) if path.exists() else []
    resumed = bool(points)
    emit(Ready(environment=ENVIRONMENT, usage=Usage(parameters=1), points=tuple(points), resumed_from=len(points)))
    clock = Clock(
        lambda: None,
        lambda running, seconds, process_seconds, phase: emit(
            ClockChanged(running=running, seconds=seconds, process_seconds=process_seconds, phase=phase)
        ),
    )
    if points:
        clock.add(points[-1].seconds, points[-1].process_seconds)
    evaluations = int(hparams.get("evaluations", 5))
    for index in range(len(points), evaluations):
        began = time.process_time()
        clock.resume()
        while time.process_time() - began < float(hparams.get("work", 0.0)):
            pass
        clock.pause()
        time.sleep(float(hparams.get("pause", 0.0)))
        if index == hparams.get("dies_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if index == hparams.get("kills_supervisor_at"):
            os.kill(_parent(os.getppid()) if sys.platform == "linux" else os.getppid(), signal.SIGKILL)
            time.sleep(60)
        if _must_halt(folder, index):
            time.sleep(3600)
        if index == hparams.get("dies_once_at") and not resumed:
            os.kill(os.getpid(), signal.SIGKILL)
        metrics = {target.metric: _value(job, index) for target in facts.targets}
        drawn = index * facts.eval_every
        points.append(
            Point(
                examples=drawn, gradient_examples=drawn, steps=drawn // 16, seconds=clock.seconds,
                process_seconds=clock.process_seconds, metrics=metrics,
            )
        )  # fmt: skip
        # As a real one: there is no going on from the last evaluation, which ends the run.
        if index + 1 < evaluations:
            path.with_suffix(".new").write_bytes(msgspec.json.encode(points))
            path.with_suffix(".new").replace(path)
        emit(Evaluated(point=points[-1]))
    last = points[-1]
    counters = Counters(
        examples=last.examples, steps=last.steps, seconds=clock.seconds, process_seconds=clock.process_seconds
    )
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0)))) if hasattr(os, "sched_getaffinity") else ""
    print(f"cores {cores} gpus {os.environ.get('CUDA_VISIBLE_DEVICES', '-')} began {began}")
    emit(Done(status="exhausted", counters=counters, final_weights=hashlib.sha256(str(metrics).encode()).hexdigest()))


#: A file that a new worker finds in its folder, and that this one does not use otherwise.
_HALT_AT = CHECKPOINTS[1]


def halt_once(folder: Path, evaluation: int) -> None:
    """Let the first worker with this folder that comes to an evaluation wait there until it is killed.

    A test that kills a worker, and its disturbed run, then do not depend on which of both is faster.
    """
    (folder / WORKER).mkdir(parents=True, exist_ok=True)
    (folder / WORKER / _HALT_AT).write_text(str(evaluation))


def wait_until_halted(folder: Path) -> None:
    """Wait until a worker waits, as `halt_once` asked for. If it is killed earlier, its successor waits instead."""
    deadline = time.monotonic() + 60
    while (folder / WORKER / _HALT_AT).exists():
        assert time.monotonic() < deadline, "no worker came to the evaluation"
        time.sleep(0.01)


def _must_halt(folder: Path, index: int) -> bool:
    path = folder / _HALT_AT
    if not path.exists() or path.read_text() != str(index):
        return False
    path.unlink()
    return True


def describe_process() -> dict[str, Any]:
    """What must be equal of a fresh and a forked worker."""
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    # The descriptor that listed the others is closed by now.
    descriptors = [os.readlink(link) for link in links if link.is_symlink()]
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "temporary": tempfile.gettempdir(),
        "descriptors": sorted(re.sub(r"\d+", "N", target) for target in descriptors),
        "session": (os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()),
        "signals": [status[name].strip() for name in ("SigBlk", "SigIgn", "SigCgt")],
        "threads": [thread.name for thread in threading.enumerate()],
        "dies_with_parent": _death_signal(),
        "path": sys.path,
        "hash": hash("a text"),
        "umask": status["Umask"].strip(),
        "blocking": os.get_blocking(0),
    }


def _parent(pid: int) -> int:
    """The supervisor, if `pid` is the reaper between it and this process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _death_signal() -> int:
    number = ctypes.c_int()
    pr_get_pdeathsig = 2
    ctypes.CDLL(None).prctl(pr_get_pdeathsig, ctypes.byref(number))
    return number.value


def _value(job: Job, index: int) -> float:
    text = f"{job.spec.submission.name}/{job.spec.seeds.model}/{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


if __name__ == "__main__":
    main(run_job)
