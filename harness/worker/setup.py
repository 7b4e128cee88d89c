"""From a job to its last event: builds workload, model and submission in the order the rules ask for."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.contract.events import AnyEvent, Done, Warned
from harness.contract.record import Usage
from harness.contract.run import Job, RunSpec
from harness.errors import BenchError, PluginError, RejectedError, StoreError
from harness.worker import checkpoint, compile_cache, rng, torch_errors
from harness.worker.data.pools import Pool
from harness.worker.data.streams import Stream
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.distributed.ranks import LOST_CONTACT, RankProcesses, is_peer_loss, rank_device, set_default_device
from harness.worker.environment import environment
from harness.worker.loading import load_submission, load_workload
from harness.worker.loop import TrainingRun
from harness.worker.microbatch import MicrobatchedWork, micro_batch
from harness.worker.profiling import ProfiledMicrobatchedWork, ProfiledWork
from harness.worker.protocols import Parameter, Submission, Task, Workload
from harness.worker.rules import import_submission
from harness.worker.snapshot import Snapshots
from harness.worker.work import CountedWork

Emit = Callable[[AnyEvent], None]


def run_job(job: Job, emit: Emit, abort: Callable[[], None] | None = None) -> None:
    """Carry out a trial; whatever a plugin does, the last event is a `Done`, except on death by signal.

    Args:
        job: the trial.
        emit: receives events; only rank 0 has any.
        abort: ends this process, when another rank has died and this one does not come back from waiting for it.
    """
    if job.spec.ranks == 1:
        emit(run_job_to_event(job, emit, lambda: SINGLE_PROCESS)[0])
        return
    try:
        peers = RankProcesses(job, emit, abort)
    except BenchError as error:
        emit(Done(status="crashed", reason=str(error)))
        return
    with peers:
        end, _ = run_job_to_event(job, emit, peers.join_group)
        # Before the group is taken down, which may hang on a rank that is gone: whoever reads this ends us then.
        emit(peers.explain_end(end))


def run_job_to_event(job: Job, emit: Emit, join_group: Callable[[], ProcessGroup]) -> tuple[Done, bool]:
    """A trial's last event, and whether an error made it.

    Args:
        join: gives the ranks that share the run, when all of them are there.
    """
    try:
        return build(job, emit, join_group()).train(), False
    except RejectedError as error:
        end = Done(status="rejected", reason=str(error))
    except MemoryError as error:
        end = Done(status="out-of-memory", reason=str(error) or "this machine's memory is spent")
    except BenchError as error:
        status = "interrupted" if _is_disk_full(error) else "crashed"
        end = Done(status=status, reason=str(error))  # type: ignore[arg-type]
    except Exception as error:
        traceback.print_exc()
        if torch_errors.is_out_of_memory(error):
            end = Done(status="out-of-memory", reason=torch_errors.first_line(error))
        elif torch_errors.is_device_failure(error):
            end = Done(status="crashed", reason=f"the device failed: {torch_errors.first_line(error)}")
        elif job.spec.ranks > 1 and is_peer_loss(error):
            end = Done(status="crashed", reason=f"{LOST_CONTACT}: {torch_errors.first_line(error)}")
        else:
            end = Done(
                status="crashed",
                reason=f"{type(error).__name__}: {torch_errors.first_line(error)}{_describe_location(error)}",
            )
    return end, True


def build(job: Job, emit: Emit, group: ProcessGroup = SINGLE_PROCESS) -> TrainingRun:
    """Everything up to the first step, in the order the rules ask for; resumed from the job's checkpoint, if any."""
    run, build_submission = build_run(job, emit, group)
    if run.work.needs_warm_up:
        run.work.warm_up_step()
    state = _checkpoint(job, emit, group) if job.resume else None
    run.start(build_submission, state)
    return run


