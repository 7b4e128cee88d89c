"""Runs folders that are made of published records, as if the runs had just ended."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.contract.record import Record
from harness.execution.attempts import AttemptWatcher
from harness.publishing.completeness import ListedSettings
from harness.publishing.session import PublishOptions, PublishReport, publish
from harness.storage.records import add_content_hash
from harness.storage.run_folder import RunFolder
from tests.helpers import Remember
from tests.verification.forging import NO_JUDGE, archived, published


@functools.cache
def group(submission: str = "wsd", workload: str = "resnet-digits", ruleset: str = "quick") -> tuple[Record, ...]:
    """The published records of one submission on one workload under one ruleset, as this version writes them.

    Of several versions of the workload, the newest counts.
    """
    records = [
        add_content_hash(record)
        for record in (*published(), *archived())
        if (record.spec.submission.name, record.spec.workload.facts.name, record.spec.ruleset.name)
        == (submission, workload, ruleset)
    ]
    newest = max(record.spec.workload.facts.id for record in records)
    return tuple(
        sorted(
            (record for record in records if record.spec.workload.facts.id == newest),
            key=lambda record: (record.spec.purpose, record.spec.study, record.spec.trial),
        )
    )


def write_runs(runs: Path, records: Iterable[Record]) -> None:
    """Write what runs leave: their records, and entries of the ledger."""
    for record in records:
        watcher = AttemptWatcher(runs, Remember())
        watcher.started(record.spec, ())
        folder = RunFolder(runs, record.run_id)
        folder.path.mkdir(parents=True, exist_ok=True)
        watcher.finished(folder.write(record))


def no_listed_settings(spec: object) -> None:
    return None


def options(
    folder: Path, *, dry_run: bool = False, listed_settings: ListedSettings = no_listed_settings
) -> PublishOptions:
    return PublishOptions(
        runs=folder / "runs",
        results=folder / "results",
        references=("adamw-cosine",),
        installed=(),
        reference_times={},
        verification=NO_JUDGE,
        listed_settings=listed_settings,
        dry_run=dry_run,
    )


def publish_in(folder: Path, *names: str, dry_run: bool = False) -> PublishReport:
    return publish(names, options(folder, dry_run=dry_run))


def run_ids(records: Sequence[Record]) -> set[str]:
    return {record.run_id for record in records}
