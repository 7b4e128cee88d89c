"""Make thousands of records, and measure the commands and functions that read all of them.

python -m benchmarks.many_records make FOLDER [--records 10000] [--packed]
python -m benchmarks.many_records measure FOLDER [--browser]

`make` writes run folders to FOLDER/runs; with `--packed`, it writes shards to FOLDER/results instead. `measure` runs
each command in a process of its own, and prints wall seconds, processor seconds and peak memory of that process.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: Names of the submissions.
SUBMISSIONS = ("adamw-like", "sgd-like", "muon-like", "lion-like", "sophia-like")
#: Number of workloads.
WORKLOADS = 8
#: Number of trials per study.
TRIALS = 10


def make_records(count: int) -> Iterator[object]:
    """Yield `count` records of 5 submissions on 8 workloads, with 10 trials per study and 50 to 100 points each."""
    from harness.contract.domains import HParams
    from harness.contract.record import Environment, Record, Session, Usage
    from harness.contract.ruleset import Ruleset
    from harness.contract.run import Counters, Point, RunSpec, Seeds, SubmissionRef, WorkloadRef
    from harness.contract.workload import Budget, Target, WorkloadFacts

    rng = random.Random(0)
    studies = math.ceil(count / (len(SUBMISSIONS) * WORKLOADS * TRIALS))
    rules = Ruleset(
        name="tuned", version="1", summary="ten trials per study", trials=TRIALS, studies=studies, tuning="space"
    )
    environment = Environment(
        python="3.11.7", torch="2.13.0+cpu", platform="Linux-6.1-x86_64", hardware_name="A Processor", cpu_count=2,
        threads=1, distributions={"algorace": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0"}, git="0" * 40,
    )  # fmt: skip
    target = Target(metric="loss", goal="min", value=1.0, unit="nats")
    facts = [
        WorkloadFacts(
            name=f"task-{i}", version="1", tier="cpu", targets=(target,), batch_sizes=(100, 50, 200), eval_every=1000,
            budget=Budget(horizon=100_000, gradient_examples=400_000, seconds={"default": 600.0}),
            resolution=0.01, levels={"easy": (Target(metric="loss", goal="min", value=1.2, unit="nats"),)},
        )
        for i in range(WORKLOADS)
    ]  # fmt: skip
    for i in range(count):
        submission, remaining_index = i % len(SUBMISSIONS), i // len(SUBMISSIONS)
        workload, remaining_index = remaining_index % WORKLOADS, remaining_index // WORKLOADS
        trial, study = remaining_index % TRIALS, remaining_index // TRIALS
        lr = 10 ** rng.uniform(-4, -2)
        length = rng.randrange(50, 101)
        reached = rng.random() < 0.9
        wall = process = 0.0
        points = []
        for k in range(1, length + 1):
            wall += 0.11 * math.exp(rng.gauss(0, 0.05))
            process += 0.1 * math.exp(rng.gauss(0, 0.02))
            noisy_loss = 3.0 - 1.95 * k / length + 0.02 * rng.random()
            loss = 0.99 if reached and k == length else max(noisy_loss, 1.001)
            points.append(
                Point(
                    examples=1000 * k, gradient_examples=1000 * k, steps=10 * k, seconds=wall, process_seconds=process,
                    metrics={"accuracy": 1 - loss / 3, "loss": loss}, lr=lr * (1 - k / 120), train_loss=loss * 1.01,
                    mean_train_loss=loss * 1.02,
                )
            )  # fmt: skip
        hparams: HParams = {
            "beta1": 0.9,
            "beta2": 0.95,
            "eps": 1e-8,
            "lr": lr,
            "warmup": 0.05,
            "weight_decay": rng.random(),
        }
        spec = RunSpec(
            workload=WorkloadRef(facts=facts[workload], load="tasks:Task", distribution="algorace"),
            submission=SubmissionRef(name=SUBMISSIONS[submission], version="1", source_hash=f"{submission}" * 64),
            hparams=hparams, ruleset=rules, study=study, trial=trial, root_seed=0, hardware="cpu-synthetic-1t",
            seeds=Seeds(model=study, data=study + 1, submission=i, replay=study + 2),
        )  # fmt: skip
        last = points[-1]
        yield Record(
            run_id="", spec=spec, status="reached" if reached else "exhausted", points=tuple(points),
            hit=length - 1 if reached else None, usage=Usage(peak_memory_bytes=300 << 20, parameters=100_000),
            reason="" if reached else "used its 100,000 examples", environment=environment,
            counters=Counters(examples=last.examples, steps=last.steps, seconds=wall, process_seconds=process),
            sessions=(Session(invocation="0123456789abcdef", machine="fedcba98", first_point=0),),
            started=f"2026-01-01T{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}", finished="2026-01-02T00:00:00",
        )  # fmt: skip


def make(folder: Path, count: int, *, packed: bool) -> None:
    """Write `count` records, with run_ids and content hashes, as run folders or as shards."""
    from msgspec.structs import replace

    from harness.contract.record import Record
    from harness.storage import packing
    from harness.storage.layout import RECORD, run_id
    from harness.storage.records import encode

    size = 0
    for record in make_records(count):
        assert isinstance(record, Record)
        identity = run_id(record.spec)
        if packed:
            path = folder / "results" / record.spec.workload.facts.name / record.spec.submission.name
            path = path / f"{identity}.json"
        else:
            path = folder / "runs" / identity / RECORD
        path.parent.mkdir(parents=True, exist_ok=True)
        content = encode(replace(record, run_id=identity))
        path.write_bytes(content)
        size += len(content)
    print(f"{count} records, {size / 1e6:.0f} MB", flush=True)
    if packed:
        print(f"{sum(report.records for report in packing.pack(folder))} packed")


def run_measured(label: str, *command: str) -> None:
    """Run Python with arguments, and print wall seconds, processor seconds and peak memory of the process."""
    # Without stored bytecode, each process would compile all modules, which takes 0.2 s. An installed package has
    # stored bytecode, so the measured process may store it too.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    with open(os.devnull, "wb") as sink:
        actions = [(os.POSIX_SPAWN_DUP2, sink.fileno(), 1), (os.POSIX_SPAWN_DUP2, sink.fileno(), 2)]
        pid = os.posix_spawn(sys.executable, [sys.executable, *command], environment, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    code = os.waitstatus_to_exitcode(status)
    failed = "" if code == 0 else f"  exit {code}"
    seconds = f"{wall:7.2f} s wall{usage.ru_utime:7.2f} s user{usage.ru_stime:6.2f} s system"
    print(f"{label:<24}{seconds}{peak:7.0f} MB{failed}", flush=True)


READ_RECORDS = """
import sys
from pathlib import Path
from harness.storage import records
read = getattr(records, "find_valid_record", None) or records.read_status
for path in Path(sys.argv[1]).glob("*/record.json"):
    assert read(path) is not None
