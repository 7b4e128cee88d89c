"""The record of a trial: its outcome, its evaluations, and the machine and software it ran on."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.run import Counters, Point, RunSpec

SCHEMA_VERSION = 1
Status = Literal[
    "reached", "exhausted", "diverged", "timeout", "out-of-memory", "crashed", "rejected", "pruned", "interrupted"
]


def is_finished(status: Status) -> bool:
    """Whether the trial has ended; an interrupted one continues when its command is run again."""
    return status != "interrupted"


def is_complete(status: Status) -> bool:
    """Whether the run came to its target or to the end of its budget of examples."""
    return status in ("reached", "exhausted")


def is_success(status: Status) -> bool:
    """Whether nothing failed: the run is complete, or was ended early because it was hopeless (`--prune`)."""
    return is_complete(status) or status == "pruned"


def is_broken(status: Status) -> bool:
    """Whether training broke down before the end of the budget; its last metric says nothing about the budget."""
    return status in ("diverged", "out-of-memory", "crashed")


def is_retryable(status: Status) -> bool:
    """Whether `--retry-failed` starts the trial anew; a run that diverged would diverge again."""
    return status in ("crashed", "rejected", "out-of-memory", "timeout")


class Device(Data, frozen=True, kw_only=True):
    """The properties of a GPU that do not change; None where the driver does not report one.

    Args:
        name: the model, as the driver names it.
        memory_mib: total memory in MiB.
        driver: the driver's version.
        power_limit_w: the power limit in watts.
        max_sm_mhz, max_memory_mhz: the maximal clocks of its multiprocessors and of its memory, in MHz.
        partitioned: whether it is partitioned (MIG), so that a run may have a part of it.
    """

    name: str
    memory_mib: int = 0
    driver: str = ""
    power_limit_w: float | None = None
    max_sm_mhz: int | None = None
    max_memory_mhz: int | None = None
    partitioned: bool = False


class GpuSample(Data, frozen=True, kw_only=True):
    """A GPU's state at one moment.

    Args:
        device: its index in the driver's order.
        seconds: the reading of the run's clock, which was stopped.
        sm_mhz, memory_mhz, power_w, temperature_c: in MHz, watts and °C; None where the driver does not report one.
        slowed: the reasons why its clocks were below their maximum.
    """

    device: int
    seconds: float = 0.0
    sm_mhz: int
    memory_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    slowed: tuple[str, ...] = ()


class DeviceLog(Data, frozen=True, kw_only=True):
    """The GPUs of a run, and samples of their state from the moments at which its clock was stopped.

    Args:
        by: the interface to the driver.
        devices: one per rank.
        readings: the samples in order of time.
    """

    by: str
    devices: tuple[Device, ...]
    readings: tuple[GpuSample, ...] = ()


class Environment(Data, frozen=True, kw_only=True):
    """The machine and the software of the worker."""

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
    """The resources of a run: memory and states in bytes, the number of parameters, seconds spent off the clock."""

    peak_memory_bytes: int = 0
    optimizer_state_bytes: int = 0
    parameters: int = 0
    import_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0


class Record(Data, frozen=True, kw_only=True):
    """The outcome of one trial. Every trial ends as a record, whatever happens to it.

    Args:
        run_id: hash of the spec, the submission's source, hardware and threads.
        status: how it ended.
        reason: why, in one sentence.
        points: every evaluation, in order.
        hit: index into `points` of the first evaluation that met the target (on a stream: that ended the
            last stage with all floors held); None for a miss.
        stage_hits: for a stream, the index of the evaluation that ended each stage.
        counters: totals at the end.
        final_weights, crossing_weights: SHA-256 of the evaluated weights at the end and at the hit.
        profile: seconds by phase; empty unless `spec.profile`.
        deaths: how often in a row the worker was killed without progress.
        devices: the GPUs it ran on, with samples of their state; None on a CPU, and in records of earlier versions.
        started, finished: UTC, ISO 8601.
        content_hash: SHA-256 of everything else; detects accidents, not forgery.
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
    started: str = ""
    finished: str = ""
    content_hash: str = ""


class TrialSummary(Data, frozen=True, kw_only=True):
    """The state of a trial after a command, for summaries; small, since a plan may have ten thousand trials.

    Args:
        run_id, spec: the trial.
        status, reason: those of its record.
        kept: whether it had ended before, so that nothing was run.
        path: its folder.
    """

    run_id: str
    spec: RunSpec
    status: Status
    reason: str = ""
    kept: bool = False
    path: str = ""
