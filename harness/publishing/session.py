"""Publish records: check that they are complete and pass all checks, then add them to the published records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from harness import __version__
from harness.contract.marks import Marks, mark_of
from harness.contract.publication import Publication
from harness.contract.record import Record
from harness.contract.reference_times import ReferenceTimes
from harness.contract.workload import WorkloadFacts
from harness.errors import DamagedError, StoreError, UsageError
from harness.planning.stopping_rules import stopping_rule
from harness.publishing.attempts import AttemptReport, RunsLedger
from harness.publishing.completeness import Gap, ListedSettings, find_gap
from harness.publishing.selection import LocalRun, TrialGroup, group_key, select_groups
from harness.report.published import draw_published
from harness.storage import packing
from harness.storage.attestations import read_attestations, write_attestation
from harness.storage.layout import LEADERBOARD
from harness.storage.marks import MARKS, append_lines, index_marks
from harness.storage.records import iter_records
from harness.storage.staging import stage_changes
from harness.system.files import is_file_name, write_atomically
from harness.verification.attesting import attest_weights
from harness.verification.checks import VerificationOptions, verify_records
from harness.verification.findings import RecordFindings
from harness.verification.rulesets import find_unpublishable_ruleset


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """The options of `bench publish`.

    Args:
        runs: the runs folder.
        results: the folder of published records.
        references: names of the submissions that may be the reference of the scores.
        installed: facts of the installed workloads.
        reference_times: workload -> times of its tuned reference.
        verification: the options of the checks of the records.
        listed_settings: function that returns the number of settings in a submission's own list.
        dry_run: whether nothing is written.
    """

    runs: Path
    results: Path
    references: tuple[str, ...]
    installed: tuple[WorkloadFacts, ...]
    reference_times: Mapping[str, ReferenceTimes]
    verification: VerificationOptions
    listed_settings: ListedSettings
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class GroupReport:
    """The result for one group: the records to publish, or the reasons why the group is refused.

    A group is all trials of one submission on one workload under one ruleset.

    Args:
        group: the group, with its records.
        new: the records that are not published yet.
        gap: the missing trials; None if the group is complete.
        findings: the findings about the new records.
        attempts: all attempts to run the group's trials.
        problems: other reasons why the group cannot be published.
    """

    group: TrialGroup
    new: tuple[LocalRun, ...]
    gap: Gap | None
    findings: tuple[RecordFindings, ...]
    attempts: AttemptReport
    problems: tuple[str, ...]

    @property
    def is_refused(self) -> bool:
        """Whether the group cannot be published."""
        return bool(self.gap or self.problems or any(finding.failed for finding in self.findings))


@dataclass(frozen=True, kw_only=True)
class PublishReport:
    """The result of `bench publish`.

    Args:
        groups: one report for each group.
        results: the folder of published records.
        written: whether this call added records to this folder.
        problems: messages about files that cannot be read.
    """

    groups: tuple[GroupReport, ...]
    results: Path
    written: bool = False
    problems: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether at least one group cannot be published. If so, nothing is published."""
        return any(group.is_refused for group in self.groups)

    @property
    def new_records(self) -> int:
        """Number of records that are not published yet."""
        return sum(len(group.new) for group in self.groups)


@dataclass(frozen=True)
class _Published:
    """The records that are published already, and their content hashes by run_id."""

    records: Sequence[Record] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> _Published:
        """Read the published records.

        Raises:
            DamagedError: a published record cannot be read. Without this record, the tables would be incomplete.
        """
        if not folder.is_dir():
            return cls()
        problems: list[str] = []
        records = list(iter_records([folder], problems))
        if problems:
            problem = f"{len(problems)} file(s) in {folder} cannot be read: {problems[0]}"
            raise DamagedError(problem, fix=f"bench results verify {folder} lists them; restore them first")
        return cls(records, {record.run_id: record.content_hash for record in records})


def publish(names: Sequence[str], options: PublishOptions) -> PublishReport:
    """Add the named runs, with all runs that belong to them, to the published records.

    If one group is refused, nothing is published. The folder of published records is replaced in one step.

    Args:
        names: see `select_groups`.
        options: the options.

    Raises:
        UsageError: a name is wrong.
        StoreError: a file cannot be read or written.
    """
    problems: list[str] = []
    groups = select_groups(names, options.runs, problems)
    published = _Published.read(options.results)
    ledger = RunsLedger(options.runs)
    marks = index_marks([options.runs], problems)
    local_records = (run.record for group in groups for run in group.runs)
    envelope_runs = [record for record in (*published.records, *local_records) if record.spec.purpose == "envelope"]
    reports = [_examine(group, options, published, ledger, marks) for group in groups]
    report = PublishReport(
        groups=tuple(_require_envelope(report, envelope_runs) for report in reports),
        results=options.results,
        problems=tuple(problems),
    )
    if report.is_refused or options.dry_run or not report.new_records:
        return report
    with stage_changes(options.results) as stage:
        for group in report.groups:
            if group.new:
                _write_group(stage / group.group.subfolder, group)
        _write_marks(stage, report.groups, marks)
        page = draw_published(stage, options.references, options.installed, options.reference_times)
        write_atomically(stage / LEADERBOARD, page.encode())
    return replace(report, written=True)


