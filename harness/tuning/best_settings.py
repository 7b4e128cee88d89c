"""The best known settings of a project's submissions: one JSON file that `bench tune --write` writes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.errors import StoreError, UsageError
from harness.system.files import read_struct, write_atomically

FILE = Path("best_settings.json")
SCHEMA_VERSION = 1


class BestSetting(Data, frozen=True, kw_only=True):
    """The setting of a submission that won a search, for the workloads of one tier.

    Args:
        submission: `name@version`.
        load: import path of the submission, which names its file if it lies in one; empty for composed parts.
        source_hash: SHA-256 of the submission's source at the search.
        tier: tier of the workloads.
        workloads: the workloads of the search, `name@version` each.
        hparams: the values found; other hyperparameters keep their defaults.
        by: what the search ranked by: `metric`, `time` or `examples`.
        budgets: examples at which the runs ended, by workload; empty for runs to the target.
        trials: number of settings tried.
        studies: number of seeds of each.
        hardware: hardware class of the runs.
        run_ids: the runs of the winner.
        runs: number of runs of the whole search.
        core_minutes: minutes of one core that the search took.
        found: day of the search, ISO 8601.
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
        """What the setting belongs to: a submission of a file or package, and a tier."""
        return self.submission.rpartition("@")[0], self.load, self.tier


class BestSettings(Data, frozen=True, kw_only=True):
    """The content of the file.

    Args:
        schema: version of the format.
        settings: the settings, sorted by submission and tier.
    """

    schema: int = SCHEMA_VERSION
    settings: tuple[BestSetting, ...] = ()

    def find(self, submission: str, load: str, tier: str) -> BestSetting | None:
        """Return the setting of a submission for a tier; None without one."""
        key = (submission, load, tier)
        return next((setting for setting in self.settings if setting.key == key), None)


def portable_load(load: str, folder: Path) -> str:
    """Return an import path with a file in it relative to a folder, so that a project can be moved.

    >>> portable_load("/home/me/project/mine.py:Mine", Path("/home/me/project"))
    'mine.py:Mine'
    """
    path, marker, name = load.rpartition(".py:")
    return f"{os.path.relpath(path, folder.absolute())}{marker}{name}" if marker else load


def read_best_settings(path: Path) -> BestSettings:
    """Return the content of the file; no settings if the file does not exist.

    Raises:
        StoreError: the file is damaged, or was written by another version of the format.
    """
    if not path.exists():
        return BestSettings()
    content = read_struct(path, BestSettings)
    if content.schema != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema {content.schema}; this version reads schema {SCHEMA_VERSION}",
            fix="use the version of algorace that wrote it, or another file with --settings",
        )
    return content


def write_best_setting(path: Path, setting: BestSetting) -> BestSetting | None:
    """Store a setting in place of the one of the same submission and tier, and return that one.

    Raises:
        StoreError: the file cannot be read or written.
    """
    content = read_best_settings(path)
    replaced = content.find(*setting.key)
    settings = _sorted((*(other for other in content.settings if other.key != setting.key), setting))
    if not path.parent.is_dir():
        raise UsageError(f"--settings {path}: {path.parent} is not a folder", fix="make it, or name another file")
    payload = msgspec.json.encode(BestSettings(settings=settings), order="deterministic")
    write_atomically(path, msgspec.json.format(payload, indent=1) + b"\n")
    return replaced


def _sorted(settings: Iterable[BestSetting]) -> tuple[BestSetting, ...]:
    return tuple(sorted(settings, key=lambda setting: setting.key))
