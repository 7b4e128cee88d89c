"""The state file of a series: candidates that are gated one after another, at a controlled false discovery rate.

- Each candidate has its own error level (see `harness.scoring.sequential.series`) and its own range of seeds.
- If a gate stops without a verdict, the user can continue it by repeating the command with the same candidate. A new
  candidate in the command abandons the previous one, which then counts as tested and not kept.
- The file of each candidate is copied, because users often overwrite the file with the next candidate.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import SubmissionRef
from harness.errors import StoreError, UsageError
from harness.gating.gate import MOST_PAIRS
from harness.planning.plan import BestSettingsOf
from harness.plugins.locating import split_file_name
from harness.scoring.gate import GateAxis
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.sequential.series import SeriesState, record_candidate, series_level
from harness.scoring.sequential.verdict import ALPHA
from harness.system.files import read_struct, write_atomically, write_error
from harness.system.locks import LockHeldError, take_lock

#: Number of seeds that are reserved for each candidate. The seeds of candidate k (k = 1, 2, …) begin at
#: k · `SEEDS_PER_CANDIDATE`.
SEEDS_PER_CANDIDATE = MOST_PAIRS
#: Default folder of the state files.
FOLDER = Path(".bench-series")


class SeriesSide(Data, frozen=True, kw_only=True):
    """A submission of a series.

    Args:
        asked: name or path as given by the user.
        source: hash of the submission's code, parts and model options (see `hash_source`).
        copy: path of the copy of the submission's file, relative to the folder of the state file. Empty for an
            installed submission.
        hparams: values of hyperparameters by the name of the workload, if they are not the defaults (`--best`).
    """

    asked: str
    source: str
    copy: str = ""
    hparams: dict[str, HParams] = msgspec.field(default_factory=dict)


class SeriesCandidate(Data, frozen=True, kw_only=True):
    """A candidate and the outcome of its gate.

    Args:
        a: the candidate.
        b: the submission with which the candidate is compared.
        workloads: ids of the workloads with their gate budgets, `name@version:examples`.
        names: workloads as named by the user; empty for the default workloads.
        budget: gate budget in examples as given by the user; None for the default.
        level: error level of the candidate's gate.
        envelopes: workload -> hash of its envelope (see `hash_envelopes`); empty if the gate compares metrics without
            envelopes. None in files from before this field existed.
        outcome: outcome of the gate. `undecided` while the gate can be continued; `abandoned` if the series went on to
            another candidate before the gate had a verdict.
    """

    a: SeriesSide
    b: SeriesSide
    workloads: tuple[str, ...]
    names: tuple[str, ...]
    budget: int | None = None
    level: float
    envelopes: dict[str, str] | None = None
    outcome: str = "undecided"

    @property
    def kept(self) -> bool:
        """Whether the candidate was found better and is kept."""
        return self.outcome == "better"

    @property
    def open(self) -> bool:
        """Whether the candidate's gate has no verdict yet and can be continued."""
        return self.outcome == "undecided"


class SeriesLog(Data, frozen=True, kw_only=True):
    """The content of a series' state file.

    Args:
        schema: version of the file format.
        alpha: bound of the false discovery rate.
        seed: root seed, from which all seeds are derived.
        min_effect: smallest effect that is relevant, as a log ratio.
        by: quantity that the gates of the series compare (see `GateLimits`).
        candidates: candidates in the order in which they were gated. The submission B of the first candidate is called
            the original. The confirmation compares the kept candidates with it.
    """

    schema: int = 1
    alpha: float = ALPHA
    seed: int = 0
    min_effect: float
    by: GateAxis = "examples"
    candidates: tuple[SeriesCandidate, ...] = ()

    def state(self) -> SeriesState:
        """Return the state of the e-LOND procedure, which counts all candidates whose gates have ended."""
        state = SeriesState(alpha=self.alpha)
        for candidate in self.candidates:
            if not candidate.open:
                state = record_candidate(state, kept=candidate.kept)
        return state


@dataclass(frozen=True, kw_only=True)
class SeriesPosition:
    """The candidate that `bench gate --series` runs, and its position in the series.

    Args:
        number: number of the candidate in the series, from 1.
        candidate: the candidate.
    """

    number: int
    candidate: SeriesCandidate

    @property
    def first_study(self) -> int:
        """Number of the candidate's first seed. Numbers below `SEEDS_PER_CANDIDATE` are for gates outside a series."""
        return self.number * SEEDS_PER_CANDIDATE


