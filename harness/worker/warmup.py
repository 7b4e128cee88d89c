"""Compiles what a trial will run, in a throwaway process that leaves nothing but the trial's compiler cache.

It builds the same workload and submission, on random data of the real shapes, and makes a few steps. What it leaves
is found by the run's own process, whose steps then neither compile nor wait for a compiler. On several ranks it makes
the passes of one; where a rank's share has other shapes, the rehearsal of each rank compiles them, off the clock too.

usage: python -m harness.worker.warmup      (started by rank 0, not by hand; a job on standard input)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from torch import Tensor

from harness import interpreter
from harness.store import COMPILED
from harness.types import AnyEvent, Job, RunSpec
from harness.worker.access import Batch, Pool, Stream

#: Updates of the throwaway submission: the second one meets its state as all later ones do.
STEPS = 3


def compiles(spec: RunSpec) -> bool:
    """Whether a trial's loss is compiled: where its workload says so, and on a processor a C++ compiler is there.

    Source: `torch._inductor.config.cpp.cxx`: what `CXX` names, or g++.
    """
    if not spec.workload.facts.precision.compile:
        return False
    return not spec.device.startswith("cpu") or shutil.which(os.environ.get("CXX") or "g++") is not None


def warm_up(job: Job) -> str:
    """Fill a trial's compiler cache; why that failed, or an empty string.

    A failure is no failure of the trial, which compiles for itself then, on the clock.
    """
    if (Path(job.folder) / COMPILED).exists():
        return ""  # a run that goes on
    process = subprocess.run(
        interpreter.command("harness.worker.warmup"),
        input=msgspec.json.encode(job) + b"\n",
        stdout=sys.stderr,
        env=interpreter.environment(),
        check=False,
    )
    return "" if process.returncode == 0 else f"the compile warm-up ended with code {process.returncode}"


def use_cache(job: Job) -> None:
    """Have the compiler keep what it makes in the trial's folder, and nowhere else."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(job.folder) / COMPILED)
    os.environ["TRITON_CACHE_DIR"] = str(Path(job.folder) / COMPILED / "triton")


class _Random:
    """Random tensors in the shapes, formats and ranges of real ones."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._generator = torch.Generator().manual_seed(0)

    def like(self, batch: Batch) -> Batch:
        return Batch(**{name: self._tensor(tensor) for name, tensor in batch.items()})

    def _tensor(self, real: Tensor) -> Tensor:
        if real.is_floating_point():
            made = torch.randn(real.shape, generator=self._generator, dtype=torch.float32)
        else:
            low, high = int(real.min()), int(real.max())
            made = torch.randint(low, high + 1, real.shape, generator=self._generator)
        return torch.empty_like(real).copy_(made)  # the same layout in memory, for which kernels are made


class RandomPool(_Random):
    """A pool of random examples as large as a real one."""

    @property
    def scores(self) -> Mapping[str, Tensor]:
        scores: Mapping[str, Tensor] = self._data.scores
        return scores

    def __len__(self) -> int:
        return len(self._data)

    def gather(self, indices: Tensor) -> Batch:
        return self.like(self._data.gather(indices))


class RandomStream(_Random):
    """A stream of random examples."""

    def draw(self, n: int) -> Batch:
        return self.like(self._data.draw(n))

    def advance(self) -> None:
        self._data.advance()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._data.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._data.load_state_dict(state)


def random_like(data: Pool | Stream, access: str) -> Pool | Stream:
    """Random data in place of real ones."""
    return cast(Pool, RandomPool(data)) if access == "pool" else cast(Stream, RandomStream(data))


def main() -> None:
    """Make a few steps with everything as in the trial but the data, and throw all of it away."""
    from harness.worker.__main__ import die_with_parent

    die_with_parent()
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    use_cache(job)

    from harness.worker import host

    def nothing(event: AnyEvent) -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        alone = msgspec.structs.replace(job.spec, ranks=1)
        throwaway = Job(spec=alone, folder=folder, resume=False)
        run, make = host.assembled(
            throwaway, nothing, change=lambda data: random_like(data, alone.workload.facts.access)
        )
        submission = make()
        for _ in range(STEPS):
            run.work.begin_step()
            submission.step(run.work)
            run.work.end_step()
        with submission.eval_weights():
            pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
