"""How fast the GPU tier is, what the harness adds, and what each trick is worth. Nothing is downloaded.

    python benchmarks/gpu.py                 # on a GPU; under nine minutes
    python benchmarks/gpu.py --toy           # on a processor, at a size that measures nothing but that it works

Runs are the worker's own: built by `harness.worker.setup`, trained by `TrainingRun.train`, timed by the run's clock, a
figure per interval between two evaluations; the first interval warms up. The overhead of the harness is the ratio of
its step to one written by hand, a few of each in turn between two waits for the device. Each trick is turned off
alone; one that this version does not have is reported as absent. When the time is up the rest is reported as left out.

The formula of utilisation: (6·N + 6·L·D·T)·tokens/s over the maker's dense bf16 figure (harness/hardware.yaml).
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
from harness.hardware import classes, detect
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry
from harness.worker import environment, setup
from submissions.optimizers.flattened import FlattenedMuon

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gpu_workloads import LOGITS_IN_PARTS, bare_words, flops_per_token, pictures, words

MEASURED = Path(__file__).resolve().parent / "measured"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is run: examples per step, steps per interval, intervals after the first, alternations, matrix size."""

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
    """What is shared by all measurements.

    Args:
        device: `cuda`, `cpu` …; results and readings of it are collected here.
        sizes: how much is run.
        compiled: whether losses are compiled, where this version compiles.
        deadline: when nothing more is begun, by `time.monotonic`.
        folder: of the runs; one for all, since compiled graphs are kept in it.
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
        """Note the clocks, power and temperature of the device; once a second at most."""
        gpus = detect.run_gpus(self.device) if self.device.startswith("cuda") else ()
        now = time.monotonic()
        if gpus and now - self.last_read >= 1.0:
            read = detect.find_driver().read(gpus)
            self.readings += [{"during": during, "at": round(now, 1), **msgspec.to_builtins(one)} for one in read]
            self.last_read = now

    def spec(self, workload: WorkloadEntry, submission: str) -> RunSpec:
        """The trial of a submission with its default settings."""
        settings = PlanSettings(ruleset=rulesets.ruleset("quick"), device=self.device)
        return plan_trials(workload, self.registry.submission(submission), self.registry, settings)[0]

    def words(self, **changes: Any) -> WorkloadEntry:
        """`lm-124m-synthetic` with every trick on but those that `changes` turns off."""
        sizes = self.sizes
        batch = sizes.sequences if PARTED else sizes.micro
        arguments: dict[str, Any] = {
            "toy": sizes.toy,
            "batch": batch,
            "micro": sizes.micro if PARTED else 0,
            "steps": sizes.steps,
        }
        arguments |= {"intervals": 1 + sizes.intervals, "dtype": "bfloat16", "compiled": self.compiled}
        return words(**(arguments | changes))

    def pictures(self, **changes: Any) -> WorkloadEntry:
        """`resnet-cifar10`, likewise."""
        sizes = self.sizes
        arguments: dict[str, Any] = {
            "toy": sizes.toy,
            "batch": sizes.images,
            "steps": sizes.image_steps,
            "channels_last": True,
        }
        arguments |= {"intervals": 1 + sizes.intervals, "dtype": "bfloat16", "compiled": self.compiled}
        return pictures(**(arguments | changes))


#: Whether this version computes a batch in parts, and compiles losses.
PARTED = importlib.util.find_spec("harness.worker.microbatch") is not None
COMPILES = importlib.util.find_spec("harness.worker.compile_cache") is not None


# --- measuring ----------------------------------------------------------------------------------


def through_the_harness(session: Session, workload: WorkloadEntry, submission: str) -> dict[str, Any]:
    """Examples per scored second in each interval of a whole run, and what it took.

    Raises:
        RuntimeError: the run did not end as planned.
    """
    spec = session.spec(workload, submission)
    said: list[str] = []

    def receive(event: AnyEvent) -> None:
        if isinstance(event, Warned):
            said.append(event.message)
        if isinstance(event, ClockChanged) and not event.running:
            session.read(spec.workload.facts.name)  # off the clock, before the device has cooled down

    run = setup.start_run(Job(spec=spec, folder=str(session.folder), resume=False), receive)
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
        "warnings": said,
    }


def language(session: Session, submission: str = "adamw-cosine", **changes: Any) -> dict[str, Any]:
    """Tokens per second and utilisation of the language model."""
    workload = session.words(**changes)
    found = through_the_harness(session, workload, submission)
    tokens = workload.facts.tokens_per_example
    made = load_object(workload.load)(**workload.arguments)
    model = made.build_model(0)
    found["tokens_per_second"] = [tokens * rate for rate in found["examples_per_second"]]
    found["flops_per_token"] = flops_per_token(model, model.config)
    peak = classes.peak_tflops(session.hardware)
    if peak is not None:
        mean = statistics.fmean(found["tokens_per_second"])
        found |= {"peak_tflops": peak, "utilisation": mean * found["flops_per_token"] / (1e12 * peak)}
    return found


def overhead(session: Session) -> dict[str, Any]:
    """The harness's step over a bare one: some of each in turn, A B B A …, so that drift of the clocks cancels.

    Both are built from the same facts, on the same device, and compiled alike.
    """
    workload = session.words()
    spec = session.spec(workload, "adamw-cosine")
    run = setup.start_run(Job(spec=spec, folder=str(session.folder), resume=False), lambda event: None)
    made = load_object(workload.load)(**workload.arguments)
    micro = getattr(run.work, "micro_batch", None) or spec.workload.facts.batch_sizes[0]
    bare = bare_words(spec, made, micro, spec.workload.facts.precision.compile and COMPILES)

    def ours() -> None:
        _one_step(run)

    for step in (ours, bare):  # kernels, allocator
        _seconds(session, step, 2)
    gc.collect()
    gc.disable()  # as the clock has it
    spent: dict[Callable[[], None], list[float]] = {ours: [], bare: []}
    for number in range(session.sizes.rounds):
        for step in (ours, bare) if number % 2 else (bare, ours):
            spent[step].append(_seconds(session, step, session.sizes.steps))
    gc.enable()
    logs = [math.log(a / b) for a, b in zip(spent[ours], spent[bare], strict=True)]
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.fmean(logs)
    batch = spec.workload.facts.batch_sizes[0] * spec.workload.facts.tokens_per_example
    return {
        "ratio": math.exp(mean),
        "ratio_plus_minus_two_errors": [math.exp(mean - 2 * error), math.exp(mean + 2 * error)],
        "tokens_per_second": [batch * session.sizes.steps / s for s in spent[ours]],
        "bare_tokens_per_second": [batch * session.sizes.steps / s for s in spent[bare]],
        "micro_batch": micro,
    }


def waits(session: Session) -> dict[str, Any]:
    """How often the host waits for the device within one step, of both workloads: never, if all is well."""
    if not session.device.startswith("cuda"):
        return {"not_measured": "left out: only CUDA counts waits"}
    found: dict[str, Any] = {"waits_per_step": {}}
    for workload in (session.words(), session.pictures()):
        spec = session.spec(workload, "adamw-cosine")
        run = setup.start_run(Job(spec=spec, folder=str(session.folder), resume=False), lambda event: None)
        for _ in range(3):
            _one_step(run)
        torch.cuda.synchronize()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                _one_step(run)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        places = [f"{Path(w.filename).name}:{w.lineno}" for w in said if "synchroniz" in str(w.message)]
        found["waits_per_step"][workload.facts.name] = places
        del run
        _let_go(session.device)
    return found


def _one_step(run: Any) -> None:
    """What `TrainingRun.train` does between two evaluations, beside comparing two numbers."""
    run.work.begin_step()
    run.submission.step(run.work)
    run.work.end_step()


def products(session: Session) -> dict[str, Any]:
    """What this card reaches in one large bf16 product, in 10¹² operations per second: the ceiling in practice."""
    n = session.sizes.matrix
    a, b = (torch.randn(n, n, device=session.device, dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(1 + session.sizes.intervals):
        spent = _seconds(session, lambda: torch.mm(a, b), 50 if not session.sizes.toy else 2)
        rates.append(2 * n**3 * (50 if not session.sizes.toy else 2) / spent / 1e12)
    return {"n": n, "tflops": rates[1:]}


def _seconds(session: Session, step: Callable[[], Any], count: int) -> float:
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


# --- tricks -------------------------------------------------------------------------------------


@contextmanager
def unfused() -> Iterator[None]:
    """Optimizers of torch without their fused kernels: the `foreach` ones, torch's choice on a GPU."""
    whole = torch.optim.AdamW

    def made(*arguments: Any, **options: Any) -> torch.optim.Optimizer:
        return whole(*arguments, **(options | {"fused": False, "foreach": True}))

    with mock.patch.object(torch.optim, "AdamW", made):
        yield


