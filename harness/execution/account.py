"""The account of a trial: the scored time and the helpers of all its workers, as the supervisor measured them.

The account is a file beside the trial's record. Only the supervisor writes it. Among other things, it contains:

- the scored time at every evaluation, so that a resumed worker cannot set the clock back;
- who ended each worker: the user, the supervisor or the worker itself.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.contract.base import Data
from harness.contract.events import AnyEvent, ClockChanged, Done, PhaseBegan
from harness.contract.record import Ender, Ledger, Phase, Restart, Spent
from harness.contract.run import Point, RunSpec
from harness.errors import BenchError, StoreError
from harness.execution.meter import Charge, Meter
from harness.storage.layout import ACCOUNT
from harness.storage.run_folder import RunFolder
from harness.system.files import read_file, write_atomically

#: Shortest interval in seconds between two writes of the file while a worker runs.
_WRITE_INTERVAL_S = 1.0
#: Maximum number of helpers (processes and threads beside the worker) that a ledger names.
_MAX_NAMED_HELPERS = 5


class ChargedEvaluation(Data, frozen=True, kw_only=True):
    """The scored time of an evaluation.

    Args:
        examples: number of examples drawn, by which the evaluation is recognised in a checkpoint.
        at: the scored time when the evaluation began.
        after: the scored time when the submission had returned its state for the checkpoint.
    """

    examples: int
    at: Spent
    after: Spent


class AccountState(Data, frozen=True, kw_only=True):
    """The content of the account file.

    Args:
        run_id: the trial's run_id.
        evaluations: the evaluations so far.
        total: the scored time of the trial when the file was last written.
        began: the scored time when the last worker began, or went on from a checkpoint.
        phases, helper_seconds, helpers, restarts: as in `Ledger`.
        resumed: for each of the last restarts, the number of evaluations in the checkpoint from which its worker
            resumed; None if the worker has not reported this. Accounts of older versions have no such number.
        started: number of workers that were started.
        ended: who ended the last worker; None while it runs, and after the death of its supervisor.
        reason: why the last worker ended.
        evaluation_cost: processor seconds of the first evaluation; None before the first evaluation.
    """

    run_id: str
    evaluations: tuple[ChargedEvaluation, ...] = ()
    total: Spent = Spent()
    began: Spent = Spent()
    phases: dict[Phase, Spent] = msgspec.field(default_factory=dict)
    helper_seconds: float = 0.0
    helpers: dict[str, float] = msgspec.field(default_factory=dict)
    restarts: tuple[Restart, ...] = ()
    resumed: tuple[int | None, ...] = ()
    started: int = 0
    ended: Ender | None = None
    reason: str = ""
    evaluation_cost: float | None = None


class Account:
    """The account of one trial.

    Args:
        run_id: the trial's run_id.
        path: path of the account file; None to keep the account in memory only.
        attempts: number of runs of the trial, including the superseded ones.

    Attributes:
        meter: measures the current worker; None if there is no worker, or if the trial runs in this process.
        measured: whether the last worker had a meter.
    """

    def __init__(self, run_id: str, path: Path | None = None, attempts: int = 1) -> None:
        self._state = AccountState(run_id=run_id)
        self._path = path
        self._attempts = attempts
        self._written = 0.0
        #: The scored time before the current worker's part of the run.
        self._base = Spent()
        self._in_process = _InProcessTimes()
        self.meter: Meter | None = None
        self.measured = False

    @classmethod
    def open(cls, folder: RunFolder) -> Account:
        """Return the account in a trial's folder, which must be locked. An account of another trial is ignored."""
        account = cls(folder.identity, folder.path / ACCOUNT, 1 + folder.count_superseded())
        if (state := _read(folder.path / ACCOUNT)) is not None and state.run_id == folder.identity:
            account._state = state
        return account

    def begin_worker(self) -> None:
        """Record the start of a worker."""
        state = self._state
        # All earlier time counts until the worker reports from which checkpoint it resumes.
        self.meter, self._in_process, self._base = None, _InProcessTimes(), state.total
        if state.started:
            ender: Ender = state.ended or "supervisor"
            # `_add_lost_time` corrects `lost` as soon as the checkpoint is known. The time since the last evaluation is
            # the best estimate, and remains in the ledger if no worker resumes.
            saved = state.evaluations[-1].after if state.evaluations else Spent()
            lost = _difference(state.total, _largest(state.began, saved))
            # The time since the checkpoint is charged. If it were free, a submission could end its worker to get free
            # time. If the user ended the worker, the time is not charged.
            restart = Restart(by=ender, reason=state.reason, lost=lost, charged=ender != "user")
            restarts, resumed = (*state.restarts, restart), (*state.resumed, None)
            state = msgspec.structs.replace(state, restarts=restarts, resumed=resumed)
        self._state = msgspec.structs.replace(
            state, began=state.total, started=state.started + 1, ended=None, reason=""
        )
        self._write()

    def end_worker(self, ender: Ender | None, reason: str = "") -> None:
        """Record the end of the worker.

        Args:
            ender: who ended it; None if the trial is finished.
            reason: why it ended.
        """
        meter = self.meter
        self.measured = meter is not None
        phases, helpers, helper_seconds = dict(self._state.phases), dict(self._state.helpers), 0.0
        if meter is not None:
            helper_seconds = meter.helper_seconds
            for name, seconds in meter.helpers.items():
                helpers[name] = helpers.get(name, 0.0) + seconds
        for phase, spent in (self._in_process.phases if meter is None else meter.phases).items():
            phases[phase] = _add(phases.get(phase, Spent()), spent)
        self._state = msgspec.structs.replace(
            self._state,
            total=self.total(),
            phases=phases,
            helpers=helpers,
            helper_seconds=self._state.helper_seconds + helper_seconds,
            ended=ender,
            reason=reason,
        )
        self._base, self.meter, self._in_process = self._state.total, None, _InProcessTimes()
        if ender is not None:
            self._write()

    def total(self) -> Spent:
        """Return the scored time so far."""
        return self._base if self.meter is None else _add(self._base, self.meter.charged())

    def restore(self, restored: Sequence[Point]) -> list[Point]:
        """Return the evaluations before the checkpoint of a resumed worker, with their scored times from the account.

        Evaluations may be missing in the account, for example after the death of a supervisor. Their scored times are
        estimated from the times that the worker reported.
        """
        points: list[Point] = []
        known = self._state.evaluations
        # `base`: the scored time at the end of the previous evaluation.
        # `offset`: (scored time) - (reported time) at the last evaluation that is in the account.
        base, offset = Spent(), Spent()
        kept: list[ChargedEvaluation] = []
        for index, point in enumerate(restored):
            reported = Spent(seconds=point.seconds, process_seconds=point.process_seconds)
            if index < len(known) and known[index].examples == point.examples:
                evaluation = known[index]
                offset = _subtract(evaluation.at, reported)
            else:
                at = _largest(_add(reported, offset), base)
                evaluation = ChargedEvaluation(examples=point.examples, at=at, after=at)
            kept.append(evaluation)
            base = evaluation.after
            points.append(_with_time(point, evaluation.at))
        base = self._base = self._add_lost_time(base, len(restored))
        cost = self._state.evaluation_cost
        if self.meter is not None and cost is not None:
            self.meter.limits.evaluation_cost = cost
        self._state = msgspec.structs.replace(self._state, evaluations=tuple(kept), total=base, began=base)
        return points

    def _add_lost_time(self, saved: Spent, evaluations: int) -> Spent:
        """Set `lost` of the restarts whose workers have not resumed, and return the scored time of the resumed worker.

        Args:
            saved: the scored time at the checkpoint from which the worker resumes.
            evaluations: number of evaluations in the checkpoint.
        """
        restarts = list(self._state.restarts)
        unnumbered = len(restarts) - len(self._state.resumed)
        # The lost time of these restarts was spent after the checkpoint. Earlier lost time is part of `saved`.
        later = {
            unnumbered + index: number
            for index, number in enumerate(self._state.resumed)
            if number is None or number >= evaluations
        }
        pending = [index for index, number in later.items() if number is None]
        if pending:
            # The first of these restarts lost the time since the checkpoint. Every other one lost the time of a worker
            # that ended before it resumed. The total does not contain the time of earlier restarts by the user.
            known = (i for i in later if i != pending[0] and (i in pending or restarts[i].charged))
            others = functools.reduce(_add, (restarts[index].lost for index in known), saved)
            lost = _difference(self._base, others)
            restarts[pending[0]] = msgspec.structs.replace(restarts[pending[0]], lost=lost)
        resumed = tuple(
            evaluations if unnumbered + index in later else number for index, number in enumerate(self._state.resumed)
        )
        self._state = msgspec.structs.replace(self._state, restarts=tuple(restarts), resumed=resumed)
        return functools.reduce(_add, (restarts[index].lost for index in later if restarts[index].charged), saved)

    def charge(self, point: Point, spec: RunSpec) -> Point:
        """Return an evaluation with its scored time, and add the evaluation to the account."""
        reported = Spent(seconds=point.seconds, process_seconds=point.process_seconds)
        charge = Charge(at=reported, after=reported)
        meter = self.meter
        if meter is not None:
            now = meter.charged()
            measured = meter.charges.popleft() if meter.charges else Charge(at=now, after=now)
            charge = Charge(at=_add(self._base, measured.at), after=_add(self._base, measured.after))
            if spec.ranks > 1:  # the worker's report has the processor seconds of all ranks
                at = Spent(seconds=charge.at.seconds, process_seconds=point.process_seconds)
                charge = Charge(at=at, after=at)
        evaluation = ChargedEvaluation(examples=point.examples, at=charge.at, after=charge.after)
        cost = self._state.evaluation_cost
        if cost is None and meter is not None:
            cost = meter.limits.evaluation_cost
        self._state = msgspec.structs.replace(
            self._state,
            evaluations=(*self._state.evaluations, evaluation),
            total=charge.after,
            evaluation_cost=cost,
        )
        if time.monotonic() - self._written >= _WRITE_INTERVAL_S:
            self._write()
        return _with_time(point, charge.at)

    def observe_in_supervisor(self, event: AnyEvent) -> None:
        """If the trial runs in the supervisor's own process, measure its phases."""
        if self.meter is None:
            self._in_process.observe(event)

    def ledger(self) -> Ledger:
        """Return the ledger of all workers that have ended."""
        state = self._state
        busiest = sorted(state.helpers, key=lambda name: -state.helpers[name])[:_MAX_NAMED_HELPERS]
        return Ledger(
            phases=state.phases,
            helper_seconds=state.helper_seconds,
            helpers={name: state.helpers[name] for name in busiest},
            restarts=state.restarts,
            attempts=self._attempts,
        )

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._path is not None:
            # If the disk is full, the trial goes on. The error is reported when the record is written.
            with contextlib.suppress(StoreError):
                # If a power failure destroys the account, the times in the checkpoint are used instead.
                write_atomically(self._path, msgspec.json.encode(self._state), sync=False)


