"""Builds a run in the order that the rules require."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# Bound here, before a plugin can replace it in `time`.
from time import process_time
from typing import cast

import torch
from torch import nn

from harness.contract.events import ClockChanged, Warned
from harness.contract.record import Usage
from harness.contract.run import Job, RunSpec
from harness.worker import checkpoint, compile_cache, rng
from harness.worker.clock import Clock
from harness.worker.data.pools import Pool
from harness.worker.data.replay import ReplayBuffer
from harness.worker.data.source import BatchSource, PoolSource, StreamSource
from harness.worker.data.streams import Stream
from harness.worker.device import rank_device, set_default_device, synchronizer
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.emit import Emit
from harness.worker.environment import environment
from harness.worker.forward import ForwardPass
from harness.worker.loading import load_submission, load_workload
from harness.worker.loop import TrainingRun
from harness.worker.microbatch import MicrobatchedPasses, preferred_micro_batch
from harness.worker.passes import Passes, WholeBatchPasses
from harness.worker.profiling import Profiler
from harness.worker.protocols import Submission, Workload
from harness.worker.rule import RuleChecker
from harness.worker.rules import load_rules
from harness.worker.run_state import RunState
from harness.worker.snapshot import Snapshots
from harness.worker.task import batch_size, build_task
from harness.worker.work import CountedWork


def start_run(job: Job, emit: Emit, group: ProcessGroup = SINGLE_PROCESS) -> TrainingRun:
    """Return a run that is ready for its next step, and resumed if the job's folder has a checkpoint."""
    run, construct_submission = build_run(job, emit, group)
    if run.work.needs_warm_up:
        run.work.warm_up_step()
    state = _load_checkpoint(job, emit, group) if job.resume else None
    run.start(construct_submission, state)
    return run


def build_run(
    job: Job,
    emit: Emit,
    group: ProcessGroup = SINGLE_PROCESS,
    change_data: Callable[[Pool | Stream], Pool | Stream] | None = None,
) -> tuple[TrainingRun, Callable[[], Submission]]:
    """Build a run up to the construction of the submission.

    Args:
        job: the trial and its folder.
        emit: receives events.
        group: the ranks of the run.
        change_data: returns the data to use instead of the training data. Only the compile warm-up passes it. If it is
            None, the compiler cache is filled first.

    Returns:
        The run, and the function that constructs the submission.
    """
    spec = job.spec
    torch.set_num_threads(spec.threads)
    import_optimizer_early()
    if change_data is None:
        _prepare_compiler(job, emit, group)
    _apply_numeric_settings(spec)
    # The submission is imported first. The import is off the clock, and must not have access to the model or the data.
    rules = load_rules(spec)
    construct, import_seconds = _import_submission(spec, rules)
    workload = load_workload(spec)
    device = rank_device(group.rank, spec)
    set_default_device(device)
    rng.seed_everything(spec.seeds.model)
    model = workload.build_model(spec.seeds.model, **spec.submission.model_options).to(device)
    data = workload.train_data(spec.seeds.data)
    source = build_source(spec, data if change_data is None else change_data(data), device)
    work = build_work(spec, workload, model, source, device, rules=rules, group=group, emit=emit)
    snapshots = Snapshots(model)
    task = build_task(spec, workload, model, source.pool, device, snapshots)
    rng.seed_everything(spec.seeds.submission)
    state = RunState(
        spec=spec,
        model=model,
        work=work,
        task=task,
        snapshots=snapshots,
        clock=build_clock(device, emit),
        group=group,
        usage=Usage(parameters=sum(p.numel() for p in model.parameters()), import_seconds=import_seconds),
    )
    run = TrainingRun(
        state=state,
        folder=Path(job.folder),
        workload=workload,
        rules=rules,
        environment=environment(spec, device),
        emit=emit,
    )
    return run, lambda: construct(model, task, dict(spec.hparams))


