"""Measure the throughput of the GPU workloads, the overhead of the harness, and the effect of each optimisation.

    python benchmarks/gpu.py                 # on a GPU; under nine minutes, without downloads
    python benchmarks/gpu.py --toy           # on a CPU; tiny sizes that only test the script

The script uses the code of the worker: `harness.worker.setup` builds a run, `TrainingRun.train` trains it, and the
clock of the run measures its time. It reports one throughput for each interval between two evaluations. The first
interval is left out, because kernels and caches warm up in it.

The overhead of the harness is a ratio: seconds of the harness's steps / seconds of the same steps in a hand-written
loop. Groups of a few steps of the harness and of the loop alternate. The device is synchronised before and after each
group.

Optimisations are turned off one at a time. An optimisation that the checked-out version lacks is reported as absent. A
measurement that would start after `--seconds` is reported as left out.

The utilisation is (FLOP per token) · tokens/s / peak. The FLOP per token are 6·N + 6·L·D·T for N parameters, L layers,
the width D and the sequence length T. The peak is the manufacturer's number for dense bf16 (harness/hardware.yaml).
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import importlib.util
import itertools
import json
import math
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import torch

from harness.contract.entries import WorkloadEntry
from harness.contract.events import AnyEvent, ClockChanged, Warned
from harness.contract.run import Job, RunSpec
from harness.execution.sessions import git_state
from harness.hardware import classes, detect
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry
from harness.worker import setup
from submissions.optimizers.flattened import FlattenedMuon

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gpu_workloads import LOGITS_IN_PARTS, bare_words, flops_per_token, pictures, words

MEASURED = Path(__file__).resolve().parent / "measured"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the measurements.

    Args:
        toy: whether the sizes are tiny and only test the script.
        sequences: sequences per step of the language model.
        micro: sequences per forward and backward pass.
        images: images per step of the image model.
        steps, image_steps: steps per interval of the language model and of the image model.
        intervals: number of intervals after the warm-up.
        rounds: number of alternations between the harness and the hand-written loop.
        matrix: number of rows and columns of the multiplied matrices.
    """

    toy: bool
    sequences: int
    micro: int
    images: int
    steps: int
    image_steps: int
    intervals: int
    rounds: int
    matrix: int


REAL = Sizes(
    toy=False, sequences=512, micro=64, images=512, steps=3, image_steps=60, intervals=5, rounds=8, matrix=8192
)
TOY = Sizes(toy=True, sequences=4, micro=2, images=8, steps=1, image_steps=1, intervals=2, rounds=2, matrix=64)


@dataclass(kw_only=True)
class Session:
    """The settings and the results of all measurements.

    Args:
        device: `cuda`, `cpu` …
        sizes: sizes of the measurements.
        compiled: whether losses are compiled. Older versions of the worker cannot compile.
        deadline: no measurement starts after this value of `time.monotonic`.
        folder: folder of all runs. They share its compiled graphs.
        registry: the plugins.
        results: results of the measurements.
        readings: samples of clocks, power and temperature of the GPUs.
        last_read: value of `time.monotonic` at the last sample.
    """

    device: str
    sizes: Sizes
    compiled: bool
    deadline: float
    folder: Path
    registry: Any = field(default_factory=load_registry)
    results: list[dict[str, Any]] = field(default_factory=list)
    readings: list[Any] = field(default_factory=list)
    last_read: float = -math.inf

    @property
    def hardware(self) -> str:
        return detect.hardware_class(self.device, 1)

    def read(self, during: str) -> None:
        """Sample the clocks, power and temperature of the GPUs, at most once per second.

        Args:
            during: name of the measurement or workload, which is stored with the sample.
        """
        gpus = detect.gpus_of_run(self.device) if self.device.startswith("cuda") else ()
        now = time.monotonic()
        if gpus and now - self.last_read >= 1.0:
            samples = detect.find_driver().read(gpus)
            self.readings += [{"during": during, "at": round(now, 1), **msgspec.to_builtins(s)} for s in samples]
            self.last_read = now

    def spec(self, workload: WorkloadEntry, submission: str) -> RunSpec:
        """Return the trial of a submission with its default hyperparameters."""
        settings = PlanSettings(ruleset=rulesets.ruleset("quick"), device=self.device)
        return plan_trials(workload, self.registry.submission(submission), self.registry, settings)[0]

    def language_workload(self, **changes: Any) -> WorkloadEntry:
        """Return `lm-124m-synthetic` with all optimisations except those that `changes` turns off."""
        sizes = self.sizes
        batch = sizes.sequences if CAN_SPLIT_BATCHES else sizes.micro
        arguments: dict[str, Any] = {
            "toy": sizes.toy,
            "batch": batch,
            "micro": sizes.micro if CAN_SPLIT_BATCHES else 0,
            "steps": sizes.steps,
        }
        arguments |= {"intervals": 1 + sizes.intervals, "dtype": "bfloat16", "compiled": self.compiled}
        return words(**(arguments | changes))

    def image_workload(self, **changes: Any) -> WorkloadEntry:
        """Return `resnet-cifar10` with all optimisations except those that `changes` turns off."""
        sizes = self.sizes
        arguments: dict[str, Any] = {
            "toy": sizes.toy,
            "batch": sizes.images,
            "steps": sizes.image_steps,
            "channels_last": True,
        }
        arguments |= {"intervals": 1 + sizes.intervals, "dtype": "bfloat16", "compiled": self.compiled}
        return pictures(**(arguments | changes))


