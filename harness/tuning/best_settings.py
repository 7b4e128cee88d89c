"""Read and write the file of the best known settings of a project's submissions (`bench tune --write`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.errors import StoreError, UsageError
from harness.system.files import read_struct, write_atomically
from harness.system.locks import wait_for_lock

FILE = Path("best_settings.json")
SCHEMA_VERSION = 1
#: Seconds to wait while another command stores a setting in the same folder.
LOCK_TIMEOUT_S = 30.0


class BestSetting(Data, frozen=True, kw_only=True):
    """The setting of a submission that won a search on workloads of one tier.

    Args:
        submission: `name@version`.
        load: import path of the submission, such as `mine.py:Mine`; empty if the submission is composed of parts.
        source_hash: `SubmissionRef.code_identity` at the time of the search: the code hash, or the source hash if there
            is no code hash.
        tier: tier of the workloads.
        workloads: the workloads of the search, each as `name@version`.
        hparams: the best values of the searched hyperparameters. The other hyperparameters keep their defaults.
        by: the quantity by which the search ranked settings: `metric`, `time` or `examples`.
        budgets: number of examples at which the runs ended, by workload; empty if the runs ended at the target.
        trials: number of settings that were tried.
        studies: number of seeds of each setting.
        hardware: hardware class of the runs.
        run_ids: run IDs of the runs with this setting.
        runs: number of runs of the whole search.
        core_minutes: sum of `SearchRun.core_seconds` / 60 over all runs of the search.
        found: date of the search, ISO 8601.
    """

    submission: str
    load: str = ""
    source_hash: str
    tier: str
    workloads: tuple[str, ...]
    hparams: HParams
    by: str
    budgets: dict[str, int] = msgspec.field(default_factory=dict)
    trials: int
    studies: int
    hardware: str
    run_ids: tuple[str, ...]
    runs: int
    core_minutes: float
    found: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the setting in the file: name and import path of the submission, and the tier."""
        return self.submission.rpartition("@")[0], self.load, self.tier


class BestSettings(Data, frozen=True, kw_only=True):
    """The content of the file of best known settings.

    Args:
        schema: version of the format.
        settings: the settings, sorted by submission and tier.
    """

    schema: int = SCHEMA_VERSION
    settings: tuple[BestSetting, ...] = ()

    def find(self, submission: str, load: str, tier: str) -> BestSetting | None:
        """Return the setting of a submission for a tier; None if there is none.

        Args:
            submission: name of the submission, without its version.
            load: import path of the submission, as in the file.
            tier: the tier.
        """
        key = (submission, load, tier)
        return next((setting for setting in self.settings if setting.key == key), None)


def portable_load(load: str, folder: Path) -> str:
    """Return `load`, an import path. If it contains the path of a file, this path is made relative to a folder.

    With relative paths, the folder of the project can be moved.

    >>> portable_load("/home/me/project/mine.py:Mine", Path("/home/me/project"))
    'mine.py:Mine'
    """
    path, marker, name = load.rpartition(".py:")
    return f"{os.path.relpath(path, folder.absolute())}{marker}{name}" if marker else load


def read_best_settings(path: Path) -> BestSettings:
    """Return the content of the file, or no settings if the file does not exist.

    Raises:
        StoreError: the file is damaged, or was written by another version of the format.
    """
    if not path.exists():
        return BestSettings()
    content = read_struct(path, BestSettings)
    if content.schema != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema {content.schema}; this version reads schema {SCHEMA_VERSION}",
            fix="use the version of algorace that wrote the file, or name another file with --settings",
        )
    return content


def write_best_setting(path: Path, setting: BestSetting) -> BestSetting | None:
    """Store a setting. It replaces the stored setting with the same key (`BestSetting.key`).

    Returns:
        The replaced setting; None if there was none.

    Raises:
        StoreError: the file cannot be read or written.
        UsageError: the folder of the file does not exist.
    """
    if not path.parent.is_dir():
        raise UsageError(
            f"--settings {path}: {path.parent} is not a folder", fix="create the folder, or name another file"
        )
    # Another command may store a setting at the same time.
    lock = wait_for_lock(path.parent, LOCK_TIMEOUT_S)
    try:
        content = read_best_settings(path)
        settings = _sort_by_key((*(other for other in content.settings if other.key != setting.key), setting))
        payload = msgspec.json.encode(BestSettings(settings=settings), order="deterministic")
        write_atomically(path, msgspec.json.format(payload, indent=1) + b"\n")
    finally:
        os.close(lock)
    return content.find(*setting.key)


def _sort_by_key(settings: Iterable[BestSetting]) -> tuple[BestSetting, ...]:
    return tuple(sorted(settings, key=lambda setting: setting.key))