@contextmanager
def newton_schulz(batched: bool) -> Iterator[None]:
    """Muon's matrices all at once, or one by one."""
    fixed = property(lambda self: batched, lambda self, value: None)
    with mock.patch.object(FlattenedMuon, "batched", fixed, create=True):
        yield


Measurement = tuple[str, Callable[[Session], dict[str, Any]], Callable[[], AbstractContextManager[Any]], str]


def measurements(session: Session) -> list[Measurement]:
    """Name, what to do, what to do it under, and why it cannot be done; what matters most comes first."""
    compiles = "" if COMPILES else "absent: this version's Work does not compile"
    if COMPILES and not session.compiled:
        compiles = "left out: without --compile nothing is compiled on a processor"
    fused = "" if LOGITS_IN_PARTS else "absent: this version computes all logits at once"
    return [
        ("bf16 product", products, nullcontext, ""),
        ("lm-124m-synthetic, all on", language, nullcontext, ""),
        ("harness over bare loop", overhead, nullcontext, ""),
        ("resnet-cifar10, all on", lambda s: _images(s), nullcontext, ""),
        ("waits for the device in a step", waits, nullcontext, ""),
        ("lm without compile", lambda s: language(s, compiled=False), nullcontext, compiles),
        ("lm with muon-wsd", lambda s: language(s, "muon-wsd"), lambda: newton_schulz(True), ""),
        ("lm with muon-wsd, matrices one by one", lambda s: language(s, "muon-wsd"), lambda: newton_schulz(False), ""),
        ("lm without fused optimizer", language, unfused, ""),
        ("lm without fused cross-entropy", lambda s: language(s, whole_logits=True), nullcontext, fused),
        ("lm in tf32, without bf16", lambda s: language(s, dtype="float32"), nullcontext, ""),
        ("resnet without channels_last", lambda s: _images(s, channels_last=False), nullcontext, ""),
        ("resnet without compile", lambda s: _images(s, compiled=False), nullcontext, compiles),
    ]