def _examine(
    group: TrialGroup, options: PublishOptions, published: _Published, ledger: RunsLedger, marks: Marks
) -> GroupReport:
    """Return the records of a group that would be published, and the problems of the group."""
    specs = (record.spec for record in published.records)
    gap, too_many = None, ""
    try:
        gap = find_gap(group, str(options.runs), options.listed_settings, specs)
    except UsageError as error:
        too_many = f"the studies of these records cannot be completed: {error.what}"
    # A record may come from somebody else, and must not choose a folder outside of the published records.
    unusable = [name for name in group.subfolder.parts if not is_file_name(name)]
    problems = [f"{name!r} cannot be the name of a folder" for name in unusable]
    problems += [too_many] if too_many else []
    rulesets = [run.record.spec.ruleset for run in group.runs]
    problems += dict.fromkeys(problem for ruleset in rulesets if (problem := find_unpublishable_ruleset(ruleset)))
    new = []
    for run in group.runs:
        record = run.record
        mark = mark_of(record, marks)
        if mark and mark.event == "withdrawn":
            problems.append(f"{record.run_id} was withdrawn: {mark.why} (take it back: bench results restore)")
        published_hash = published.hashes.get(record.run_id)
        if published_hash is None:
            new.append(run)
        elif published_hash != record.content_hash:
            problems.append(
                f"{record.run_id} is already published with other content; a published record must not change"
            )
    # An attestation that cannot be read would be missing among the published ones.
    for folder in dict.fromkeys(run.stored.path.parent for run in new):
        problems += [f"{problem}; remove this file or restore it" for problem in read_attestations(folder)[1]]
    # An incomplete group is not published, so its weights are not evaluated.
    verification = replace(options.verification, judge=None) if gap or too_many else options.verification
    findings = verify_records([run.stored for run in new], verification, others=published.records)
    return GroupReport(
        group=group,
        new=tuple(new),
        gap=gap,
        findings=tuple(findings),
        attempts=ledger.report(group),
        problems=tuple(problems),
    )


def _require_envelope(report: GroupReport, envelope_runs: Sequence[Record]) -> GroupReport:
    """Return the report. Add a problem if the scores need the reference's envelope, and its runs do not suffice.

    As in the scores, the runs of all root seeds count.

    Args:
        report: the report.
        envelope_runs: the local and published records with the purpose `envelope`.
    """
    key, spec = report.group.key, report.group.spec
    rule = stopping_rule(spec.ruleset.stopping)
    if not rule.reference_horizons(spec.workload.facts):
        return report
    # key[2:5] is the workload, the ruleset and the hardware class.
    runs = [record for record in envelope_runs if group_key(record.spec)[2:5] == key[2:5]]
    problem = f"the reference's runs for the envelope on {key.workload} are neither in the runs folder nor published"
    if runs:
        problem = rule.find_envelope_problem(runs)
        problem = f"there is no envelope on {key.workload}: {problem}" if problem else ""
    return replace(report, problems=(*report.problems, problem)) if problem else report


def _write_group(folder: Path, report: GroupReport) -> None:
    """Write and pack the new records of a group, their attestations and the publication file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create {folder}: {error.strerror}", fix="choose another folder") from None
    for run, findings in zip(report.new, report.findings, strict=True):
        write_atomically(folder / f"{run.record.run_id}.json", run.stored.content)
        attestations, _ = read_attestations(run.stored.path.parent)
        of_record = [item for item in attestations if item.record == run.record.content_hash]
        weights_attestation = attest_weights(findings)
        if weights_attestation is not None and all(item.method != "weights" for item in of_record):
            of_record.append(weights_attestation)
        for attestation in of_record:
            write_attestation(folder, attestation)
    for packed in packing.pack(folder):
        if packed.problems:
            raise DamagedError(packed.problems[0], fix="bench results verify RESULTS lists all problems")
    content = msgspec.json.format(msgspec.json.encode(_describe(report), order="sorted"), indent=1) + b"\n"
    write_atomically(folder / f"publication-{hashlib.sha256(content).hexdigest()[:16]}.json", content)


def _describe(report: GroupReport) -> Publication:
    key, attempts = report.group.key, report.attempts
    unchecked = Counter(
        finding.check for record in report.findings for finding in record.findings if finding.outcome == "unchecked"
    )
    return Publication(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        submission=key.submission,
        source_hash=key.source_hash,
        workload=key.workload,
        ruleset=key.ruleset,
        hardware=key.hardware,
        records={run.record.run_id: run.record.content_hash for run in report.new},
        attempts={trial.run_id: trial.attempts for trial in attempts.repeated},
        unpublished=attempts.unpublished,
        other_sources=attempts.other_sources,
        ledger_entries=attempts.ledger_entries,
        ledger_hash=attempts.ledger_hash,
        unchecked={str(check): number for check, number in unchecked.items()},
    )


def _write_marks(stage: Path, groups: Sequence[GroupReport], marks: Marks) -> None:
    """Append the doubts about the new records to the marks of the published records."""
    new = [mark for group in groups for run in group.new if (mark := mark_of(run.record, marks)) is not None]
    if new:
        append_lines(stage / MARKS, new)