#: Whether the checked-out worker can split batches into microbatches, and whether it can compile losses.
CAN_SPLIT_BATCHES = importlib.util.find_spec("harness.worker.microbatch") is not None
CAN_COMPILE = importlib.util.find_spec("harness.worker.compile_cache") is not None


# --- measuring ----------------------------------------------------------------------------------


def measure_run(session: Session, workload: WorkloadEntry, submission: str) -> dict[str, Any]:
    """Measure the examples per scored second in each interval of a run except the first, and the peak memory.

    Raises:
        RuntimeError: the run ended before its budget was used.
    """
    spec = session.spec(workload, submission)
    run_warnings: list[str] = []

    def receive(event: AnyEvent) -> None:
        if isinstance(event, Warned):
            run_warnings.append(event.message)
        if isinstance(event, ClockChanged) and not event.running:
            session.read(spec.workload.facts.name)  # this takes no scored time, and the device is still hot

    run = setup.start_run(
        Job(spec=spec, folder=str(session.folder), evaluation_folder=str(session.folder), resume=False), receive
    )
    done = run.train()
    if done.status != "exhausted":
        raise RuntimeError(f"{spec.workload.facts.id} ended as {done.status}: {done.reason}")
    ends = run.state.position.points[1:]
    rates = [
        (b.examples - a.examples) / (b.scored(spec.clock) - a.scored(spec.clock)) for a, b in itertools.pairwise(ends)
    ]
    return {
        "submission": spec.submission.id,
        "hparams": spec.hparams,
        "batch": spec.workload.facts.batch_sizes[0],
        "micro_batch": getattr(run.work, "micro_batch", None),
        "precision": msgspec.to_builtins(spec.workload.facts.precision),
        "examples_per_second": rates,
        "peak_memory_bytes": done.usage.peak_memory_bytes,
        "evaluation_seconds": done.usage.evaluation_seconds,
        "train_loss": [p.train_loss for p in run.state.position.points],
        "warnings": run_warnings,
    }


def measure_language(session: Session, submission: str = "adamw-cosine", **changes: Any) -> dict[str, Any]:
    """Measure the tokens per second and the utilisation of the language model."""
    workload = session.language_workload(**changes)
    result = measure_run(session, workload, submission)
    tokens = workload.facts.tokens_per_example
    model = load_object(workload.load)(**workload.arguments).build_model(0)
    result["tokens_per_second"] = [tokens * rate for rate in result["examples_per_second"]]
    result["flops_per_token"] = flops_per_token(model, model.config)
    peak = classes.peak_tflops(session.hardware)
    if peak is not None:
        mean = statistics.fmean(result["tokens_per_second"])
        result |= {"peak_tflops": peak, "utilisation": mean * result["flops_per_token"] / (1e12 * peak)}
    return result


