"""The state of a running trial, the resources that are reserved for it, and the signal that stops it."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from harness.contract.events import (
    AnyEvent,
    ClockChanged,
    Confined,
    DevicesSampled,
    Done,
    Evaluated,
    EvaluatorFailed,
    Judged,
    PhaseBegan,
    Ready,
    Restored,
    Warned,
)
from harness.contract.forking import Role
from harness.contract.judging import JudgeAnswer, Judgement, Trust
from harness.contract.record import (
    DeviceLog,
    Ender,
    Record,
    Session,
    is_complete,
    is_retryable,
    is_success,
    shorten_reason,
)
from harness.contract.run import Counters, Point, RunSpec
from harness.contract.sandbox import NO_SANDBOX, weaker_sandbox
from harness.contract.watcher import Watcher
from harness.errors import BenchError
from harness.execution.account import Account
from harness.execution.sessions import append_session
from harness.hardware.telemetry import merge_logs

#: A trial counts as crashed when one of its processes has died this many times in a row without progress.
DEATHS_UNTIL_CRASH = 3


class Interrupted(BenchError):
    """The user stopped the command. If the command is run again, interrupted trials resume from their checkpoints."""

    exit_code = 130


class StopSignal:
    """A signal that ends all running trials. A record of each trial is still written. Any thread may set the signal."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Set the signal, which ends all running trials."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether the signal was set."""
        return self._event.is_set()


@dataclass(frozen=True)
class ResourceSlot:
    """Cores and GPUs that are reserved for a trial.

    Args:
        cores: indices of the processor cores to which the worker is pinned; if empty, the worker is not pinned.
        gpus: the names in `CUDA_VISIBLE_DEVICES` and `HIP_VISIBLE_DEVICES`; if empty, the variables are unchanged.
    """

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


@dataclass
class Trial:
    """The state of a run, updated from its events. `record()` may be called at any moment.

    Args:
        spec: the trial.
        run_id: the trial's run_id.
        watcher: object that is notified of every event.
        deaths: number of times in a row that the worker or the evaluator was killed without progress.
        furthest: largest number of updates at any evaluation so far. A run that resumes from an earlier checkpoint is
            behind this number at first.
        points: the evaluations so far.
        ready: the worker's event `Ready`; None until it arrives.
        end: how the run ended; None until the run has ended.
        killer: name of the signal that killed the worker or the evaluator; empty if neither was killed.
        killed_role: the role of the killed process, `worker` or `evaluator`.
        account: the scored time and the helpers of all workers of the trial.
        devices: samples of the GPUs.
        session: the session in which this process runs the trial; None if sessions are not recorded.
        sessions: the sessions of the run so far.
        sandbox: the sandbox with the fewest restrictions of all workers so far; empty if no worker has started.
        started: start of the run, UTC, ISO 8601.
        forked: whether a fork server forked the worker.
        evaluated_outside: whether an evaluator process evaluates the weights. Results that the worker reports are then
            ignored.
        evaluator_failed: whether the evaluator reported an error that ended it.
        decision: the evaluator's decision that the run is over; None until it arrives.
        judgements, trust: see `Record`.
        start_began: time at which the worker was started, by `time.monotonic`.
        start_seconds: wall seconds from the start of the worker to its event `Ready`.
        opening_seconds: the part of these seconds in which the worker opened or generated the data.
        is_sandbox_known: whether the current worker has reported its sandbox.
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
    killed_role: Role = "worker"
    account: Account = field(default_factory=lambda: Account(""))
    devices: DeviceLog | None = None
    session: Session | None = None
    sessions: tuple[Session, ...] = ()
    sandbox: str = ""
    started: str = field(default_factory=lambda: _utc_now())
    forked: bool = False
    evaluated_outside: bool = False
    evaluator_failed: bool = False
    decision: Judged | None = None
    judgements: tuple[Judgement, ...] = ()
    trust: Trust = "self-reported"
    start_began: float = field(default_factory=time.monotonic)
    start_seconds: float = 0.0
    opening_seconds: float = 0.0
    is_sandbox_known: bool = False

    @classmethod
    def continue_from(
        cls, earlier: Record | None, spec: RunSpec, run_id: str, watcher: Watcher, session: Session | None = None
    ) -> Trial:
        """Return the state of a trial at its start or restart.

        Args:
            earlier: the record of the interrupted or failed run that is continued; None if the run begins.
                Its start, sessions, sandbox, points, GPU samples and deaths are taken over. The points are replaced
                when the worker or the evaluator reports the points that it has restored.
            spec: the trial.
            run_id: the trial's run_id.
            watcher: object that is notified of every event.
            session: the session in which this process runs the trial; None if sessions are not recorded.
        """
        trial = cls(spec, run_id, watcher, session=session)
        if earlier is not None:
            trial.started = earlier.started or trial.started
            trial.sessions, trial.sandbox = earlier.sessions, earlier.sandbox
            trial.deaths, trial.points, trial.devices = earlier.deaths, list(earlier.points), earlier.devices
            trial.furthest = max((point.steps for point in earlier.points), default=0)
        return trial

    def receive(self, event: AnyEvent) -> None:
        """Update the state from an event and notify the watcher."""
        self.account.observe_in_supervisor(event)
        match event:
            case Confined():
                # Only the worker's first report counts. The submission is imported later, and could send a false
                # report.
                if not self.is_sandbox_known:
                    self._add_sandbox(event.sandbox)
                    self.opening_seconds = event.opening_seconds
            case Ready():
                if not self.is_sandbox_known:
                    self._add_sandbox(NO_SANDBOX)
                self.ready = event
                self.start_seconds = time.monotonic() - self.start_began
                if not self.evaluated_outside:
                    self.points = list(event.points)
                self.points = self.account.restore(self.points)
                if self.session is not None:
                    self.sessions = append_session(self.sessions, self.session, len(self.points))
                self.watcher.started(self.spec, tuple(self.points))
            case Restored():
                self.points = list(event.points)
            case Evaluated():
                point = self.account.charge(event.point, self.spec)
                self.points.append(point)
                # An evaluation that is repeated after a resume is not progress. Only new evaluations reset the count of
                # deaths.
                if point.steps > self.furthest:
                    self.deaths, self.furthest = 0, point.steps
                self.watcher.evaluated(self.spec, point)
            case ClockChanged() | PhaseBegan():
                pass  # the event reader has already passed this event to the meter
            case DevicesSampled():
                self.devices = merge_logs(self.devices, event.log)
            case Warned():
                self.watcher.warned(self.spec, event.message)
            case Judged():
                self.decision = event
            case EvaluatorFailed():
                self.evaluator_failed = True
                self.end = Done(status=event.status, reason=event.reason)
            case Done():
                end = self._confirm(event) if self.evaluated_outside else self._require_points(event)
                self.end = self._check(end)

    def _require_points(self, end: Done) -> Done:
        """Return the end of the run. The run is rejected if a hit refers to a point that the worker did not send."""
        hits = end.stage_hits if end.hit is None else (end.hit, *end.stage_hits)
        if all(0 <= index < len(self.points) for index in hits):
            return end
        reason = "the worker reported a hit without an evaluation (a submission must not change the training loop)"
        return msgspec.structs.replace(end, status="rejected", reason=reason, hit=None, stage_hits=())

    def _check(self, end: Done) -> Done:
        """Return the end of the run. If the supervisor's measurements exceed a limit, the end is changed."""
        meter = self.account.meter
        if meter is None or not is_complete(end.status):
            return end
        if reason := meter.find_violation():
            return msgspec.structs.replace(end, status="rejected", reason=reason, hit=None)
        if end.hit is not None and end.hit < len(self.points) and not self.spec.allows(self.points[end.hit]):
            reason = "the supervisor's clock shows that the budget of seconds was spent before the target was met"
            return msgspec.structs.replace(end, status="timeout", reason=reason, hit=None)
        return end

    def enter_start_phase(self) -> None:
        """Store the start time of a worker that is being started. Its sandbox is not known yet."""
        self.start_began = time.monotonic()
        self.is_sandbox_known = False

    def _add_sandbox(self, sandbox: str) -> None:
        """Store the sandbox of the current worker. If points of earlier workers are kept, store the weaker sandbox."""
        self.is_sandbox_known = True
        self.sandbox = weaker_sandbox(self.sandbox, sandbox) if self.points else sandbox

    def restart(self) -> None:
        """Forget the worker that has ended, before a new worker starts."""
        self.end, self.killer, self.ready, self.decision, self.evaluator_failed = None, "", None, None, False

    def _confirm(self, reported: Done) -> Done:
        """Return the end of the run with the evaluator's results instead of the worker's results."""
        unjudged = msgspec.structs.replace(
            reported, hit=None, stage_hits=(), final_weights="", crossing_weights="", screening=None
        )
        judged = self.decision
        if not (is_success(reported.status) or reported.status == "timeout"):
            # The worker failed. The evaluator's results count only if the evaluator decided the same status.
            return unjudged if judged is None or judged.status != reported.status else self._accept(judged, reported)
        if judged is None or judged.status != reported.status:
            decided = "that the run continues" if judged is None else f"the status {judged.status!r}"
            reason = f"the worker reported the status {reported.status!r}, but the evaluator decided {decided}"
            reason += " (a submission must not change the training loop)"
            return msgspec.structs.replace(unjudged, status="rejected", reason=reason)
        return self._accept(judged, reported)

    def _accept(self, judged: Judged, reported: Done) -> Done:
        """Store the evaluator's judgements, and return the reported end with the evaluator's results."""
        self.judgements, self.trust = judged.judgements, judged.trust
        return msgspec.structs.replace(
            reported,
            reason=judged.reason,
            hit=judged.hit,
            stage_hits=judged.stage_hits,
            final_weights=judged.final_weights,
            crossing_weights=judged.crossing_weights,
            screening=judged.screening,
        )

    def set_judgements(self, answer: JudgeAnswer, difference: str) -> None:
        """Store the metrics of the saved weights of a run that is over, or reject the run.

        Args:
            answer: the metrics from a process that never imported the submission.
            difference: how these metrics differ from the metrics that the worker reported; empty if they are equal.
        """
        for warning in answer.warnings:
            self.watcher.warned(self.spec, warning)
        if answer.error:
            text = f"the weights could not be judged, so the record stays self-reported: {answer.error}"
            self.watcher.warned(self.spec, text)
            return
        self.judgements = answer.judgements
        if difference:
            reason = f"the saved weights do not have the reported metrics: {difference}"
            self._reject(f"{reason} (evaluate with the workload's own code)")
        elif not answer.warnings:
            self.trust = "evaluated"

    def _reject(self, reason: str) -> None:
        assert self.end is not None
        self.end = msgspec.structs.replace(self.end, status="rejected", reason=reason, hit=None)

    def set_death(self, returncode: int, last_log_line: str, role: Role = "worker") -> None:
        """Set the end of a trial whose worker or evaluator exited without a last event.

        Args:
            returncode: exit code of the process, for example -9 if signal 9 killed it.
            last_log_line: last line of the worker's log, or an empty string.
            role: which process exited.
        """
        if returncode >= 0:
            self.end = Done(status="crashed", reason=last_log_line or f"the {role} exited with code {returncode}")
            return
        self.deaths += 1
        self.killed_role = role
        self.killer = name = signal.Signals(-returncode).name
        if self.deaths >= DEATHS_UNTIL_CRASH:
            self.end = Done(status="crashed", reason=f"killed by {name} {self.deaths} times in a row without progress")
        else:
            self.end = Done(
                status="interrupted", reason=f"the {role} was killed by {name}; run the command again to resume"
            )

    def end_worker(self, *, stopped: bool) -> None:
        """Record in the account that the worker has ended, and who ended it.

        Args:
            stopped: whether the user stopped the trial.
        """
        ender: Ender | None = None
        if stopped:
            ender = "user"
        elif self.end is None or self.end.status == "interrupted" or is_retryable(self.end.status):
            ender = "worker"  # the trial is unfinished
        reason = "" if self.end is None else self.end.reason
        self.account.end_worker(ender, self.killer or reason)

    def record(self) -> Record:
        """Return the record of the current state, with the status `interrupted` until the trial has ended."""
        end = self.end or Done(status="interrupted", reason="started but not finished; run the command again to resume")
        last = self.points[-1] if self.points else None
        counters, total = end.counters, self.account.total()
        if not counters.steps and last is not None:
            counters = Counters(
                examples=last.examples,
                gradient_examples=last.gradient_examples,
                steps=last.steps,
                seconds=last.seconds,
                process_seconds=last.process_seconds,
            )
        elif self.account.measured and self.spec.ranks == 1:
            counters = msgspec.structs.replace(counters, seconds=total.seconds, process_seconds=total.process_seconds)
        usage = end.usage if end.usage.parameters or self.ready is None else self.ready.usage
        usage = msgspec.structs.replace(
            usage,
            forked=self.forked,
            start_seconds=self.start_seconds,
            build_seconds=usage.build_seconds + self.opening_seconds,
        )
        return Record(
            run_id=self.run_id,
            spec=self.spec,
            status=end.status,
            reason=shorten_reason(end.reason),
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
            screening=end.screening,
            judgements=self.judgements,
            trust=self.trust,
            sessions=self.sessions,
            sandbox=self.sandbox,
            ledger=self.account.ledger(),
            started=self.started,
            finished=_utc_now() if self.end else "",
        )


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
