"""Write tools/workload_sizes.json: the number of parameters and the sizes of the splits of every workload.

usage: python -m tools.measure_workloads           (a test fails if the file lacks a version of a workload)

The script imports torch and builds the models and the data, so it needs the datasets of the workloads of the tier
`cpu`. The splits of the other tiers are not counted, because their datasets are large.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from harness.api import Shard, WorkloadEntry
from harness.plugins.registry import load_registry
from tools.make_workload_list import SIZES, WorkloadSizes, listed

#: The seed of the model and of the training data. The sizes do not depend on it.
SEED = 0


def measure(entry: WorkloadEntry) -> WorkloadSizes:
    """Return the sizes of a workload."""
    module, _, name = entry.load.partition(":")
    workload = getattr(importlib.import_module(module), name)(**entry.arguments)
    model = workload.build_model(SEED).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if entry.facts.tier != "cpu":
        return WorkloadSizes(workload=entry.facts.id, parameters=parameters)
    train = workload.train_data(SEED)
    last = len(entry.facts.stages) - 1 if entry.facts.stages else None
    with torch.inference_mode():
        feedback, score, audit = (
            _count(workload.measure(model, split, Shard(), last), entry) for split in ("feedback", "score", "audit")
        )
    return WorkloadSizes(
        workload=entry.facts.id,
        parameters=parameters,
        train=len(train) if entry.facts.access == "pool" else None,
        feedback=feedback,
        score=score,
        audit=audit,
    )


def _count(measured: dict[str, torch.Tensor], entry: WorkloadEntry) -> int:
    """Return the number of examples with measured values; on a stream, over all tasks."""
    lengths = [len(values) for values in measured.values()]
    return sum(lengths) if entry.facts.access == "stream" else max(lengths)


def write(sizes: Sequence[WorkloadSizes], path: Path = SIZES) -> None:
    """Write the sizes, one workload per line."""
    lines = ",\n".join(msgspec.json.encode(size).decode() for size in sizes)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    write([measure(entry) for entry in listed(load_registry())])