def build_run(
    job: Job,
    emit: Emit,
    group: ProcessGroup = SINGLE_PROCESS,
    change: Callable[[Pool | Stream], Pool | Stream] | None = None,
) -> tuple[TrainingRun, Callable[[], Submission]]:
    """A run without its submission, and what builds that.

    Args:
        change: what is put in place of the training data, in a compile warm-up, which needs none itself.
    """
    spec = job.spec
    torch.set_num_threads(spec.threads)
    import_optimizer_early()
    if change is None and compile_cache.uses_compiler(spec):
        _prepare_compiler(job, emit, group)
    elif change is None and spec.workload.facts.precision.compile:
        emit(Warned(message="no C++ compiler here (g++, or what CXX names): runs uncompiled, which is slower"))
    # Before the guard remembers it: the workload's choice, and no submission's.
    torch.set_float32_matmul_precision("high" if spec.workload.facts.precision.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = spec.workload.facts.precision.tf32
    if spec.deterministic:
        torch.use_deterministic_algorithms(True)
    # The submission first: its import is off the clock, and neither model nor data exist yet that it could touch.
    factory, import_seconds = import_submission(lambda: load_submission(spec.submission))
    workload = load_workload(spec)
    device = rank_device(group.rank, job)
    set_default_device(device)
    rng.seed_everything(spec.seeds.model)
    model = workload.build_model(spec.seeds.model, **spec.submission.model_options).to(device)
    data = workload.train_data(spec.seeds.data)
    if change is not None:
        data = change(data)
    work = _work(spec, workload, model, data, device, group, emit)
    snapshots = Snapshots(model)
    task = _task(spec, workload, model, work, device, snapshots)
    rng.seed_everything(spec.seeds.submission)
    usage = Usage(parameters=sum(p.numel() for p in model.parameters()), import_seconds=import_seconds)
    run = TrainingRun(
        spec=spec,
        folder=Path(job.folder),
        workload=workload,
        model=model,
        work=work,
        task=task,
        emit=emit,
        environment=environment(spec, device),
        usage=usage,
        snapshots=snapshots,
        group=group,
    )
    return run, lambda: factory(model, task, dict(spec.hparams))


def _prepare_compiler(job: Job, emit: Emit, group: ProcessGroup) -> None:
    """Fill this trial's compiler cache off the clock, once for all ranks."""
    if group.first and (failure := compile_cache.fill_compile_cache(job)):
        emit(Warned(message=f"{failure}; compiling is on the clock (see worker.log)"))
    group.broadcast(b"")
    compile_cache.redirect_compile_cache(job)


def _work(
    spec: RunSpec,
    workload: Workload,
    model: nn.Module,
    data: Pool | Stream,
    device: torch.device,
    group: ProcessGroup,
    emit: Emit,
) -> CountedWork:
    """The plain one wherever a pass is computed in one piece: it costs least."""
    if group.count == 1 and device.type == "cpu" and micro_batch(workload) is None:
        return (ProfiledWork if spec.profile else CountedWork)(spec, workload, model, data, device)
    work_class = ProfiledMicrobatchedWork if spec.profile else MicrobatchedWork
    return work_class(spec, workload, model, data, device, group, lambda text: emit(Warned(message=text)))


def _checkpoint(job: Job, emit: Emit, group: ProcessGroup) -> dict[str, Any] | None:
    """The newest whole checkpoint, the same on every rank; rank 0 looks first, since it puts damaged ones aside."""
    state = None
    if group.first:
        state, warnings = checkpoint.load(Path(job.folder))
        for warning in warnings:
            emit(Warned(message=warning))
    found = group.broadcast(b"" if state is None else b"found")
    if found and not group.first:
        state, _ = checkpoint.load(Path(job.folder))
    return state


def import_optimizer_early() -> None:
    """Have torch import now what it imports with the first optimizer (0.7 s): its start-up, not the submission's."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _task(
    spec: RunSpec,
    workload: Workload,
    model: nn.Module,
    work: CountedWork,
    device: torch.device,
    snapshots: Snapshots,
) -> Task:
    facts = spec.workload.facts
    kinds = workload.parameter_kinds(model)
    unnamed = [name for name, _ in model.named_parameters() if name not in kinds]
    if unnamed:
        raise PluginError(f"{facts.id} names no kind for the parameter(s) {', '.join(unnamed[:5])}")
    snapshots.rng.manual_seed(spec.seeds.submission)
    # The reference's envelope is of runs that know their horizon.
    hidden = "horizon" in spec.ruleset.hides and spec.purpose != "envelope"
    visible = bool(facts.stages) and facts.boundaries
    return Task(
        parameters=[Parameter(name, p, kinds[name]) for name, p in model.named_parameters() if p.requires_grad],
        horizon=None if hidden else facts.budget.horizon,
        horizon_is_cap=facts.access == "stream",
        batch_size=work.batch_size,
        tokens_per_example=facts.tokens_per_example,
        device=device,
        rng=snapshots.rng,
        scores=dict(work.pool.scores) if work.pool is not None else {},
        pool_size=len(work.pool) if work.pool is not None else None,
        task_index=0 if visible else None,
        task_horizon=facts.stages[0].max_examples if visible and not hidden else None,
        snapshot=snapshots.take,
        restore=snapshots.restore,
    )


def _describe_location(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _is_disk_full(error: BenchError) -> bool:
    """Nothing is wrong with a trial that could not be saved: it goes on from its checkpoint when there is room."""
    return isinstance(error, StoreError) and isinstance(error.__cause__, OSError)
