"""Compute the resolution of streams whose calibration runs have accuracies but no standard errors.

`continual-digits` is such a stream. The standard errors are computed from the accuracies and the number of held-out
images of each task, and are added to the records. Then the resolution is computed as in `bench calibrate`.

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
    image_counts = held_out(record)
    points = []
    for point in record.points:
        seen = [k for k in range(len(image_counts)) if f"accuracy/{k}" in point.metrics]
        accuracies = {k: point.metrics[f"accuracy/{k}"] for k in seen}
        errors = {f"se/{k}": (p * (1 - p) / image_counts[k]) ** 0.5 for k, p in accuracies.items()}
        mean = sum(error**2 for error in errors.values()) ** 0.5 / len(seen)
        points.append(msgspec.structs.replace(point, metrics={**point.metrics, **errors, "se": mean}))
    return msgspec.structs.replace(record, points=tuple(points))


def held_out(record: Record) -> list[int]:
    """Return for each task the number of its images in the split `score`.

    The seed of the record's run determines the classes of each task.
    """
    entry = REGISTRY.workload(record.spec.workload.facts.name)
    work = load_object(entry.load)(**entry.arguments)
    work.train_data(record.spec.seeds.data)
    sizes: dict[int, int] = {}
    for seed in count():
        with torch.no_grad():
            metrics = work.evaluate(work.build_model(seed).eval(), "score")
        for k in range(len(entry.facts.stages)):
            # The number n of images follows from se² = p·(1 − p)/n, where p is the accuracy of an untrained model and
            # se its standard error. If p is 0 or 1, se is 0, and another model is tried.
            accuracy, error = metrics[f"accuracy/{k}"], metrics[f"se/{k}"]
            if error > 0:
                sizes[k] = round(accuracy * (1 - accuracy) / error**2)
        if len(sizes) == len(entry.facts.stages):
            return [sizes[k] for k in sorted(sizes)]
    raise AssertionError("count() does not end")


if __name__ == "__main__":
    main()