def measure_overhead(session: Session) -> dict[str, Any]:
    """Measure the time of the harness's steps, divided by the time of the steps of a hand-written loop (`bare`).

    Groups of steps alternate (loop, harness, harness, loop …), so that a drift of the clock frequency cancels. The
    harness and the loop train the same workload on the same device. Either both compile, or neither does.
    """
    workload = session.language_workload()
    spec = session.spec(workload, "adamw-cosine")
    run = setup.start_run(
        Job(spec=spec, folder=str(session.folder), evaluation_folder=str(session.folder), resume=False),
        lambda event: None,
    )
    instance = load_object(workload.load)(**workload.arguments)
    micro = getattr(run.work, "micro_batch", None) or spec.workload.facts.batch_sizes[0]
    bare = bare_words(spec, instance, micro, spec.workload.facts.precision.compile and CAN_COMPILE)

    def in_harness() -> None:
        _make_step(run)

    for step in (in_harness, bare):  # warm up kernels and the allocator
        _time_steps(session, step, 2)
    gc.collect()
    gc.disable()  # as the harness does while the clock runs
    seconds_of: dict[Callable[[], None], list[float]] = {in_harness: [], bare: []}
    for number in range(session.sizes.rounds):
        for step in (in_harness, bare) if number % 2 else (bare, in_harness):
            seconds_of[step].append(_time_steps(session, step, session.sizes.steps))
    gc.enable()
    logs = [math.log(a / b) for a, b in zip(seconds_of[in_harness], seconds_of[bare], strict=True)]
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.fmean(logs)
    batch = spec.workload.facts.batch_sizes[0] * spec.workload.facts.tokens_per_example
    return {
        "ratio": math.exp(mean),
        "ratio_plus_minus_two_errors": [math.exp(mean - 2 * error), math.exp(mean + 2 * error)],
        "tokens_per_second": [batch * session.sizes.steps / s for s in seconds_of[in_harness]],
        "bare_tokens_per_second": [batch * session.sizes.steps / s for s in seconds_of[bare]],
        "micro_batch": micro,
    }


def find_waits(session: Session) -> dict[str, Any]:
    """Return the source lines at which the host waits for the device during one step. There should be none."""
    if not session.device.startswith("cuda"):
        return {"not_measured": "left out: waits can be counted only on CUDA"}
    result: dict[str, Any] = {"waits_per_step": {}}
    for workload in (session.language_workload(), session.image_workload()):
        spec = session.spec(workload, "adamw-cosine")
        run = setup.start_run(
            Job(spec=spec, folder=str(session.folder), evaluation_folder=str(session.folder), resume=False),
            lambda event: None,
        )
        for _ in range(3):
            _make_step(run)
        torch.cuda.synchronize()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                _make_step(run)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        places = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
        result["waits_per_step"][workload.facts.name] = places
        del run
        _free_memory(session.device)
    return result


def _make_step(run: Any) -> None:
    """Make one training step as in `TrainingRun.train`, but without the check of the budget."""
    run.work.begin_step()
    run.submission.step(run.work)
    run.work.end_step()


