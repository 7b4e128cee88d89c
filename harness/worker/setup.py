"""Builds a run. The rules for submissions determine the order: the submission is imported before the data exists."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

# This import is executed before a plugin can replace the functions in `time`.
from time import perf_counter, process_time
from typing import cast

import torch
from torch import nn

from harness.contract.events import ClockChanged, PhaseBegan, Warned
from harness.contract.record import Usage
from harness.contract.run import Job, RunSpec
from harness.plugins import loading
from harness.storage.layout import run_id
from harness.worker import checkpoint, compile_cache, rng
from harness.worker.assessment import Assessor, LocalAssessor
from harness.worker.clock import Clock
from harness.worker.data.pools import Pool
from harness.worker.data.replay import ReplayBuffer
from harness.worker.data.source import BatchSource, PoolSource, StreamSource
from harness.worker.data.streams import Stream
from harness.worker.device import rank_device, set_default_device, synchronizer
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.emit import Emit
from harness.worker.environment import environment
from harness.worker.evaluator import Evaluator
from harness.worker.forward import ForwardPass
from harness.worker.loading import build_model, load_submission, load_workload
from harness.worker.loop import TrainingRun
from harness.worker.microbatch import MicrobatchedPasses, preferred_micro_batch
from harness.worker.passes import Passes, WholeBatchPasses
from harness.worker.profiling import Profiler
from harness.worker.protocols import Submission, Workload
from harness.worker.remote_assessor import RemoteAssessor
from harness.worker.rule import RuleChecker
from harness.worker.rules import load_rules
from harness.worker.run_state import RunState
from harness.worker.snapshot import Snapshots
from harness.worker.task import batch_size, build_task
from harness.worker.torch_settings import apply_numeric_settings
from harness.worker.work import CountedWork


def start_run(
    job: Job, emit: Emit, group: ProcessGroup = SINGLE_PROCESS, evaluator: socket.socket | None = None
) -> TrainingRun:
    """Return a run that is ready for its next step. If the job says so, resume from a checkpoint.

    Args: see `build_run`.
    """
    run, construct_submission = build_run(job, emit, group, evaluator=evaluator)
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
    evaluator: socket.socket | None = None,
) -> tuple[TrainingRun, Callable[[], Submission]]:
    """Build all objects of a run except the submission.

    Args:
        job: the trial and its folder.
        emit: function that receives the run's events.
        group: the ranks (processes) of the run.
        change_data: function from the training data to the data to use instead. Only the compile warm-up
            (`harness.worker.compile_worker`) passes this function. If it is None, the compiler cache is filled first.
        evaluator: socket to the process that evaluates the weights; None if this process evaluates them.

    Returns:
        The run, and a function without arguments that constructs the submission.
    """
    spec = job.spec
    torch.set_num_threads(spec.threads)
    import_optimizer_early()
    if change_data is None:
        _prepare_compiler(job, emit, group)
    apply_numeric_settings(spec)
    # The rules compare the workload's code with its state before the submission's import. The import of the workload is
    # not part of the phase `import`, which has a limit.
    loading.load_object(spec.workload.load)
    emit(PhaseBegan(phase="import"))
    # The clock is stopped while the submission is imported. The model and the data of the run are built later, so that
    # code at import time cannot change them. It can build its own ones, so a long import is charged (`off_clock`).
    rules = load_rules(spec)
    construct, import_seconds = _import_submission(spec, rules)
    emit(PhaseBegan(phase="build"))
    build_began = perf_counter()
    workload = load_workload(spec)
    device = rank_device(group.rank, spec)
    set_default_device(device)
    model = build_model(spec, workload, device)
    data = workload.train_data(spec.seeds.data)
    source = build_source(spec, data if change_data is None else change_data(data), device)
    work = build_work(spec, workload, model, source, device, rules=rules, group=group, emit=emit)
    assessor: Assessor
    if evaluator is None:
        local_evaluator = Evaluator(spec, workload, group, shadow=job.shadow_evaluation)
        assessor = LocalAssessor(
            spec,
            local_evaluator,
            Path(job.evaluation_folder),
            group,
            checkpoints=Path(job.folder),
            keep_weights=job.keep_weights,
        )
    else:
        assessor = RemoteAssessor(evaluator, model)
    snapshots = Snapshots(model)
    task = build_task(spec, workload, model, source.pool, device, snapshots)
    build_seconds = perf_counter() - build_began
    rng.seed_everything(spec.seeds.submission)
    state = RunState(
        spec=spec,
        model=model,
        work=work,
        task=task,
        snapshots=snapshots,
        clock=build_clock(device, emit),
        group=group,
        usage=Usage(
            parameters=sum(p.numel() for p in model.parameters()),
            import_seconds=import_seconds,
            build_seconds=build_seconds,
        ),
    )
    run = TrainingRun(
        state=state,
        folder=Path(job.folder),
        workload=workload,
        rules=rules,
        environment=environment(spec, device, job.git),
        assessor=assessor,
        emit=emit,
        grad_norm=job.grad_norm,
        checkpoint_share=job.checkpoint_share,
    )
    return run, lambda: construct(model, task, dict(spec.hparams))


def import_optimizer_early() -> None:
    """Use an optimizer once. Torch then imports the modules for optimizers (about 0.7 s) now, before the clock runs."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _prepare_compiler(job: Job, emit: Emit, group: ProcessGroup) -> None:
    """If the loss is compiled, fill the trial's compiler cache once for all ranks, before the clock starts."""
    if not compile_cache.uses_compiler(job.spec):
        if job.spec.workload.facts.precision.compile:
            emit(Warned(message="the loss is not compiled: no C++ compiler was found (install g++, or set CXX)"))
        return
    emit(PhaseBegan(phase="compile"))
    if group.first and (failure := compile_cache.fill_compile_cache(job)):
        emit(Warned(message=f"{failure}; the worker compiles the loss itself (see worker.log)"))
    group.broadcast(b"")  # the other ranks wait until the cache is filled
    compile_cache.redirect_compile_cache(job)


