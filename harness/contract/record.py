"""The record of a trial: its outcome, its evaluations, its machine and its software."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.run import Counters, Point, RunSpec

SCHEMA_VERSION = 1
#: The final status of a trial. docs/rules.md defines each value.
Status = Literal[
    "reached", "exhausted", "diverged", "timeout", "out-of-memory", "crashed", "rejected", "pruned", "interrupted"
]


def is_finished(status: Status) -> bool:
    """Return whether the trial has ended. An interrupted trial has not ended: it resumes if its command is repeated."""
    return status != "interrupted"


def is_complete(status: Status) -> bool:
    """Return whether the run reached its target or used its budget of examples."""
    return status in ("reached", "exhausted")


def is_success(status: Status) -> bool:
    """Return whether the run ended without a failure: the run is complete, or `--prune` ended it early."""
    return is_complete(status) or status == "pruned"


def is_broken(status: Status) -> bool:
    """Return whether training failed before the end of the budget, so that the run has no final metric."""
    return status in ("diverged", "out-of-memory", "crashed")


def is_retryable(status: Status) -> bool:
    """Return whether `--retry-failed` starts the trial again. A diverged trial is excluded: it would diverge again."""
    return status in ("crashed", "rejected", "out-of-memory", "timeout")


class Device(Data, frozen=True, kw_only=True):
    """The constant properties of a GPU.

    Args:
        name: name of the GPU model, as the driver reports it.
        memory_mib: total memory in MiB; 0 if the driver does not report it.
        driver: version of the driver; empty if unknown.
        power_limit_w: power limit in watts; None if the driver does not report it.
        max_sm_mhz: maximum clock of the multiprocessors in MHz; None if the driver does not report it.
        max_memory_mhz: maximum clock of the memory in MHz; None if the driver does not report it.
        partitioned: whether the GPU is partitioned (MIG), so that a run may use only a part of the GPU.
    """

    name: str
    memory_mib: int = 0
    driver: str = ""
    power_limit_w: float | None = None
    max_sm_mhz: int | None = None
    max_memory_mhz: int | None = None
    partitioned: bool = False


class GpuSample(Data, frozen=True, kw_only=True):
    """The state of a GPU at one moment, while the run's clock was stopped.

    Args:
        device: index of the GPU in the driver's order.
        seconds: wall seconds on the run's clock.
        sm_mhz: clock of the multiprocessors in MHz.
        memory_mhz: clock of the memory in MHz; None if the driver does not report it.
        power_w: power draw in watts; None if the driver does not report it.
        temperature_c: temperature in °C; None if the driver does not report it.
        slowed: the reasons that the driver reports for clocks below their maximum; empty for none.
    """

    device: int
    seconds: float = 0.0
    sm_mhz: int
    memory_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    slowed: tuple[str, ...] = ()


class DeviceLog(Data, frozen=True, kw_only=True):
    """The GPUs of a run, and samples of their state while the clock was stopped.

    Args:
        by: name of the interface to the driver.
        devices: the GPUs, one per rank.
        readings: the samples in chronological order.
    """

    by: str
    devices: tuple[Device, ...]
    readings: tuple[GpuSample, ...] = ()


class Environment(Data, frozen=True, kw_only=True):
    """The machine and the software of the worker.

    Args:
        python: version of Python.
        torch: version of torch.
        platform: operating system and architecture.
        hardware_name: name of the processor.
        cpu_count: number of logical processors of the machine.
        threads: number of intra-op threads.
        device_name: name of the GPU; empty on a CPU.
        driver: version of the GPU's driver; empty on a CPU.
        cuda: version of CUDA; empty on a CPU.
        distributions: versions of the relevant Python distributions by name.
        git: commit of the working directory, followed by `+` if it has changes; empty outside a repository.
    """

    python: str
    torch: str
    platform: str
    hardware_name: str
    cpu_count: int
    threads: int
    device_name: str = ""
    driver: str = ""
    cuda: str = ""
    distributions: dict[str, str] = {}
    git: str = ""


class Usage(Data, frozen=True, kw_only=True):
    """The resources that a run used.

    Args:
        peak_memory_bytes: peak memory of a rank in bytes: GPU memory on a GPU, memory of the process elsewhere.
        optimizer_state_bytes: size of the tensors in the submission's state in bytes, without the model.
        parameters: number of the model's parameters.
        import_seconds: CPU seconds for importing the submission, off the clock.
        evaluation_seconds: wall seconds for evaluations, off the clock.
        checkpoint_seconds: wall seconds for writing checkpoints and weights, off the clock.
        start_seconds: wall seconds from the last start of the worker to its first event, off the clock except for the
            construction of the submission.
        build_seconds: the part of them in which the workload was imported and the model and the data were built.
        forked: whether the worker was forked from a process that had imported torch.
    """

    peak_memory_bytes: int = 0
    optimizer_state_bytes: int = 0
    parameters: int = 0
    import_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    start_seconds: float = 0.0
    build_seconds: float = 0.0
    forked: bool = False


class Screening(Data, frozen=True, kw_only=True):
    """The evaluations of a run on the score split, if some of them may be screened.

    Args:
        evaluations: number of evaluations.
        screened: number of evaluations that used a part of the split.
        examples: number of examples measured.
        whole_examples: number of examples that evaluations of the whole split would have measured.
        shadow: whether every screened evaluation was repeated on the whole split, which was stored.
        screened_seconds: wall seconds for the evaluations, without the repetitions.
        whole_seconds: wall seconds for the same evaluations on the whole split; only of a run with `shadow`.
        disagreements: for every evaluation at which the two decided differently, the decisions in words.
        disabled: why the run had no screened evaluations; empty if it could have them.
    """

    evaluations: int = 0
    screened: int = 0
    examples: int = 0
    whole_examples: int = 0
    shadow: bool = False
    screened_seconds: float = 0.0
    whole_seconds: float = 0.0
    disagreements: tuple[str, ...] = ()
    disabled: str = ""


class Session(Data, frozen=True, kw_only=True):
    """A part of a run that one invocation of a command measured on one machine.

    A run that was interrupted and resumed has several sessions.

    Args:
        invocation: random identifier of the invocation.
        machine: hash of the machine's name.
        first_point: index of the first point of the run in this session. The interval that ends at a point was measured
            in the session of the point.
    """

    invocation: str
    machine: str
    first_point: int = 0

    @property
    def id(self) -> str:
        """`machine/invocation`: the identity of the session among all records."""
        return f"{self.machine}/{self.invocation}"


class Record(Data, frozen=True, kw_only=True):
    """The outcome of one trial. Every trial that ends has a record, including trials that fail.

    Args:
        schema: version of the record format.
        run_id: hash of the spec, the submission's source, the hardware class and the number of threads.
        spec: the specification of the trial.
        status: how the trial ended.
        reason: why the trial ended, in one sentence.
        points: the evaluations in chronological order.
        hit: index into `points` of the first evaluation that met the target (on a stream: of the evaluation that
            ended the last stage with all floors met); None for a miss.
        stage_hits: on a stream, the index into `points` of the evaluation that ended each completed stage; empty on a
            pool.
        counters: the totals at the end.
        usage: the resources used.
        environment: the machine and the software of the worker; None if the worker did not start.
        final_weights: SHA-256 of the evaluated weights at the end; empty if they were not saved.
        crossing_weights: SHA-256 of the evaluated weights at the hit; empty for a miss.
        profile: seconds by phase of a step; empty unless `spec.profile` is True.
        deaths: number of times in a row that the worker was killed without progress.
        devices: the GPUs of the run with samples of their state; None on a CPU and if they were not recorded.
        screening: number and cost of the screened evaluations; None if all evaluations had to be whole or the run
            failed.
        sessions: the sessions in which the run was measured, in order; empty in records without sessions.
        started: time of the start, UTC in ISO 8601.
        finished: time of the end, UTC in ISO 8601.
        content_hash: SHA-256 of all other fields. It detects accidental changes, not forgery.
    """

    schema: int = SCHEMA_VERSION
    run_id: str
    spec: RunSpec
    status: Status
    reason: str = ""
    points: tuple[Point, ...] = ()
    hit: int | None = None
    stage_hits: tuple[int, ...] = ()
    counters: Counters = Counters()
    usage: Usage = Usage()
    environment: Environment | None = None
    final_weights: str = ""
    crossing_weights: str = ""
    profile: dict[str, float] = {}
    deaths: int = 0
    devices: DeviceLog | None = None
    screening: Screening | None = None
    sessions: tuple[Session, ...] = ()
    started: str = ""
    finished: str = ""
    content_hash: str = ""


class TrialSummary(Data, frozen=True, kw_only=True):
    """The outcome of one trial in short form. A summary needs less memory than a record, for plans with many trials.

    Args:
        run_id: identifier of the trial.
        spec: the specification of the trial.
        status: how the trial ended.
        reason: why the trial ended, in one sentence.
        kept: whether the trial ended in an earlier command and was not run again.
        path: path of the trial's folder.
    """

    run_id: str
    spec: RunSpec
    status: Status
    reason: str = ""
    kept: bool = False
    path: str = ""
