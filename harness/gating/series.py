"""A series: many candidates gated one after another, with the false discovery rate of what is kept under control.

Each candidate has a level and a block of seeds of its own. One whose gate stopped undecided is gated on when it comes
again; when another comes in its place it counts as tested and not kept. A kept candidate's file is copied, since the
next candidate usually overwrites it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.contract.base import Data
from harness.contract.run import SubmissionRef
from harness.errors import StoreError, UsageError
from harness.gating.gate import MOST_PAIRS
from harness.scoring.sequential.series import SeriesState, record_candidate, series_level
from harness.scoring.sequential.verdict import ALPHA
from harness.system.files import write_atomically, write_error

#: Pairs that a candidate may have: its seeds are those numbers after its own number times this.
BLOCK = MOST_PAIRS
FOLDER = Path(".bench-series")


class SeriesSide(Data, frozen=True, kw_only=True):
    """A submission of a series.

    Args:
        asked: as the user named it.
        source: hash of all that decides what it does, its place on the disk left out.
        copy: a copy of its file, relative to the folder of the series' state; empty for an installed one.
    """

    asked: str
    source: str
    copy: str = ""


class SeriesCandidate(Data, frozen=True, kw_only=True):
    """A candidate and how its gate ended.

    Args:
        a, b: what was gated against what.
        workloads: their ids with the gate budgets, `name@version:examples`.
        names: the workloads as the user named them.
        budget: the gate budget that the user asked for, or None.
        level: the error of its gate.
        outcome: the verdict; `undecided` while it can be gated on, `abandoned` when another came in its place.
    """

    a: SeriesSide
    b: SeriesSide
    workloads: tuple[str, ...]
    names: tuple[str, ...]
    budget: int | None = None
    level: float
    outcome: str = "undecided"

    @property
    def kept(self) -> bool:
        return self.outcome == "better"

    @property
    def open(self) -> bool:
        return self.outcome == "undecided"


class SeriesLog(Data, frozen=True, kw_only=True):
    """The state file of a series.

    Args:
        alpha: bound of the false discovery rate.
        seed: root of all seeds.
        min_effect: log ratio from which an effect counts.
        candidates: in the order in which they came; the first one's `b` is the original.
    """

    schema: int = 1
    alpha: float = ALPHA
    seed: int = 0
    min_effect: float
    candidates: tuple[SeriesCandidate, ...] = ()

    def state(self) -> SeriesState:
        """What e-LOND remembers: every candidate that is over."""
        state = SeriesState(alpha=self.alpha)
        for candidate in self.candidates:
            if not candidate.open:
                state = record_candidate(state, kept=candidate.kept)
        return state


@dataclass(frozen=True, kw_only=True)
class SeriesTurn:
    """A candidate's turn: what `bench gate --series` runs.

    Args:
        number: of the candidate, from 1.
        candidate: it.
    """

    number: int
    candidate: SeriesCandidate

    @property
    def first_study(self) -> int:
        """The first of its seeds; those before `BLOCK` are for gates outside a series."""
        return self.number * BLOCK


@dataclass(frozen=True, kw_only=True)
class SeriesWorkloads:
    """What a candidate is gated on.

    Args:
        ids: `name@version:examples` of each workload.
        names: the workloads as the user named them.
        budget: the gate budget that the user asked for, or None.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    budget: int | None


#: A submission as the user named it, and as it was planned.
NamedSubmission = tuple[str, SubmissionRef]


class SeriesFile:
    """The state file of a series and the copies beside it.

    Args:
        path: the state file; copies lie in a folder of the same name without suffix.
        name: what the series is called.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the series against another process.

        Raises:
            StoreError: another gate of this series is running, or the folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise write_error(self.path, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise StoreError(
                f"another gate of the series {self.name} is running", fix="gate one candidate at a time"
            ) from None
        finally:
            os.close(descriptor)

    def read(self) -> SeriesLog | None:
        """What it holds; None where it has not begun.

        Raises:
            StoreError: the file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=SeriesLog)
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(
                f"the series file {self.path} is damaged: {error}", fix="restore it, or start a series of another name"
            ) from None

    def write(self, log: SeriesLog) -> None:
        payload = msgspec.json.format(msgspec.json.encode(log, order="deterministic"), indent=1)
        write_atomically(self.path, payload + b"\n")

    def snapshot(self, asked: str, ref: SubmissionRef) -> SeriesSide:
        """A side with a copy of its file, if it is one."""
        source = hash_source(ref)
        file, _, _ = (ref.load or "").rpartition(":")
        if not file.endswith(".py"):
            return SeriesSide(asked=asked, source=source)
        copy = Path(self.path.stem) / source[:12] / Path(file).name
        target = self.path.parent / copy
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        return SeriesSide(asked=asked, source=source, copy=copy.as_posix())

    def spelling(self, side: SeriesSide) -> str:
        """What to resolve for a side: its copy, or the name of an installed one."""
        if not side.copy:
            return side.asked
        # `./mine.py:Name` names one of several submissions in the file.
        _, colon, name = side.asked.rpartition(":")
        return f"{self.path.parent / side.copy}{':' + name if colon and not name.endswith('.py') else ''}"

    def begin(
        self, log: SeriesLog, a: NamedSubmission, b: NamedSubmission, workloads: SeriesWorkloads
    ) -> tuple[SeriesLog, SeriesTurn]:
        """The turn of a candidate: the one that it had before, or the next.

        Args:
            log: the series so far.
            a, b: the candidate and what it is compared with, as named and as planned.
            workloads: what it is gated on.

        Returns:
            the series with this candidate open, written to the file; and its turn.

        Raises:
            UsageError: the candidate's turn was given up.
        """
        key = hash_source(a[1]), hash_source(b[1]), workloads.ids
        for number, candidate in enumerate(log.candidates, start=1):
            if (candidate.a.source, candidate.b.source, candidate.workloads) == key:
                if candidate.outcome != "abandoned":
                    return log, SeriesTurn(number=number, candidate=candidate)
                raise UsageError(
                    f"{a[0]} is candidate {number} of {self.name}, which was given up undecided",
                    fix="a candidate has one turn in a series: edit it, or begin a series of another name",
                )
        closed = tuple(
            msgspec.structs.replace(candidate, outcome="abandoned") if candidate.open else candidate
            for candidate in log.candidates
        )
        log = msgspec.structs.replace(log, candidates=closed)
        candidate = SeriesCandidate(
            a=self.snapshot(*a),
            b=self.snapshot(*b),
            workloads=workloads.ids,
            names=workloads.names,
            budget=workloads.budget,
            level=series_level(log.state()),
        )
        log = msgspec.structs.replace(log, candidates=(*closed, candidate))
        self.write(log)
        return log, SeriesTurn(number=len(log.candidates), candidate=candidate)

    def end(self, log: SeriesLog, turn: SeriesTurn, outcome: str) -> SeriesLog:
        """The series after a candidate's gate, written to the file."""
        candidates = list(log.candidates)
        candidates[turn.number - 1] = msgspec.structs.replace(turn.candidate, outcome=outcome)
        log = msgspec.structs.replace(log, candidates=tuple(candidates))
        self.write(log)
        return log


def hash_source(ref: SubmissionRef) -> str:
    """SHA-256 of a submission's source, parts and options, wherever its file lies."""
    name = (ref.load or "").rpartition(":")[2]
    plain = [ref.source_hash, name, [f"{part.kind}:{part.name}" for part in ref.parts], ref.model_options]
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()
