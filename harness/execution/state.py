"""The state of a running trial, the resources reserved for it, and the signal that stops it."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from harness.contract.events import AnyEvent, ClockChanged, DevicesSampled, Done, Evaluated, Ready, Warned
from harness.contract.record import DeviceLog, Record, is_complete
from harness.contract.run import Counters, Point, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import BenchError
from harness.hardware.telemetry import merge_logs

#: A worker killed this many times in a row without progress has crashed.
DEATHS_ALLOWED = 3


class Interrupted(BenchError):
    """The user stopped the command; running trials continue from their checkpoints when it is given again."""

    exit_code = 130


class StopSignal:
    """Asks running trials to end, each with a record; set once, from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask trials to end."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether trials were asked to end."""
        return self._event.is_set()


@dataclass(frozen=True)
class ResourceSlot:
    """Cores and GPUs that are reserved for a trial.

    Args:
        cores: processor cores that the worker is pinned to; not pinned when empty.
        gpus: value of `CUDA_VISIBLE_DEVICES`; unchanged when empty.
    """

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


class IndependentClock(Protocol):
    """A second measurement of the worker's clock."""

    def find_disagreement(self) -> str:
        """How the worker's clock differs beyond tolerance; empty while it does not."""
        ...


@dataclass
class Trial:
    """The state of a run as its events tell it; `record()` is valid at any moment.

    Args:
        deaths: how often in a row its worker was killed.
        furthest: most updates at any evaluation so far; a run that went back to a checkpoint has fewer now.
    """

    spec: RunSpec
    run_id: str
    watcher: Watcher
    deaths: int = 0
    furthest: int = 0
    points: list[Point] = field(default_factory=list)
    ready: Ready | None = None
    end: Done | None = None
    killer: str = ""
    second_clock: IndependentClock | None = None
    devices: DeviceLog | None = None
    started: str = field(default_factory=lambda: _utc_now())

    @classmethod
    def after(cls, earlier: Record | None, spec: RunSpec, run_id: str, watcher: Watcher) -> Trial:
        """A trial that starts from the state of its earlier record, until its worker reports where it resumes."""
        trial = cls(spec, run_id, watcher)
        if earlier is not None:
            trial.deaths, trial.points, trial.devices = earlier.deaths, list(earlier.points), earlier.devices
            trial.furthest = max((point.steps for point in earlier.points), default=0)
        return trial

    def receive(self, event: AnyEvent) -> None:
        """Update the state from an event and notify the watcher."""
        match event:
            case Ready():
                self.ready = event
                self.points = list(event.points)
                self.watcher.started(self.spec, event.points)
            case Evaluated():
                self.points.append(event.point)
                # Only beyond the furthest point: repeating one evaluation, killed after each, is not progress.
                if event.point.steps > self.furthest:
                    self.deaths, self.furthest = 0, event.point.steps
                self.watcher.evaluated(self.spec, event.point)
            case ClockChanged():
                pass  # timed by the reader when it arrives
            case DevicesSampled():
                self.devices = merge_logs(self.devices, event.log)
            case Warned():
                self.watcher.warned(self.spec, event.message)
            case Done():
                self.end = event
        if isinstance(event, Done) and self.second_clock is not None and is_complete(event.status):
            reason = self.second_clock.find_disagreement()
            if reason:
                self.end = msgspec.structs.replace(event, status="rejected", reason=reason, hit=None)

    def set_death(self, returncode: int, last_log_line: str) -> None:
        """Set the end of a worker that exited without a last event."""
        if returncode >= 0:
            self.end = Done(status="crashed", reason=last_log_line or f"the worker exited with code {returncode}")
            return
        self.deaths += 1
        self.killer = name = signal.Signals(-returncode).name
        if self.deaths >= DEATHS_ALLOWED:
            self.end = Done(status="crashed", reason=f"killed by {name} {self.deaths} times in a row without progress")
        else:
            self.end = Done(
                status="interrupted", reason=f"the worker was killed by {name}; give the command again to go on"
            )

    def record(self) -> Record:
        """The record as of now; `interrupted` until the trial has ended."""
        end = self.end or Done(status="interrupted", reason="started, not finished; give the command again to go on")
        last = self.points[-1] if self.points else None
        counters = end.counters
        if not counters.steps and last is not None:
            counters = Counters(
                examples=last.examples,
                gradient_examples=last.gradient_examples,
                steps=last.steps,
                seconds=last.seconds,
                process_seconds=last.process_seconds,
            )
        usage = end.usage if end.usage.parameters or self.ready is None else self.ready.usage
        return Record(
            run_id=self.run_id,
            spec=self.spec,
            status=end.status,
            reason=end.reason,
            points=tuple(self.points),
            hit=end.hit,
            stage_hits=end.stage_hits,
            counters=counters,
            usage=usage,
            environment=self.ready.environment if self.ready else None,
            final_weights=end.final_weights,
            crossing_weights=end.crossing_weights,
            profile=end.profile,
            deaths=self.deaths,
            devices=self.devices,
            started=self.started,
            finished=_utc_now() if self.end else "",
        )


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
