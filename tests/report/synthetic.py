"""A small field of records: three submissions, two workloads, several studies, misses and a crash."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.record import Environment, Record, Usage
from harness.contract.ruleset import Ruleset
from harness.contract.run import Point, RunSpec, Seeds, SubmissionRef, WorkloadRef
from harness.contract.workload import Budget, Stage, Target, WorkloadFacts
from harness.report.page_runs import PageSummary, summarize_for_page
from harness.scoring.summary import LeaderboardQuery
from harness.storage.records import encode

TARGET = Target(metric="loss", goal="min", value=1.0, unit="nats")
RULES = Ruleset(name="quick", version="1", summary="one trial", trials=1, studies=3)
#: Seconds to target of each submission, up to noise.
SPEED = {"alpha": 1.0, "beta": 1.4, "gamma-with-a-rather-long-name": 2.5}
ENVIRONMENT = Environment(
    python="3.11.7",
    torch="2.13.0",
    platform="Linux",
    hardware_name="A Processor",
    cpu_count=2,
    threads=1,
    distributions={"algorace": "0.1.0"},
)


def facts(name: str = "hills", **changes: Any) -> WorkloadFacts:
    base = WorkloadFacts(
        name=name,
        version="1",
        tier="cpu",
        targets=(TARGET,),
        budget=Budget(horizon=4000, gradient_examples=8000, seconds={"default": 60.0}),
        batch_sizes=(10,),
        eval_every=100,
        levels={"easy": (msgspec.structs.replace(TARGET, value=1.5),)},
    )
    return msgspec.structs.replace(base, **changes)


def record(submission: str = "alpha", workload: WorkloadFacts | None = None, study: int = 0, **changes: Any) -> Record:
    """A run whose loss falls exponentially; `speed` is seconds to target, `evaluations` cuts it short."""
    workload = workload or facts()
    rng = random.Random(f"{submission}/{workload.name}/{study}")
    speed = changes.pop("speed", SPEED.get(submission, 1.0)) * math.exp(rng.gauss(0, 0.03))
    evaluations = changes.pop("evaluations", 40)
    lr = changes.pop("lr", 1e-3)
    points = []
    for i in range(1, evaluations + 1):
        seconds = 0.1 * i
        loss = 3.0 * math.exp(-math.log(3.0) * seconds / speed)
        points.append(
            Point(
                examples=100 * i,
                gradient_examples=100 * i,
                steps=10 * i,
                seconds=2 * seconds,
                process_seconds=seconds,
                metrics={"loss": loss},
                lr=lr * (1 - i / 50),
            )
        )
        if loss <= 1.0:
            break
    hit = len(points) - 1 if points and points[-1].metrics["loss"] <= 1.0 else None
    spec = RunSpec(
        workload=WorkloadRef(facts=workload, load="x:Y"),
        submission=SubmissionRef(name=submission, version="1", source_hash="0" * 64),
        hparams={"lr": lr, "weight_decay": 0.1, "shape": "cosine"},
        ruleset=RULES,
        study=study,
        trial=0,
        root_seed=0,
        seeds=Seeds(model=study, data=study, submission=study, replay=study),
        hardware="cpu-synthetic",
    )
    spec = msgspec.structs.replace(spec, **changes.pop("spec", {}))
    base = Record(
        run_id=f"run-{submission}-{workload.name}-{workload.version}-{study}-{spec.hardware}",
        spec=spec,
        status="exhausted" if hit is None else "reached",
        points=tuple(points),
        hit=hit,
        usage=Usage(peak_memory_bytes=100 * 2**20),
        environment=ENVIRONMENT,
        started=f"2026-01-01T00:00:{study:02}",
    )
    return msgspec.structs.replace(base, **changes)


def field(studies: int = 3) -> list[Record]:
    """Three submissions on two workloads; the slowest misses one of them, and one of its runs crashed."""
    records = []
    for study in range(studies):
        for name in SPEED:
            records.append(record(name, facts("hills"), study))
            slow = 9.0 if name.startswith("gamma") else SPEED[name] * 1.2
            records.append(record(name, facts("valleys"), study, speed=slow))
    reason = "ValueError: <script>alert('no')</script> (mine.py:4)"
    crashed = record("beta", facts("hills"), studies, evaluations=3, status="crashed", reason=reason)
    other = record("alpha", facts("hills"), 0, spec={"hardware": "gpu-synthetic", "device": "cuda"})
    return [*records, crashed, other]


def exploring(submission: str = "alpha", study: int = 0, lr: float = 0.01, **changes: Any) -> Record:
    """A run whose learning rate was set with `--set`: it is shown and never ranked."""
    base = record(submission, facts("hills"), study, lr=lr, **changes, spec={"overridden": ("lr",)})
    return msgspec.structs.replace(base, run_id=f"{base.run_id}-lr-{lr}")


def staged(study: int, first: int, evaluations: int, **changes: Any) -> Record:
    """A run on a stream of two stages; `first` is the index of the first evaluation of the second stage."""
    stages = (
        Stage(name="early", targets=(msgspec.structs.replace(TARGET, value=2.0),), max_examples=2000),
        Stage(name="late", targets=(TARGET,), max_examples=2000),
    )
    base = record("alpha", facts(access="stream", stages=stages), study, speed=50.0, evaluations=evaluations, **changes)
    points = tuple(msgspec.structs.replace(point, stage=int(i >= first)) for i, point in enumerate(base.points))
    return msgspec.structs.replace(base, points=points, status="reached", hit=len(points) - 1)


def page_summaries(records: list[Record]) -> list[PageSummary]:
    """Records as the report's page needs them."""
    return [summarize_for_page(item, LeaderboardQuery()) for item in records]


def write(folder: Path, records: list[Record]) -> Path:
    """Records as a runs folder."""
    for item in records:
        run_folder = folder / item.run_id
        run_folder.mkdir(parents=True, exist_ok=True)
        (run_folder / "record.json").write_bytes(encode(item))
    return folder