"""


def measure(folder: Path, cache: str, *, browser: bool) -> None:
    """Measure the commands and functions on the records in a folder. `cache` is an empty folder for caches."""
    runs, results, page = str(folder / "runs"), str(folder / "results"), str(folder / "report.html")
    folders = ("--runs", runs, "--results", results)
    bench = ("-m", "harness.cli")
    existing = [name for name in (runs, results) if os.path.isdir(name)]
    load = f"import harness; frame = harness.load_results(*{existing!r}); assert len(frame)"
    leaderboard = (*bench, "leaderboard", *folders, "--reference", SUBMISSIONS[0])
    run_measured("bench --help", *bench, "--help")
    # The cache lists no verified file, so the first command computes all content hashes.
    os.environ["BENCH_CACHE"] = cache
    run_measured("leaderboard, first time", *leaderboard)
    run_measured("bench leaderboard", *leaderboard)
    run_measured("bench report", *bench, "report", page, *folders, "--reference", SUBMISSIONS[0])
    run_measured("bench compare", *bench, "compare", SUBMISSIONS[0], SUBMISSIONS[1], *folders)
    run_measured("bench runs", *bench, "runs", "--runs", runs)
    run_measured("harness.load_results", "-c", load)
    if os.path.isdir(runs):
        run_measured("resume: read each run", "-c", READ_RECORDS, runs)
    if os.path.exists(page):
        print(f"{page}: {os.path.getsize(page) / 1e6:.2f} MB")
        if browser:
            open_page(Path(page), folder)


def open_page(page: Path, pictures: Path) -> None:
    """Open the report in headless Chromium, print the seconds until it is drawn, and write pictures of it."""
    from tests.report.browser import chromium

    for width, height in ((1280, 900), (390, 800)):
        with tempfile.TemporaryDirectory() as profile, chromium(Path(profile), width=width, height=height) as driver:
            for _ in range(3):
                driver.get("about:blank")
                driver.get(page.resolve().as_uri())
                drawn = None
                while drawn is None:
                    time.sleep(0.02)
                    drawn = driver.execute_script("return document.body.dataset.drawnAt ?? null")
                board = driver.execute_script("return document.body.dataset.boardAt")
                print(f"page, {width} pixels: table {float(board) / 1e3:.2f} s, charts {float(drawn) / 1e3:.2f} s")
            driver.save_screenshot(str(pictures / f"report-{width}.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["make", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--packed", action="store_true", help="with make: write shards instead of run folders")
    parser.add_argument("--browser", action="store_true", help="with measure: also open the report in Chromium")
    arguments = parser.parse_args()
    if arguments.action == "make":
        make(arguments.folder, arguments.records, packed=arguments.packed)
    else:
        with tempfile.TemporaryDirectory() as cache:
            measure(arguments.folder, cache, browser=arguments.browser)


if __name__ == "__main__":
    main()