def measure_products(session: Session) -> dict[str, Any]:
    """Measure the TFLOP/s of one large bf16 matrix product. The result is the practical peak of the device."""
    n = session.sizes.matrix
    a, b = (torch.randn(n, n, device=session.device, dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(1 + session.sizes.intervals):
        spent = _time_steps(session, lambda: torch.mm(a, b), 50 if not session.sizes.toy else 2)
        rates.append(2 * n**3 * (50 if not session.sizes.toy else 2) / spent / 1e12)
    return {"n": n, "tflops": rates[1:]}


def _time_steps(session: Session, step: Callable[[], Any], count: int) -> float:
    _wait(session.device)
    began = time.perf_counter()
    for _ in range(count):
        step()
    _wait(session.device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


# --- optimisations ------------------------------------------------------------------------------


@contextmanager
def unfused() -> Iterator[None]:
    """Replace fused AdamW by the `foreach` implementation, which is torch's default on a GPU."""
    original = torch.optim.AdamW

    def build(*arguments: Any, **options: Any) -> torch.optim.Optimizer:
        return original(*arguments, **(options | {"fused": False, "foreach": True}))

    with mock.patch.object(torch.optim, "AdamW", build):
        yield


@contextmanager
def newton_schulz(batched: bool) -> Iterator[None]:
    """Orthogonalise Muon's matrices in batches, or one by one."""
    fixed = property(lambda self: batched, lambda self, value: None)
    with mock.patch.object(FlattenedMuon, "batched", fixed, create=True):
        yield


Measurement = tuple[str, Callable[[Session], dict[str, Any]], Callable[[], AbstractContextManager[Any]], str]


def measurements(session: Session) -> list[Measurement]:
    """Return all measurements. The most important ones are first.

    A measurement consists of four items:

    - its name
    - the function that measures
    - a context manager for the call of this function
    - the reason why the measurement is left out; empty if it is made
    """
    compiles = "" if CAN_COMPILE else "absent: this version cannot compile losses"
    if CAN_COMPILE and not session.compiled:
        compiles = "left out: without --compile nothing is compiled on a CPU"
    fused = "" if LOGITS_IN_PARTS else "absent: this version computes all logits at once"
    return [
        ("bf16 product", measure_products, nullcontext, ""),
        ("lm-124m-synthetic, all on", measure_language, nullcontext, ""),
        ("harness over bare loop", measure_overhead, nullcontext, ""),
        ("resnet-cifar10, all on", lambda s: _measure_images(s), nullcontext, ""),
        ("waits for the device in a step", find_waits, nullcontext, ""),
        ("lm without compile", lambda s: measure_language(s, compiled=False), nullcontext, compiles),
        ("lm with muon-wsd", lambda s: measure_language(s, "muon-wsd"), lambda: newton_schulz(True), ""),
        (
            "lm with muon-wsd, matrices one by one",
            lambda s: measure_language(s, "muon-wsd"),
            lambda: newton_schulz(False),
            "",
        ),
        ("lm without fused optimizer", measure_language, unfused, ""),
        ("lm without fused cross-entropy", lambda s: measure_language(s, whole_logits=True), nullcontext, fused),
        ("lm in tf32, without bf16", lambda s: measure_language(s, dtype="float32"), nullcontext, ""),
        ("resnet without channels_last", lambda s: _measure_images(s, channels_last=False), nullcontext, ""),
        ("resnet without compile", lambda s: _measure_images(s, compiled=False), nullcontext, compiles),
    ]


def _measure_images(session: Session, **changes: Any) -> dict[str, Any]:
    return measure_run(session, session.image_workload(**changes), "adamw-cosine")


def measure(session: Session, part_of_name: str) -> None:
    """Make and print the measurements whose name contains `part_of_name`, until the deadline.

    The error of a failed measurement is stored as its result.
    """
    for name, measurement, context, reason in measurements(session):
        if part_of_name not in name:
            continue
        result: dict[str, Any] = {"name": name}
        began = time.monotonic()
        if reason:
            result["not_measured"] = reason
        elif began > session.deadline:
            result["not_measured"] = "left out: the time was up"
        else:
            if session.device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            try:
                with context():
                    result |= measurement(session)
            except Exception as error:
                result["not_measured"] = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:300]}"
            session.read(name)
            _free_memory(session.device)
        result["seconds"] = time.monotonic() - began
        session.results.append(result)
        print(_format_result(result), flush=True)


def _free_memory(device: str) -> None:
    """Free the memory of a run. The run's clock had called `gc.freeze`, which hides objects from the collector."""
    gc.unfreeze()
    gc.enable()
    gc.collect()
    torch.compiler.reset()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


# --- output -------------------------------------------------------------------------------------


def _format_result(result: dict[str, Any]) -> str:
    name = f"{result['name']:40s}"
    if "not_measured" in result:
        return f"{name} {result['not_measured']}"
    if "tflops" in result:
        return f"{name} {_format_mean(result['tflops'])} TFLOP/s"
    if "waits_per_step" in result:
        waits_of = (
            f"{workload} {', '.join(places) or 'none'}" for workload, places in result["waits_per_step"].items()
        )
        return f"{name} {'; '.join(waits_of)}"
    memory = f", {result['peak_memory_bytes'] / 2**30:.1f} GiB" if result.get("peak_memory_bytes") else ""
    if "ratio" in result:
        low, high = result["ratio_plus_minus_two_errors"]
        bare = _format_mean(result["bare_tokens_per_second"])
        return f"{name} {result['ratio']:.4f} ({low:.4f} to {high:.4f}), bare {bare} tokens/s"
    if "tokens_per_second" in result:
        share = f", {result['utilisation']:.1%} of peak" if "utilisation" in result else ""
        return f"{name} {_format_mean(result['tokens_per_second'])} tokens/s{share}{memory}"
    return f"{name} {_format_mean(result['examples_per_second'])} images/s{memory}"


def _format_mean(values: list[float]) -> str:
    spread = statistics.stdev(values) / statistics.fmean(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):12,.1f} ± {spread:.2%}"


