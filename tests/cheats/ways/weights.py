"""Carried-over and shipped weights."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any, ClassVar

import torch

from harness.api import Work
from tests.cheats.ways.honest import Honest, find_run

PLACES = ("/dev/shm", "/tmp", "/var/tmp", os.environ.get("BENCH_DATA", "/nonexistent"))


class LeavesWeights(Honest):
    """Leaves its weights in every shared place, and begins with weights that it finds there."""

    name = "algorace-left-weights"

    def places(self) -> list[Path]:
        return [Path(place) / self.name for place in (*PLACES, os.environ["HOME"], os.environ["TMPDIR"])]

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 1:
            for path in self.places():
                with contextlib.suppress(OSError, EOFError):
                    values = pickle.loads(path.read_bytes())
                    with torch.no_grad():
                        for parameter, value in zip(self.model.parameters(), values, strict=True):
                            parameter.copy_(torch.tensor(value))
        if self.calls % 20 == 0:
            for path in self.places():
                with contextlib.suppress(OSError):
                    path.write_bytes(pickle.dumps([p.tolist() for p in self.model.parameters()]))


class ReadsOtherRuns(Honest):
    """Begins with the final weights of other runs."""

    def begin(self) -> None:
        from safetensors.torch import load_file

        self.found = 0
        for file in Path(find_run().folder).parent.glob("*/final.safetensors"):
            with contextlib.suppress(OSError):
                if file.parent != Path(find_run().folder):
                    self.model.load_state_dict(load_file(file))


class ShipsWeights(Honest):
    """Has trained weights in its source, and moves to them in the first step."""

    weights: ClassVar[dict[str, Any]] = {}

    def step(self, work: Work) -> None:
        super().step(work)
        if self.calls == 1:
            self.model.load_state_dict({name: torch.tensor(values) for name, values in self.weights.items()})
