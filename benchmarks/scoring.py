"""Measure the time to score AlgoPerf's logs and 10,000 records, or test the statistics of tables by simulation.

python benchmarks/scoring.py [LOGS_DIR] [--records 10000]
python benchmarks/scoring.py --simulate
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(label: str, call: Callable[[], T]) -> T:
    """Print the wall and processor seconds of a call, and return its result."""
    wall, process = time.perf_counter(), time.process_time()
    result = call()
    print(f"{label:<44}{time.perf_counter() - wall:8.3f} s wall {time.process_time() - process:8.3f} s processor")
    return result


def third_party() -> None:
    import msgspec  # noqa: F401
    import numpy  # noqa: F401
    import scipy.stats  # noqa: F401


def score_published(folder: str) -> None:
    """Score a folder of AlgoPerf logs, and print the time of each step."""
    from harness.scoring.algoperf.logs import MEASUREMENTS, read_logs
    from harness.scoring.algoperf.rules import score_logs, score_table
    from harness.scoring.algoperf.target_files import default_targets
    from harness.scoring.algoperf.targets import HELD_OUT_WORKLOADS

    files = timed("  list the files", lambda: list(Path(folder).rglob(MEASUREMENTS)))
    size = timed("  read their bytes and discard them", lambda: sum(len(path.read_bytes()) for path in files))
    table = default_targets()
    wanted = {w: table.targets[w] for w in (*table.base, *HELD_OUT_WORKLOADS)}
    logs = timed("  read and parse up to each hit", lambda: read_logs(folder, wanted))
    timed("  score the table", lambda: score_table(logs.times()))
    timed("all of this, with rank ranges and ties", lambda: score_logs(folder))
    print(f"{len(files)} files, {size / 1e6:.0f} MB, {logs.trials} trials, {len(logs.skipped)} skipped or missing")


def make_records(count: int) -> list[bytes]:
    """Return the JSON of records of 5 submissions on 10 workloads. They have 21 to 50 points, and 5 % are misses."""
    import msgspec

    from harness.contract.record import Record, Status
    from harness.contract.ruleset import Ruleset
    from harness.contract.run import Point, RunSpec, Seeds, SubmissionRef, WorkloadRef
    from harness.contract.workload import Budget, Target, WorkloadFacts

    rng = random.Random(0)
    rules = Ruleset(name="quick", version="1", summary="one trial per study", trials=1, studies=count)
    workloads = [
        WorkloadFacts(
            name=f"w{i}",
            version="1",
            tier="cpu",
            targets=(Target(metric="loss", goal="min", value=1.0),),
            budget=Budget(horizon=50_000, gradient_examples=50_000, seconds={"default": 100.0}),
            batch_sizes=(100,),
            eval_every=1000,
        )
        for i in range(10)
    ]
    blobs = []
    for i in range(count):
        spec = RunSpec(
            workload=WorkloadRef(facts=workloads[i % 10], load="x:Y"),
            submission=SubmissionRef(name=f"s{i // 10 % 5}", version="1"),
            hparams={"lr": 0.1, "weight_decay": 0.01},
            ruleset=rules,
            study=i // 50,
            trial=0,
            root_seed=0,
            seeds=Seeds(model=i, data=i, submission=i, replay=i),
            hardware="cpu-x",
        )
        hit = None if rng.random() < 0.05 else rng.randrange(20, 50)
        points = tuple(
            Point(
                examples=1000 * k,
                gradient_examples=1000 * k,
                steps=10 * k,
                seconds=1.1 * k,
                process_seconds=1.0 * k + rng.random() / 10,
                metrics={"loss": 0.99 if k - 1 == hit else 3.0 - k / 30, "accuracy": k / 100},
                lr=0.1,
            )
            for k in range(1, (50 if hit is None else hit + 1) + 1)
        )
        status: Status = "exhausted" if hit is None else "reached"
        blobs.append(msgspec.json.encode(Record(run_id=f"r{i}", spec=spec, status=status, points=points, hit=hit)))
    return blobs


def score_records(count: int) -> None:
    """Write, read, decode, aggregate and score synthetic records. Print the seconds of each step."""
    import msgspec

    from harness.contract.record import Record
    from harness.scoring import aggregate, scores
    from harness.scoring.ties import rank_ties

    blobs = timed("  make and encode (not counted)", lambda: make_records(count))
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{i}.json" for i in range(count)]
        timed("  write the files (not counted)", lambda: [p.write_bytes(b) for p, b in zip(paths, blobs, strict=True)])
        size = sum(map(len, blobs))
        blobs.clear()
        decoder = msgspec.json.Decoder(Record)

        def stream() -> Iterator[Record]:
            return (decoder.decode(path.read_bytes()) for path in paths)

        timed("  read the files and discard them", lambda: sum(len(path.read_bytes()) for path in paths))
        timed("  read, decode, validate and discard them", lambda: sum(1 for _ in stream()))
        table = timed("  the same, then find hits, studies, medians", lambda: aggregate.aggregate(stream()))
        reference = table.times["s0@1"]
        anchored = timed("  anchored scores", lambda: scores.anchored_scores(table.times, reference))
        timed("  profile scores", lambda: scores.profile_scores(table.times, base=list(reference)))
        order = sorted(anchored.scores, key=lambda s: -anchored.scores[s])
        timed("  ties of ranks", lambda: rank_ties(table.studies, order=order, workloads=reference))
    print(f"{count} records, {size / 1e6:.0f} MB")


def simulate() -> None:
    """Print coverage, false verdicts and power on known distributions, as Markdown tables."""
    from harness.scoring import simulate as simulations

    distributions = [simulations.TimeDistribution(noise=noise) for noise in simulations.NOISES]
    print("\n| noise | n | interval of the ratio | interval of the median |\n|---|---|---|---|")
    for distribution in distributions:
        for n in (6, 8, 10, 16, 30):
            ratio_coverage, median_coverage = (
                cover(distribution, n, 10_000) for cover in (simulations.interval_coverage, simulations.median_coverage)
            )
            print(f"| {distribution.noise} | {n} | {ratio_coverage:.3f} | {median_coverage:.3f} |", flush=True)
    print("\n| noise | misses | n | overall verdict | on any workload | different ranks |\n|---|---|---|---|---|---|")
    for distribution in [*distributions, simulations.TimeDistribution(misses=0.1)]:
        for n in (8, 10):
            overall, on_any = simulations.false_verdicts(distribution, n, 4000)
            rank_errors = simulations.false_ranks(distribution, n, 4000)
            row_heading = f"{distribution.noise} | {distribution.misses:.0%} | {n}"
            print(f"| {row_heading} | {overall:.3f} | {on_any:.3f} | {rank_errors:.3f} |", flush=True)
    print("\n| noise | seed noise | misses | planned pairs | 3 % found |\n|---|---|---|---|---|")
    for distribution in [
        *(
            simulations.TimeDistribution(noise=noise, scale=scale)
            for noise in simulations.NOISES
            for scale in (0.01, 0.03, 0.05)
        ),
        simulations.TimeDistribution(misses=0.05),
    ]:
        pairs, detection_rate = simulations.power(distribution, 1000)
        row_heading = f"{distribution.noise} | {distribution.scale:.0%} | {distribution.misses:.0%}"
        print(f"| {row_heading} | {pairs:.0f} | {detection_rate:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("logs", nargs="?", help="folder of published AlgoPerf logs")
    parser.add_argument("--records", type=int, default=10_000, help="synthetic records to score")
    parser.add_argument("--simulate", action="store_true", help="run the simulations instead")
    arguments = parser.parse_args()
    timed("third-party imports (not counted)", third_party)
    import msgspec
    import numpy
    import scipy

    print(
        f"Python {platform.python_version()}, numpy {numpy.__version__}, scipy {scipy.__version__},"
        f" msgspec {msgspec.__version__}, {platform.machine()}"
    )
    if arguments.simulate:
        timed("simulations", simulate)
        return
    if arguments.logs:
        score_published(arguments.logs)
    score_records(arguments.records)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
