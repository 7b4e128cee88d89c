"""Find the records that belong together: all trials of one submission on one workload under one ruleset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.contract.domains import Scalar
from harness.contract.record import Record
from harness.contract.run import Purpose, RunSpec
from harness.errors import UsageError, unknown_name_error
from harness.planning.internal_rulesets import COST_RULESET
from harness.planning.stopping_rules import stopping_rule
from harness.storage.layout import RUN_ID_PREFIX, file_stem
from harness.storage.records import StoredRecord, decode_stored, iter_located, read_stored


class GroupKey(NamedTuple):
    """What the trials of a group have in common.

    Args:
        submission: `name@version`.
        source_hash: hash of the submission's source.
        workload: `name@version`.
        ruleset: `name@version`.
        hardware: hardware class.
        root: value of the nonce, or the root seed.
        overrides: the hyperparameters that the user set, with their values.
        options: whether the runs are deterministic, and whether their evaluations may be screened.
        is_envelope: whether the trials determine the reference's envelope (its metric at several budgets).
    """

    submission: str
    source_hash: str
    workload: str
    ruleset: str
    hardware: str
    root: str
    overrides: tuple[tuple[str, Scalar], ...]
    options: tuple[bool, bool]
    is_envelope: bool

    @property
    def title(self) -> str:
        """The submission, the workload, the ruleset and the hardware class, for messages."""
        settings = ", ".join(f"{name}={value}" for name, value in self.overrides)
        name = f"{self.submission} [{settings}]" if settings else self.submission
        kind = "envelope of " if self.is_envelope else ""
        return f"{kind}{name} on {self.workload}, {self.ruleset}, {self.hardware}"

    def shares_table(self, other: GroupKey) -> bool:
        """Return whether the runs of two groups have the same workload and seeds and belong to the same table."""
        fields = ("workload", "ruleset", "hardware", "root")
        return all(getattr(self, field) == getattr(other, field) for field in fields)


def group_key(spec: RunSpec) -> GroupKey:
    """Return what identifies the group of a trial."""
    return GroupKey(
        submission=spec.submission.id,
        source_hash=spec.submission.source_hash,
        workload=spec.workload.facts.id,
        ruleset=spec.ruleset.id,
        hardware=spec.hardware,
        root=spec.root,
        overrides=tuple((name, spec.hparams[name]) for name in spec.overridden if name in spec.hparams),
        options=(spec.deterministic, spec.screening),
        is_envelope=spec.purpose == "envelope",
    )


def find_obstacle(spec: RunSpec) -> str:
    """Return why a run is never published; empty if the run may be published."""
    for option in ("smoke", "profile", "prune"):
        if getattr(spec, option):
            return f"it was made with --{option}, and such runs never count"
    purposes = {"cost" if spec.ruleset.name == COST_RULESET.name else "score"}
    purposes |= {"tuning"} if spec.ruleset.tuning_studies else set()
    purposes |= {"envelope"} if stopping_rule(spec.ruleset.stopping).reference_horizons(spec.workload.facts) else set()
    publishable = spec.purpose in purposes
    return "" if publishable else f"under {spec.ruleset.name}, no run with the purpose {spec.purpose} is published"


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """A record of the runs folder.

    Args:
        stored: the file of the record, not decoded.
        record: the decoded record.
    """

    stored: StoredRecord
    record: Record


@dataclass(frozen=True, kw_only=True)
class TrialGroup:
    """All records of a runs folder that belong together.

    Args:
        key: what the trials have in common.
        runs: the records, sorted by purpose, study and trial.
    """

    key: GroupKey
    runs: tuple[LocalRun, ...]

    @property
    def spec(self) -> RunSpec:
        """The specification of the first trial."""
        return self.runs[0].record.spec

    @property
    def subfolder(self) -> Path:
        """The folder of the records below the folder of published records."""
        spec = self.spec
        return Path(spec.hardware, file_stem(spec.workload.facts.name), file_stem(spec.submission.name))


class _Listed(NamedTuple):
    """A record of the runs folder without its content. `obstacle` says why it is never published."""

    key: GroupKey
    run_id: str
    path: Path
    submission: str
    purpose: Purpose
    obstacle: str


def select_groups(names: Sequence[str], runs: Path, problems: list[str]) -> list[TrialGroup]:
    """Return the groups to which the named runs belong, each with all its records in the runs folder.

    The runs for the reference's envelope are added if they share workload, ruleset, hardware and seeds with a group.

    Args:
        names: paths of records or of folders with records, run IDs or their first characters, or names of submissions.
        runs: the runs folder.
        problems: list to which a one-line message is appended for each file that cannot be read.

    Raises:
        UsageError: a name matches no run, or only runs that are never published. The error is also raised if the
            beginning of a run ID matches several runs.
    """
    listed = list(_list_records(runs, problems))
    chosen = {item.key: None for name in names for item in _match(name, listed, runs)}
    envelopes = {
        item.key: None
        for item in listed
        if item.key.is_envelope and not item.obstacle and any(item.key.shares_table(key) for key in chosen)
    }
    groups = []
    for key in chosen | envelopes:
        members = [read_stored(item.path) for item in listed if item.key == key and not item.obstacle]
        local_runs = [LocalRun(stored=stored, record=decode_stored(stored)) for stored in members]
        local_runs.sort(key=lambda run: (run.record.spec.purpose, run.record.spec.study, run.record.spec.trial))
        groups.append(TrialGroup(key=key, runs=tuple(local_runs)))
    return groups


def _list_records(runs: Path, problems: list[str]) -> Iterable[_Listed]:
    for stored, record in iter_located([runs], problems):
        spec = record.spec
        key, name = group_key(spec), spec.submission.name
        yield _Listed(key, record.run_id, stored.path, name, spec.purpose, find_obstacle(spec))


def _match(name: str, listed: Sequence[_Listed], runs: Path) -> list[_Listed]:
    """Return the publishable records that a name denotes."""
    path = Path(name).absolute()
    beginnings = (name, f"{RUN_ID_PREFIX}{name}")
    candidates = {
        "path": [item for item in listed if path == item.path.absolute()],
        "id": [item for item in listed if item.run_id.startswith(beginnings)],
        # The cost runs of one submission are useless without those of the reference, so a folder or runs must be named.
        "submission": [
            item for item in listed if name in (item.submission, item.key.submission) and item.purpose != "cost"
        ],
        "folder": [item for item in listed if os.path.isdir(path) and item.path.absolute().is_relative_to(path)],
    }
    kind = next((kind for kind, matches in candidates.items() if matches), None)
    if kind is None:
        if not listed:
            raise UsageError(f"no run {name!r}: {runs} has no records", fix="name the folder of the runs with --runs")
        raise unknown_name_error("run or submission among the runs", name, {item.submission for item in listed})
    matches = candidates[kind]
    if kind == "id" and len(matches) > 1:
        fix = f"choose one of {', '.join(sorted(item.run_id for item in matches)[:5])}"
        raise UsageError(f"{len(matches)} runs begin with {name!r}", fix=fix)
    if kind != "submission" and len(matches) == 1 and matches[0].obstacle:
        problem = f"{matches[0].run_id} cannot be published: {matches[0].obstacle}"
        raise UsageError(problem, fix="name a scored run without --smoke, --profile and --prune")
    publishable = [item for item in matches if not item.obstacle]
    if not publishable:
        problem = f"none of the {len(matches)} runs of {name} can be published: {matches[0].obstacle}"
        raise UsageError(problem, fix="run the submission with bench run, without --smoke, --profile and --prune")
    return publishable
