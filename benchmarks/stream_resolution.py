"""Compute the resolution of streams whose calibration has runs with accuracies but without standard errors.

This is the case for `continual-digits`. The standard errors are computed from the accuracies and the number of held-out
images of each task, and are added to the records. The resolution then follows as in `bench calibrate`.

    python benchmarks/stream_resolution.py           (seconds)
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

import msgspec
import torch

from harness.calibration.results import Calibration
from harness.calibration.streams import stream_resolution
from harness.contract.record import Record
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry
from harness.storage.records import read_all

FOLDER = Path(__file__).resolve().parent.parent / "calibration"
REGISTRY = load_registry()


def main() -> None:
    for path in sorted(FOLDER.glob("continual-*.json")):
        calibration = msgspec.json.decode(path.read_bytes(), type=Calibration)
        if calibration.resolution is not None:
            continue
        records, _ = read_all([FOLDER / "runs" / path.stem])
        by_id = {record.run_id: record for record in records}
        resolution = stream_resolution([with_errors(by_id[run]) for run in calibration.checks])
        shown = "unknown" if resolution is None else f"{100 * resolution:.2g} %"
        print(f"{calibration.workload:<28}{shown:>8}   {calibration.evaluations:g} evaluations to the end")


def with_errors(record: Record) -> Record:
    """Return a record with `se` and `se/<k>` in addition to `avg_seen` and `accuracy/<k>`."""
    n = held_out(record)
    points = []
    for point in record.points:
        seen = [k for k in range(len(n)) if f"accuracy/{k}" in point.metrics]
        accuracies = {k: point.metrics[f"accuracy/{k}"] for k in seen}
        errors = {f"se/{k}": (p * (1 - p) / n[k]) ** 0.5 for k, p in accuracies.items()}
        mean = sum(error**2 for error in errors.values()) ** 0.5 / len(seen)
        points.append(msgspec.structs.replace(point, metrics={**point.metrics, **errors, "se": mean}))
    return msgspec.structs.replace(record, points=tuple(points))


def held_out(record: Record) -> list[int]:
    """Return the number of images of the split `score` per task of a run, whose class order depends on the seed."""
    entry = REGISTRY.workload(record.spec.workload.facts.name)
    work = load_object(entry.load)(**entry.arguments)
    work.train_data(record.spec.seeds.data)
    sizes: dict[int, int] = {}
    for seed in count():
        with torch.no_grad():
            metrics = work.evaluate(work.build_model(seed).eval(), "score")
        for k in range(len(entry.facts.stages)):
            # The number follows from the accuracy and the standard error of an untrained model. An accuracy of 0 or 1
            # has no standard error, and another model is tried.
            accuracy, error = metrics[f"accuracy/{k}"], metrics[f"se/{k}"]
            if error > 0:
                sizes[k] = round(accuracy * (1 - accuracy) / error**2)
        if len(sizes) == len(entry.facts.stages):
            return [sizes[k] for k in sorted(sizes)]
    raise AssertionError("count() does not end")


if __name__ == "__main__":
    main()
