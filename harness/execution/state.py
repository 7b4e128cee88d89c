"""What is known of a trial while it goes, and what it has for itself."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from harness.contract.events import AnyEvent, ClockEdge, Done, Evaluated, Ready, Warned, Watched
from harness.contract.record import DeviceLog, Record
from harness.contract.run import Counters, Point, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import BenchError
from harness.hardware.telemetry import merge_logs

#: A worker killed this many times in a row without getting any further has crashed.
DEATHS_ALLOWED = 3


class Interrupted(BenchError):
    """The user stopped it; what was running continues from its checkpoint when the command is given again."""

    exit_code = 130


class StopSignal:
    """Asks trials to end, each with a record; pulled once, from any thread."""

    def __init__(self) -> None:
        self._pulled = threading.Event()

    def set(self) -> None:
        """Ask."""
        self._pulled.set()

    @property
    def is_set(self) -> bool:
        """Whether it was asked."""
        return self._pulled.is_set()


@dataclass(frozen=True)
class ResourceSlot:
    """What a trial has for itself.

    Args:
        cores: processor cores that the worker is pinned to; wherever the system puts it when empty.
        gpus: what `CUDA_VISIBLE_DEVICES` names; left as it is when empty.
    """

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


class IndependentClock(Protocol):
    """A second measurement of the worker's clock."""

    def disagreement(self) -> str:
        """Why the worker's clock is not to be believed, or an empty string."""
        ...


@dataclass
class Trial:
    """What is known of a run so far, from its events; always good for a record.

    Args:
        deaths: how often in a row its worker was killed.
        furthest: updates at the latest evaluation there has ever been, whatever it went back to since.
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
        """A trial of which, until its worker says where it goes on from, is known what was known before."""
        trial = cls(spec, run_id, watcher)
        if earlier is not None:
            trial.deaths, trial.points, trial.devices = earlier.deaths, list(earlier.points), earlier.devices
            trial.furthest = max((point.steps for point in earlier.points), default=0)
        return trial

    def receive(self, event: AnyEvent) -> None:
        """Take in an event."""
        match event:
            case Ready():
                self.ready = event
                self.points = list(event.points)
                self.watcher.started(self.spec, event.points)
            case Evaluated():
                self.points.append(event.point)
                # Further than ever: the same evaluation over and over, with a death after each, is no progress.
                if event.point.steps > self.furthest:
                    self.deaths, self.furthest = 0, event.point.steps
                self.watcher.evaluated(self.spec, event.point)
            case ClockEdge():
                pass  # stamped where it arrives, by the reader
            case Watched():
                self.devices = merge_logs(self.devices, event.log)
            case Warned():
                self.watcher.warned(self.spec, event.message)
            case Done():
                self.end = event
        if isinstance(event, Done) and self.second_clock is not None and event.status in ("reached", "exhausted"):
            reason = self.second_clock.disagreement()
            if reason:
                self.end = msgspec.structs.replace(event, status="rejected", reason=reason, hit=None)

    def died(self, returncode: int, last_words: str) -> None:
        """The worker ended without a last event."""
        if returncode >= 0:
            self.end = Done(status="crashed", reason=last_words or f"the worker exited with code {returncode}")
            return
        self.deaths += 1
        self.killer = name = signal.Signals(-returncode).name
        if self.deaths >= DEATHS_ALLOWED:
            self.end = Done(
                status="crashed", reason=f"killed by {name} {self.deaths} times in a row without getting further"
            )
        else:
            self.end = Done(status="interrupted", reason=f"the worker was killed by {name}; run it again to go on")

    def record(self) -> Record:
        """The record as of now; `interrupted` while there is no end."""
        end = self.end or Done(status="interrupted", reason="started, not finished; run it again to go on")
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