def _images(session: Session, **changes: Any) -> dict[str, Any]:
    return through_the_harness(session, session.pictures(**changes), "adamw-cosine")


def measure(session: Session, wanted: str) -> None:
    """Every measurement whose name contains `wanted`, until the time is up; a failure is a result."""
    for name, what, under, cannot in measurements(session):
        if wanted not in name:
            continue
        found: dict[str, Any] = {"name": name}
        began = time.monotonic()
        if cannot:
            found["not_measured"] = cannot
        elif began > session.deadline:
            found["not_measured"] = "left out: the time was up"
        else:
            if session.device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            try:
                with under():
                    found |= what(session)
            except Exception as error:
                found["not_measured"] = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:300]}"
            session.read(name)
            _let_go(session.device)
        found["seconds"] = time.monotonic() - began
        session.results.append(found)
        print(_line(found), flush=True)


def _let_go(device: str) -> None:
    """Free what a run held: the clock has frozen it, so that the collector would skip it for good."""
    gc.unfreeze()
    gc.enable()
    gc.collect()
    torch.compiler.reset()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


# --- what is said -------------------------------------------------------------------------------


def _line(found: dict[str, Any]) -> str:
    name = f"{found['name']:40s}"
    if "not_measured" in found:
        return f"{name} {found['not_measured']}"
    if "tflops" in found:
        return f"{name} {_figure(found['tflops'])} TFLOP/s"
    if "waits_per_step" in found:
        said = (f"{workload} {', '.join(places) or 'none'}" for workload, places in found["waits_per_step"].items())
        return f"{name} {'; '.join(said)}"
    memory = f", {found['peak_memory_bytes'] / 2**30:.1f} GiB" if found.get("peak_memory_bytes") else ""
    if "ratio" in found:
        low, high = found["ratio_plus_minus_two_errors"]
        bare = _figure(found["bare_tokens_per_second"])
        return f"{name} {found['ratio']:.4f} ({low:.4f} to {high:.4f}), bare {bare} tokens/s"
    if "tokens_per_second" in found:
        share = f", {found['utilisation']:.1%} of peak" if "utilisation" in found else ""
        return f"{name} {_figure(found['tokens_per_second'])} tokens/s{share}{memory}"
    return f"{name} {_figure(found['examples_per_second'])} images/s{memory}"