class _InProcessTimes:
    """The times of the phases of a trial that runs in this process."""

    def __init__(self) -> None:
        self._phase: Phase = "start"
        self._last = Spent(seconds=time.perf_counter(), process_seconds=time.process_time())
        self.phases: dict[Phase, Spent] = {}

    def observe(self, event: AnyEvent) -> None:
        if isinstance(event, (ClockChanged, PhaseBegan, Done)):
            now = Spent(seconds=time.perf_counter(), process_seconds=time.process_time())
            self.phases[self._phase] = _add(self.phases.get(self._phase, Spent()), _subtract(now, self._last))
            self._last = now
            if not isinstance(event, Done):
                self._phase = event.phase


def _read(path: Path) -> AccountState | None:
    """Return the content of the file; None if it is missing or damaged."""
    try:
        return msgspec.json.decode(read_file(path), type=AccountState)
    except (BenchError, OSError, msgspec.DecodeError):
        return None


def _with_time(point: Point, spent: Spent) -> Point:
    return msgspec.structs.replace(point, seconds=spent.seconds, process_seconds=spent.process_seconds)


def _add(a: Spent, b: Spent) -> Spent:
    return Spent(seconds=a.seconds + b.seconds, process_seconds=a.process_seconds + b.process_seconds)


def _subtract(a: Spent, b: Spent) -> Spent:
    return Spent(seconds=a.seconds - b.seconds, process_seconds=a.process_seconds - b.process_seconds)


def _difference(a: Spent, b: Spent) -> Spent:
    """Return `a - b`, but at least 0."""
    return _largest(_subtract(a, b), Spent())


def _largest(a: Spent, b: Spent) -> Spent:
    """Return the larger wall seconds and the larger processor seconds of two times."""
    return Spent(seconds=max(a.seconds, b.seconds), process_seconds=max(a.process_seconds, b.process_seconds))