def _import_submission(spec: RunSpec, rules: RuleChecker) -> tuple[Callable[..., Submission], float]:
    """Return the function that constructs the submission, and the CPU seconds of the import."""
    rules.before_import()
    began = process_time()
    construct = load_submission(spec.submission)
    seconds = process_time() - began
    rules.after_import(seconds)
    return construct, seconds


def build_source(spec: RunSpec, data: Pool | Stream, device: torch.device) -> BatchSource:
    """Return the source from which the run draws its training examples."""
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

    Passes are computed over whole batches if the run has one rank, on a CPU, and the workload sets no `micro_batch`.
    Otherwise the passes are computed over micro-batches.
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
    """Return a run's clock. Its starts and stops, and the phases of the run, are emitted as events."""
    return Clock(
        synchronizer(device),
        lambda running, seconds, process_seconds, phase: emit(
            ClockChanged(running=running, seconds=seconds, process_seconds=process_seconds, phase=phase)
        ),
        lambda phase: emit(PhaseBegan(phase=phase)),
    )


def _load_checkpoint(job: Job, emit: Emit, group: ProcessGroup) -> dict[str, object] | None:
    """Return the content of the newest undamaged checkpoint on every rank; None if there is no such checkpoint.

    Rank 0 reads first and renames damaged files, so that all ranks read the same file afterwards.
    """
    state = None
    if group.first:
        state, warnings = checkpoint.load(Path(job.folder), run_id(job.spec))
        for warning in warnings:
            emit(Warned(message=warning))
    exists = group.broadcast(b"" if state is None else b"exists")
    if exists and not group.first:
        state, _ = checkpoint.load(Path(job.folder), run_id(job.spec))
    return state