@dataclass(frozen=True, kw_only=True)
class SeriesWorkloads:
    """The workloads on which a candidate is gated.

    Args:
        ids: ids of the workloads with their gate budgets, `name@version:examples`.
        names: workloads as named by the user; empty for the default workloads.
        budget: gate budget in examples as given by the user; None for the default.
        envelopes: see `SeriesCandidate`.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    budget: int | None
    envelopes: dict[str, str]


#: The name or path of a submission as given by the user, its `SubmissionRef` in the planned runs, and the values of its
#: hyperparameters (see `SeriesSide`).
NamedSubmission = tuple[str, SubmissionRef, dict[str, HParams]]


class SeriesFile:
    """The state file of a series, and the copies of its submissions.

    Args:
        path: path of the state file. The copies are in the folder of the same name without the suffix. If the name has
            no suffix, `.copies` is added to the name of the folder.
        name: name of the series.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the series, so that no other process can change it.

        Raises:
            StoreError: another gate of this series is running, or the folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = take_lock(self.path.with_name(f"{self.path.name}.lock"))
        except LockHeldError:
            raise StoreError(
                f"another gate of the series {self.name} is running",
                fix="wait until it has ended: a series gates one candidate at a time",
            ) from None
        except OSError as error:
            raise write_error(self.path, error) from None
        try:
            yield
        finally:
            os.close(descriptor)

    def read(self) -> SeriesLog | None:
        """Return the content of the file; None if the file does not exist.

        Raises:
            StoreError: the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            return read_struct(self.path, SeriesLog)
        except StoreError as error:
            fix = "restore the file, or begin a series with another name"
            raise StoreError(f"the series file {error.what}", fix=fix) from None

    def write(self, log: SeriesLog) -> None:
        """Replace the file atomically."""
        payload = msgspec.json.format(msgspec.json.encode(log, order="deterministic"), indent=1)
        write_atomically(self.path, payload + b"\n")

    def store_submission(self, asked: str, ref: SubmissionRef, hparams: dict[str, HParams]) -> SeriesSide:
        """Return a submission as it is stored in the series. Copy its file unless the submission is installed.

        Args:
            asked: name or path as given by the user.
            ref: the submission in the planned runs.
            hparams: see `SeriesSide`.
        """
        source = hash_source(ref)
        file, _, _ = (ref.load or "").rpartition(":")
        if not file.endswith(".py"):
            return SeriesSide(asked=asked, source=source, hparams=hparams)
        # Without a suffix, the name of the state file is not free.
        folder = self.path.stem if self.path.suffix else f"{self.path.name}.copies"
        copy = Path(folder) / source[:12] / Path(file).name
        target = self.path.parent / copy
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        return SeriesSide(asked=asked, source=source, copy=copy.as_posix(), hparams=hparams)

    def spelling(self, side: SeriesSide) -> str:
        """Return the text with which a stored submission is looked up: the path of its copy, or its installed name."""
        if not side.copy:
            return side.asked
        # In `./mine.py:Name`, the name selects one of several submissions of the file.
        file = split_file_name(side.asked)
        return f"{self.path.parent / side.copy}{f':{file.name}' if file is not None and file.name else ''}"

    def begin(
        self, log: SeriesLog, a: NamedSubmission, b: NamedSubmission, workloads: SeriesWorkloads
    ) -> tuple[SeriesLog, SeriesPosition]:
        """Find a candidate in the series, or add it and write the file.

        If the candidate is new, the open candidate becomes `abandoned`.

        Args:
            log: content of the series so far.
            a: the candidate.
            b: the submission with which the candidate is compared.
            workloads: workloads on which the candidate is gated.

        Returns:
            The content of the series with this candidate, and the candidate with its number.

        Raises:
            UsageError: the candidate was abandoned, or its gate began with other envelopes.
        """
        (asked, candidate_ref, candidate_hparams), (_, compared_ref, compared_hparams) = a, b
        sources, hparams = (
            (hash_source(candidate_ref), hash_source(compared_ref)),
            (candidate_hparams, compared_hparams),
        )
        for number, candidate in enumerate(log.candidates, start=1):
            known = (candidate.a.source, candidate.b.source), (candidate.a.hparams, candidate.b.hparams)
            if (*known, candidate.workloads) == (sources, hparams, workloads.ids):
                if candidate.outcome != "abandoned":
                    check_same_envelopes(self.name, number, candidate, workloads.envelopes)
                    return log, SeriesPosition(number=number, candidate=candidate)
                raise UsageError(
                    f"{asked} is candidate {number} of {self.name}; this candidate was abandoned without a verdict",
                    fix="edit the candidate, or begin a series with another name: a series tests a candidate only once",
                )
        closed = tuple(
            msgspec.structs.replace(candidate, outcome="abandoned") if candidate.open else candidate
            for candidate in log.candidates
        )
        log = msgspec.structs.replace(log, candidates=closed)
        candidate = SeriesCandidate(
            a=self.store_submission(*a),
            b=self.store_submission(*b),
            workloads=workloads.ids,
            names=workloads.names,
            budget=workloads.budget,
            envelopes=workloads.envelopes,
            level=series_level(log.state()),
        )
        log = msgspec.structs.replace(log, candidates=(*closed, candidate))
        self.write(log)
        return log, SeriesPosition(number=len(log.candidates), candidate=candidate)

    def end(self, log: SeriesLog, position: SeriesPosition, outcome: str) -> SeriesLog:
        """Record the outcome of a candidate's gate, write the file, and return the new content of the series."""
        candidates = list(log.candidates)
        candidates[position.number - 1] = msgspec.structs.replace(position.candidate, outcome=outcome)
        log = msgspec.structs.replace(log, candidates=tuple(candidates))
        self.write(log)
        return log