def import_optimizer_early() -> None:
    """Use an optimizer once, so that torch's imports for it (about 0.7 s) are not part of the submission's time."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _prepare_compiler(job: Job, emit: Emit, group: ProcessGroup) -> None:
    """Fill the trial's compiler cache off the clock, once for all ranks, if the loss is compiled."""
    if not compile_cache.uses_compiler(job.spec):
        if job.spec.workload.facts.precision.compile:
            emit(Warned(message="no C++ compiler (g++, or the program in CXX) was found: the loss is not compiled"))
        return
    if group.first and (failure := compile_cache.fill_compile_cache(job)):
        emit(Warned(message=f"{failure}; the loss is compiled on the clock (see worker.log)"))
    group.broadcast(b"")  # the other ranks wait until the cache is filled
    compile_cache.redirect_compile_cache(job)


def _apply_numeric_settings(spec: RunSpec) -> None:
    """Apply the workload's numeric settings, which no submission may change."""
    torch.set_float32_matmul_precision("high" if spec.workload.facts.precision.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = spec.workload.facts.precision.tf32
    if spec.deterministic:
        torch.use_deterministic_algorithms(True)


def _import_submission(spec: RunSpec, rules: RuleChecker) -> tuple[Callable[..., Submission], float]:
    """Return the function that constructs the submission, and the CPU seconds of the import."""
    rules.before_import()
    began = process_time()
    construct = load_submission(spec.submission)
    seconds = process_time() - began
    rules.after_import(seconds)
    return construct, seconds


def build_source(spec: RunSpec, data: Pool | Stream, device: torch.device) -> BatchSource:
    """Return the source from which the run draws its training data."""
    if spec.workload.facts.access == "stream":
        return StreamSource(cast(Stream, data), device)
    hold_out = "holdout" in spec.submission.needs
    return PoolSource(cast(Pool, data), spec.seeds.data, device, hold_out=hold_out)


def build_work(
    spec: RunSpec,
    workload: Workload,
    model: nn.Module,
    source: BatchSource,
    device: torch.device,
    *,
    rules: RuleChecker,
    group: ProcessGroup = SINGLE_PROCESS,
    emit: Emit,
) -> CountedWork:
    """Return the object that draws data and computes passes for the submission.

    On a single CPU rank without a requested micro-batch, passes are computed over whole batches.
    """
    forward = ForwardPass(spec, workload, model, device, group)
    profiler = Profiler(device) if spec.profile else None
    micro_batch = preferred_micro_batch(workload)
    passes: Passes
    if group.count == 1 and device.type == "cpu" and micro_batch is None:
        passes = WholeBatchPasses(forward, profiler)
    else:
        passes = MicrobatchedPasses(
            forward,
            group=group,
            micro_batch=micro_batch,
            warn=lambda text: emit(Warned(message=text)),
            profiler=profiler,
        )
    capacity = spec.workload.facts.replay_capacity
    return CountedWork(
        forward=forward,
        source=source,
        passes=passes,
        rules=rules,
        batch_size=batch_size(spec),
        replay=ReplayBuffer(capacity, spec.seeds.replay, device) if capacity else None,
        profiler=profiler,
    )


def build_clock(device: torch.device, emit: Emit) -> Clock:
    """Return the clock of a run, which emits an event when it starts or stops."""
    return Clock(
        synchronizer(device),
        lambda running, seconds, process_seconds: emit(
            ClockChanged(running=running, seconds=seconds, process_seconds=process_seconds)
        ),
    )


def _load_checkpoint(job: Job, emit: Emit, group: ProcessGroup) -> dict[str, object] | None:
    """Return the newest undamaged checkpoint, on every rank; None without one.

    Rank 0 reads first and renames damaged files, so that all ranks read the same file.
    """
    state = None
    if group.first:
        state, warnings = checkpoint.load(Path(job.folder))
        for warning in warnings:
            emit(Warned(message=warning))
    exists = group.broadcast(b"" if state is None else b"exists")
    if exists and not group.first:
        state, _ = checkpoint.load(Path(job.folder))
    return state