def report(session: Session, began: datetime) -> dict[str, Any]:
    """Return all results, with the hardware, the versions and the sizes."""
    gpus = detect.gpus_of_run(session.device) if session.device.startswith("cuda") else ()
    versions = {name: importlib.metadata.version(name) for name in ("algorace", "torch", "numpy")}
    if importlib.util.find_spec("triton") is not None:
        versions["triton"] = importlib.metadata.version("triton")
    return {
        "schema": SCHEMA,
        "script": "benchmarks/gpu.py",
        "date": began.isoformat(timespec="seconds"),
        "commit": git_state(),
        "hardware": session.hardware,
        "device": [msgspec.to_builtins(gpu.device) for gpu in gpus],
        "processor": detect.cpu_name(),
        "python": platform.python_version(),
        "versions": versions,
        "cuda": str(torch.version.cuda or ""),
        "toy": session.sizes.toy,
        "sizes": {name: getattr(session.sizes, name) for name in Sizes.__slots__},
        "formula": "flops per token = 6 N + 6 L D T; utilisation = tokens/s · flops per token / dense bf16 peak",
        "results": session.results,
        "readings": session.readings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--toy", action="store_true", help="use tiny sizes, which are required on a CPU")
    parser.add_argument("--compile", action="store_true", help="also compile on a CPU")
    parser.add_argument(
        "--seconds", type=float, default=480.0, help="start no measurement after this time (default: 480)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="make only measurements whose name contains TEXT")
    parser.add_argument("--out", type=Path, help="JSON file (default: a file in benchmarks/measured/; none with --toy)")
    options = parser.parse_args()
    on_processor = options.device == "cpu"
    if on_processor and not options.toy:
        parser.error("there is no measurement on a CPU; use --toy, which only tests the script")
    began = datetime.now(UTC)
    # The folder is in memory if possible, because each evaluation writes a checkpoint three times as large as the
    # weights.
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() and not options.toy else None
    with tempfile.TemporaryDirectory(dir=shared, prefix="bench-gpu-") as folder:
        # If this folder is missing, the worker first compiles in another process, which takes longer. The measurements
        # do not need this process: they discard the first interval, in which the worker compiles.
        (Path(folder) / "compiled").mkdir()
        session = Session(
            device=options.device,
            sizes=TOY if options.toy else REAL,
            compiled=CAN_COMPILE and (options.compile or not on_processor),
            deadline=time.monotonic() + options.seconds,
            folder=Path(folder),
        )
        print(f"{session.hardware}, torch {torch.__version__}, commit {git_state() or 'unknown'}", flush=True)
        measure(session, options.only)
        results = report(session, began)
    out = options.out
    if out is None and not options.toy:
        out = MEASURED / f"gpu-{session.hardware}-{began:%Y%m%dT%H%M%SZ}.json"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1, default=str) + "\n")
        print(f"written to {out}")


if __name__ == "__main__":
    main()
