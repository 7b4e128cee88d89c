"""Scores a table of times, or AlgoPerf's published logs, by AlgoPerf's rules.

Source: Benchmarking Neural Network Training Algorithms, arXiv 2306.07179, section 4
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import DataError, StoreError, UsageError, unknown_name_error
from harness.scoring.algoperf.logs import RULESETS, Logs, RulesetName, Studies, read_logs
from harness.scoring.algoperf.target_files import TargetTable, default_targets, held_out_names, read_targets
from harness.scoring.algoperf.targets import BASE_WORKLOADS, HELD_OUT_WORKLOADS
from harness.scoring.scores import Anchored, Profile, Skipped, Table, anchored_scores, profile_scores, reference_times
from harness.scoring.ties import Ties, rank_ties
from harness.system.files import read_text

#: Name and version of the format of `AlgoPerfScores.to_json`.
SCHEMA = "algorace/algoperf-scores/1"
_TABLE_FIX = "give a CSV file with a header: the submission, then one column of seconds for each workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgoPerfScores:
    """Scores of a table of times or of logs.

    Args:
        ruleset: `external` or `self-tuning`.
        base: base workloads. The profile is computed from the times on these workloads.
        held_out: held-out variant -> its base workload.
        time_to_target: submission -> workload -> seconds; None if the submission missed the target or has no logs.
        profiles: submission -> profile, best first.
        anchored: anchored scores; None if there is no reference.
        ranges: submission -> (lowest, highest) profile score if each study is scored separately. A range is not a
            confidence interval.
        ties: ties in the ranking; None if ties were not tested.
        skipped: items that were left out or are missing, with the reasons.
    """

    ruleset: str
    base: tuple[str, ...]
    held_out: Mapping[str, str]
    time_to_target: Mapping[str, Mapping[str, float | None]]
    profiles: Mapping[str, Profile]
    anchored: Anchored | None = None
    ranges: Mapping[str, tuple[float, float]] | None = None
    ties: Ties | None = None
    skipped: tuple[Skipped, ...] = ()

    @property
    def scores(self) -> dict[str, float]:
        """AlgoPerf's score by submission, best first."""
        return {name: profile.score for name, profile in self.profiles.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain data for `--json`; a miss is null."""
        plain: dict[str, Any] = {
            "schema": SCHEMA,
            "ruleset": self.ruleset,
            "scores": self.scores,
            "exact_scores": {name: profile.exact for name, profile in self.profiles.items()},
            "time_to_target": {name: dict(row) for name, row in self.time_to_target.items()},
            "base_workloads": list(self.base),
            "held_out_workloads": list(self.held_out),
            "skipped": [{"what": s.item, "why": s.reason} for s in self.skipped],
        }
        if self.anchored is not None:
            plain["anchored_scores"] = dict(self.anchored.scores)
            plain["anchored_left_out"] = [{"what": s.item, "why": s.reason} for s in self.anchored.left_out]
        if self.ranges is not None:
            plain["score_ranges"] = {name: list(ends) for name, ends in self.ranges.items()}
        if self.ties is not None:
            plain["ranks"] = {name: list(ends) for name, ends in self.ties.ranks.items()}
            plain["ties"] = [list(pair) for pair in self.ties.tied]
        return plain


# --- held-out variants, tables ------------------------------------------------------------------------------------


def held_out_bases(names: Iterable[str], base: Sequence[str]) -> dict[str, str]:
    """Return variant -> base workload.

    The name of a variant starts with the name of its base workload. If several names fit, the longest is used.

    Raises:
        UsageError: a variant has no base workload.

    >>> held_out_bases(["imagenet_resnet_silu"], ["imagenet_resnet", "ogbg"])
    {'imagenet_resnet_silu': 'imagenet_resnet'}
    """
    bases = {}
    for name in names:
        parents = [w for w in base if name.startswith(f"{w}_")]
        if not parents:
            raise UsageError(
                f"the held-out workload {name!r} is not a variant of a base workload",
                fix=f"begin its name with one of: {', '.join(base)}",
            )
        bases[name] = max(parents, key=len)
    return bases


def read_table(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Read a table of times in seconds from a CSV file with a header.

    The first column contains the names of the submissions. Each further column contains the times on one workload.
    `inf` is a miss. An empty field means that the submission was not run on the workload.

    Returns:
        submission -> workload -> seconds.

    Raises:
        DataError: the file is missing or empty, a row has the wrong length, a field is not a number, or a name is
            repeated.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(read_text(Path(path)), newline="")) if row]
    except StoreError as error:
        raise DataError(error.what, fix=_TABLE_FIX) from None
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}", fix=_TABLE_FIX) from None
    if len(rows) < 2:
        raise DataError(f"{path} has no row after the header", fix=_TABLE_FIX)
    columns, table = [c.strip() for c in rows[0][1:]], dict[str, dict[str, float]]()
    for number, (name, *fields) in enumerate(rows[1:], start=2):
        if len(fields) != len(columns):
            raise DataError(
                f"{path}, row {number} has {len(fields) + 1} fields, the header {len(columns) + 1}", fix=_TABLE_FIX
            )
        if name in table:
            raise DataError(f"{path}, row {number} repeats {name!r}", fix="give each submission one row")
        try:
            table[name] = {c: float(f) for c, f in zip(columns, fields, strict=True) if f.strip()}
        except ValueError as error:
            raise DataError(f"{path}, row {number} ({name}): {error}", fix=_TABLE_FIX) from None
    return table


# --- scores -----------------------------------------------------------------------------------------------------------


def score_table(
    times: Table,
    *,
    ruleset: RulesetName = "external",
    base: Sequence[str] = BASE_WORKLOADS,
    held_out: Iterable[str] = HELD_OUT_WORKLOADS,
    limit: float = 4.0,
    reference: str | None = None,
) -> AlgoPerfScores:
    """Score a table of seconds by AlgoPerf's rules.

    Args:
        times: submission -> workload -> seconds; inf is a miss. An absent workload counts as a miss.
        ruleset: name of the ruleset in the output.
        base: workloads from whose times the profile is computed.
        held_out: held-out variants. If a submission misses a variant, the base workload of the variant counts as
            missed.
        limit: largest ratio of a time to the best time on its workload. A larger time counts as a miss.
        reference: submission to which the anchored scores are relative; None for no anchored scores.

    Raises:
        UsageError: the table is empty, a time is not positive, the ruleset or the reference is unknown, or a variant
            has no base workload.
    """
    if ruleset not in RULESETS:
        raise unknown_name_error("ruleset", ruleset, RULESETS)
    bases = held_out_bases(held_out, base)
    profiles = profile_scores(times, base=base, held_out=bases, limit=limit)
    ranked = sorted(profiles, key=lambda name: (-profiles[name].score, name))
    anchored = anchored_scores(times, reference_times(times, reference), workloads=base) if reference else None
    columns = (*base, *bases)
    return AlgoPerfScores(
        ruleset=ruleset,
        base=tuple(base),
        held_out=bases,
        time_to_target={s: {w: _or_none(times[s].get(w, math.inf)) for w in columns} for s in ranked},
        profiles={name: profiles[name] for name in ranked},
        anchored=anchored,
    )


def score_logs(
    logs_dir: str | os.PathLike[str],
    *,
    ruleset: RulesetName = "external",
    targets: str | os.PathLike[str] | TargetTable | None = None,
    held_out: str | os.PathLike[str] | Sequence[str] | None = None,
    reference: str | None = None,
    without: Sequence[str] = (),
    ties: bool = True,
) -> AlgoPerfScores:
    """Score a folder of published logs, with ranges, ties and a list of skipped items.

    Args:
        logs_dir: folder of the logs (see `read_logs`).
        ruleset: `external` or `self-tuning`.
        targets: AlgoPerf's targets file, or a table of targets; by default the targets of version 0.5.
        held_out: file with a list of held-out variants, a sequence of their names, or `none` for no variants. None for
            the list in the targets file, or for the six variants of version 0.5 if that file has no list.
        reference: submission to which the anchored scores are relative. By default `baseline`, if it reached the target
            of a base workload.
        without: submissions to leave out, for example to see how the profile scores depend on them.
        ties: whether to test which submissions are tied, over all scored workloads and studies (needs numpy and scipy).

    Raises:
        DataError: a file or folder cannot be read.
        UsageError: the ruleset, the reference, a metric or a variant is unknown.
    """
    table = (
        targets
        if isinstance(targets, TargetTable)
        else read_targets(targets)
        if targets is not None
        else default_targets()
    )
    names = held_out_names(held_out, table)
    bases = held_out_bases(names, table.base)
    untargeted = [w for w in bases if w not in table.targets]
    if untargeted:
        raise UsageError(
            f"no target for the held-out workload {', '.join(untargeted)}", fix="add it to the targets file"
        )
    logs = read_logs(logs_dir, {w: table.targets[w] for w in (*table.base, *bases)}, ruleset)
    logs = _without(logs, without)
    times = logs.times()
    if (
        reference is None
        and "baseline" in times
        and any(math.isfinite(times["baseline"].get(w, math.inf)) for w in table.base)
    ):
        reference = "baseline"
    result = score_table(times, ruleset=ruleset, base=table.base, held_out=names, reference=reference)
    return AlgoPerfScores(
        ruleset=result.ruleset,
        base=result.base,
        held_out=result.held_out,
        time_to_target=result.time_to_target,
        profiles=result.profiles,
        anchored=result.anchored,
        ranges=study_ranges(logs.studies, base=table.base, held_out=bases),
        ties=rank_ties(logs.studies, order=list(result.profiles), workloads=(*table.base, *bases)) if ties else None,
        skipped=logs.skipped,
    )


def _without(logs: Logs, names: Sequence[str]) -> Logs:
    for name in names:
        if name not in logs.studies:
            raise unknown_name_error("submission", name, logs.studies)
    studies = {name: row for name, row in logs.studies.items() if name not in names}
    dropped = tuple(Skipped(item=name, reason="left out on request") for name in names)
    return replace(logs, studies=studies, skipped=(*logs.skipped, *dropped))


def study_ranges(
    studies: Studies, *, base: Sequence[str], held_out: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest profile score of each submission over the studies.

    For each study number, the table is scored with only the times of this study.
    """
    numbers = sorted({k for row in studies.values() for by_study in row.values() for k in by_study})
    ends: dict[str, tuple[float, float]] = {}
    for number in numbers:
        times = {
            s: {w: by_study[number] for w, by_study in row.items() if number in by_study} for s, row in studies.items()
        }
        for name, profile in profile_scores(times, base=base, held_out=held_out).items():
            low, high = ends.get(name, (math.inf, -math.inf))
            ends[name] = (min(low, profile.score), max(high, profile.score))
    return ends


def _or_none(time: float) -> float | None:
    return time if math.isfinite(time) else None
