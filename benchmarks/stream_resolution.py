"""The resolution of streams whose calibration's runs reported accuracies without their standard errors.

Those of `continual-digits` did not; later ones do. The errors are worked out from the accuracies and the number of
held-out images of each task, and put into the records; the rest is what `bench calibrate` does.

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
        made = msgspec.json.decode(path.read_bytes(), type=Calibration)
        if made.resolution is not None:
            continue
        records, _ = read_all([FOLDER / "runs" / path.stem])
        by_id = {record.run_id: record for record in records}
        found = stream_resolution([with_errors(by_id[run]) for run in made.checks])
        shown = "unknown" if found is None else f"{100 * found:.2g} %"
        print(f"{made.workload:<28}{shown:>8}   {made.evaluations:g} evaluations to the end")


def with_errors(record: Record) -> Record:
    """A record with `se` and `se/<k>` beside `avg_seen` and `accuracy/<k>`, as workloads report them today."""
    n = held_out(record)
    points = []
    for point in record.points:
        seen = [k for k in range(len(n)) if f"accuracy/{k}" in point.metrics]
        shares = {k: point.metrics[f"accuracy/{k}"] for k in seen}
        errors = {f"se/{k}": (p * (1 - p) / n[k]) ** 0.5 for k, p in shares.items()}
        mean = sum(error**2 for error in errors.values()) ** 0.5 / len(seen)
        points.append(msgspec.structs.replace(point, metrics={**point.metrics, **errors, "se": mean}))
    return msgspec.structs.replace(record, points=tuple(points))


def held_out(record: Record) -> list[int]:
    """How many images of the split `score` each task of a run had: its order of classes depends on its seed."""
    entry = REGISTRY.workload(record.spec.workload.facts.name)
    work = load_object(entry.load)(**entry.arguments)
    work.train_data(record.spec.seeds.data)
    sizes: dict[int, int] = {}
    for seed in count():
        with torch.no_grad():
            metrics = work.evaluate(work.build_model(seed).eval(), "score")
        for k in range(len(entry.facts.stages)):
            # From an untrained model's share and its error; one that is all right or all wrong tells nothing.
            share, error = metrics[f"accuracy/{k}"], metrics[f"se/{k}"]
            if error > 0:
                sizes[k] = round(share * (1 - share) / error**2)
        if len(sizes) == len(entry.facts.stages):
            return [sizes[k] for k in sorted(sizes)]
    raise AssertionError("count() does not end")


if __name__ == "__main__":
    main()
