"""Look up best known settings for a plan, and describe the settings that the plan uses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import RunSpec
from harness.errors import UsageError
from harness.tuning.best_settings import BestSetting, portable_load, read_best_settings

#: Name, import path and tier. Two files may have the same name, such as `a/mine.py` and `b/mine.py`.
_Key: TypeAlias = tuple[str, str, str]


class KnownSettings:
    """The best known settings in a file. The object remembers the settings that were looked up for a plan.

    Args:
        path: the file of best known settings.

    Raises:
        StoreError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = read_best_settings(path)
        self._used: dict[_Key, BestSetting] = {}
        self._missing: dict[_Key, None] = {}

    def values(self, entry: SubmissionEntry, workload: WorkloadEntry) -> HParams:
        """Return the best known values of a submission for a workload's tier; empty if the file has no setting."""
        tier, load = workload.facts.tier, entry.load or ""
        # In the file, the import paths of submissions are relative to the folder of the file.
        relative_load = portable_load(load, self._path.parent)
        setting = self._content.find(entry.name, relative_load, tier)
        if setting is None:
            self._missing[entry.name, load, tier] = None
            return {}
        self._used[entry.name, load, tier] = setting
        return setting.hparams

    def lines(self, specs: Iterable[RunSpec]) -> list[str]:
        """Return lines that describe the settings that were looked up.

        For each submission and tier, one line describes the setting. Another line warns if the source of the submission
        has changed since the search. If there is no setting, one line says that the defaults are used.

        Args:
            specs: the planned trials.

        Raises:
            UsageError: no submission of the plan has a best known setting.
        """
        if not self._used:
            names = ", ".join(dict.fromkeys(name for name, _, _ in self._missing))
            place = self._path if self._path.exists() else f"the file {self._path} does not exist, so it"
            raise UsageError(
                f"--best: {place} has no setting of {names}",
                fix=f"search for one: bench tune {next(iter(self._missing))[0]} -w WORKLOAD --write",
            )
        planned_sources: dict[_Key, str] = {
            (s.submission.name, s.submission.load or "", s.workload.facts.tier): s.submission.code_identity
            for s in specs
        }
        lines = []
        for key, setting in self._used.items():
            lines.append(f"{key[0]}: {describe_setting(setting)} (from {self._path})")
            if planned_sources.get(key, setting.source_hash) != setting.source_hash:
                lines.append(f"warning: {key[0]} was edited after this setting was found; search again with bench tune")
        lines += [
            f"{name}: no best known setting for tier {tier}; the defaults are used" for name, _, tier in self._missing
        ]
        return lines


def describe_setting(setting: BestSetting) -> str:
    """Return one line with the values of a best known setting and a summary of the search that found them."""
    values = " ".join(f"{name}={value}" for name, value in setting.hparams.items()) or "(defaults)"
    if setting.by == "metric":
        budgets = ", ".join(f"{budget:,} examples of {name}" for name, budget in setting.budgets.items())
        criterion = f"by the metric at {budgets}"
    else:
        criterion = f"by {setting.by} to the target of {', '.join(setting.workloads)}"
    return (
        f"best known setting {values}, {criterion}, best of {setting.trials} settings in the search of {setting.found}"
    )