def _figure(values: list[float]) -> str:
    spread = statistics.stdev(values) / statistics.fmean(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):12,.1f} ± {spread:.2%}"


def report(session: Session, began: datetime) -> dict[str, Any]:
    """Everything that was measured, on what, with what."""
    gpus = detect.run_gpus(session.device) if session.device.startswith("cuda") else ()
    versions = {name: importlib.metadata.version(name) for name in ("algorace", "torch", "numpy")}
    if importlib.util.find_spec("triton") is not None:
        versions["triton"] = importlib.metadata.version("triton")
    return {
        "schema": SCHEMA,
        "script": "benchmarks/gpu.py",
        "date": began.isoformat(timespec="seconds"),
        "commit": environment.git_state(),
        "hardware": session.hardware,
        "device": [msgspec.to_builtins(gpu.device) for gpu in gpus],
        "processor": detect.cpu_name(),
        "python": platform.python_version(),
        "versions": versions,
        "cuda": str(torch.version.cuda or ""),
        "toy": session.sizes.toy,
        "sizes": {name: getattr(session.sizes, name) for name in Sizes.__slots__},
        "formula": "flops per token = 6 N + 6 L D T; utilisation = tokens/s · that / dense bf16 peak of the maker",
        "results": session.results,
        "readings": session.readings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--toy", action="store_true", help="a size for a processor; the only one there")
    parser.add_argument("--compile", action="store_true", help="compile on a processor, too")
    parser.add_argument("--seconds", type=float, default=480.0, help="nothing is begun after so many (default: 480)")
    parser.add_argument("--only", default="", metavar="TEXT", help="measurements whose name contains this")
    parser.add_argument("--out", type=Path, help="the JSON; by default in benchmarks/measured/, for toys nowhere")
    options = parser.parse_args()
    on_processor = options.device == "cpu"
    if on_processor and not options.toy:
        parser.error("there is no GPU here; --toy runs everything at a size that measures nothing")
    began = datetime.now(UTC)
    # In memory where there is such a folder: every evaluation writes a checkpoint of three times the weights.
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() and not options.toy else None
    with tempfile.TemporaryDirectory(dir=shared, prefix="bench-gpu-") as folder:
        # The worker compiles ahead in a process of its own unless a folder of compiled graphs is there; here the first
        # interval is thrown away, which comes to the same and is quicker.
        (Path(folder) / "compiled").mkdir()
        session = Session(
            device=options.device,
            sizes=TOY if options.toy else REAL,
            compiled=COMPILES and (options.compile or not on_processor),
            deadline=time.monotonic() + options.seconds,
            folder=Path(folder),
        )
        print(
            f"{session.hardware}, torch {torch.__version__}, commit {environment.git_state() or 'unknown'}", flush=True
        )
        measure(session, options.only)
        found = report(session, began)
    out = options.out
    if out is None and not options.toy:
        out = MEASURED / f"gpu-{session.hardware}-{began:%Y%m%dT%H%M%SZ}.json"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1, default=str) + "\n")
        print(f"written to {out}")


if __name__ == "__main__":
    main()
