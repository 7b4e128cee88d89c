"""Use best known settings in a plan, and say which of them were used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import RunSpec
from harness.errors import UsageError
from harness.tuning.best_settings import BestSetting, portable_load, read_best_settings


class KnownSettings:
    """The best known settings in a file, and those that a plan has used.

    Args:
        path: the file.

    Raises:
        StoreError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = read_best_settings(path)
        self._used: dict[tuple[str, str], BestSetting] = {}
        self._missing: dict[tuple[str, str], None] = {}

    def values(self, entry: SubmissionEntry, workload: WorkloadEntry) -> HParams:
        """Return the best known values of a submission on a workload's tier; empty without a setting."""
        tier = workload.facts.tier
        load = portable_load(entry.load or "", self._path.parent)
        setting = self._content.find(entry.name, load, tier)
        if setting is None:
            self._missing[entry.name, tier] = None
            return {}
        self._used[entry.name, tier] = setting
        return setting.hparams

    def lines(self, specs: Iterable[RunSpec]) -> list[str]:
        """Return one line per submission: its setting, and a warning if its source has changed since.

        Args:
            specs: the planned trials.

        Raises:
            UsageError: no submission of the plan has a best known setting.
        """
        if not self._used:
            names = ", ".join(dict.fromkeys(name for name, _ in self._missing))
            raise UsageError(
                f"--best: {self._path} has no setting of {names}",
                fix=f"bench tune {next(iter(self._missing))[0]} -w WORKLOAD --write makes one",
            )
        sources: dict[tuple[str, str], str] = {
            (s.submission.name, s.workload.facts.tier): s.submission.source_hash for s in specs
        }
        lines = []
        for key, setting in self._used.items():
            lines.append(f"{key[0]}: {describe_setting(setting)} (from {self._path})")
            if sources.get(key, setting.source_hash) != setting.source_hash:
                lines.append(f"warning: {key[0]} was edited after this setting was found; bench tune searches again")
        lines += [f"{name}: no best known setting for tier {tier}; its defaults" for name, tier in self._missing]
        return lines


def describe_setting(setting: BestSetting) -> str:
    """Return a best known setting in one line: its values, and the search that found them."""
    values = " ".join(f"{name}={value}" for name, value in setting.hparams.items()) or "its defaults"
    if setting.by == "metric":
        ends = ", ".join(f"{budget:,} examples of {name}" for name, budget in setting.budgets.items())
        judged = f"by the metric at {ends}"
    else:
        judged = f"by {setting.by} to the target of {', '.join(setting.workloads)}"
    return f"best known setting {values}, {judged}, best of {setting.trials} on {setting.found}"