def hash_source(ref: SubmissionRef) -> str:
    """Return the SHA-256 of a submission's code, parts and model options. It does not depend on the file's path."""
    name = (ref.load or "").rpartition(":")[2]
    content = [ref.code_identity, name, [f"{part.kind}:{part.name}" for part in ref.parts], ref.model_options]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def hash_envelopes(envelopes: Mapping[str, GateEnvelope]) -> dict[str, str]:
    """Return workload -> first digits of the SHA-256 of the horizons and values of its envelope."""
    curves = {name: [envelope.horizons, envelope.values] for name, envelope in envelopes.items()}
    return {name: hashlib.sha256(msgspec.json.encode(curve)).hexdigest()[:16] for name, curve in curves.items()}


def check_same_envelopes(series: str, number: int, candidate: SeriesCandidate, used: Mapping[str, str]) -> None:
    """Raise an error if a gate would compute its differences in another way than the gate of a candidate.

    Args:
        series: name of the series.
        number: number of the candidate.
        candidate: the candidate, with the envelopes of its gate.
        used: envelopes that the new gate would use.

    Raises:
        UsageError: the envelopes differ.
    """
    known, of_series = candidate.envelopes, f"candidate {number} of {series}"
    if known is None or known == used:
        return
    if not known:
        raise UsageError(f"{of_series} was gated without an envelope", fix="repeat the command with --no-envelope")
    if not used:
        raise UsageError(
            f"{of_series} was gated with envelopes", fix="leave out --no-envelope, and restore missing envelopes"
        )
    names = ", ".join(name for name in known if known[name] != used.get(name))
    raise UsageError(
        f"{of_series} was gated with another envelope of {names}",
        fix="restore the file of this envelope, or begin a series with another name",
    )


def check_same_series(file: SeriesFile, log: SeriesLog, new: SeriesLog) -> None:
    """Raise a UsageError if the options of this command (`new`) differ from those of the series (`log`)."""
    for option, previous, requested in (
        ("--alpha", log.alpha, new.alpha),
        ("--seed", log.seed, new.seed),
        ("--min-effect", log.min_effect, new.min_effect),
        ("--by", log.by, new.by),
    ):
        if previous != requested:
            raise UsageError(
                f"the series {file.name} was begun with another {option}",
                fix=f"give the {option} that the series was begun with, or begin a series with another name",
            )


def stored_settings(a: SubmissionEntry, candidate: SeriesCandidate, original: SeriesSide) -> BestSettingsOf:
    """Return a function that gives the hyperparameters with which a candidate and the original were gated.

    Args:
        a: entry of the candidate.
        candidate: the candidate.
        original: the submission with which the first candidate of the series was compared.
    """
    of_original = {**(candidate.b.hparams if candidate.b.source == original.source else {}), **original.hparams}

    def stored(entry: SubmissionEntry, workload: WorkloadEntry) -> HParams:
        return (candidate.a.hparams if entry is a else of_original).get(workload.name, {})

    return stored
