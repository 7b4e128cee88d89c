"""AlgoPerf's published logs as times to target, by its own rules.

Reads `<submission>/study_<k>/<workload>_<framework>/trial_<n>/eval_measurements.csv`, and lists what it skipped.

Source: Benchmarking Neural Network Training Algorithms, arXiv 2306.07179, section 4
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.contract.workload import Target
from harness.errors import DataError, unknown_name_error
from harness.scoring.scores import Skipped, workload_time

RulesetName = Literal["external", "self-tuning"]
#: submission -> workload -> study -> seconds to target (inf: missed).
Studies = Mapping[str, Mapping[str, Mapping[int, float]]]
RULESETS: dict[str, str] = {"external": "external_tuning", "self-tuning": "self_tuning"}
FRAMEWORKS = ("jax", "pytorch")
MEASUREMENTS = "eval_measurements.csv"
_FIX = "download the trial's logs again, or remove its folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """The first evaluation of a trial that met the target: its row number from 0, and seconds on the clock."""

    index: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """The contents of a folder of logs: times by study, trials read, and what was skipped and why."""

    studies: Studies
    trials: int
    skipped: tuple[Skipped, ...]

    def times(self) -> dict[str, dict[str, float]]:
        """Median over studies, in seconds; a workload without a single readable trial is absent."""
        return {s: {w: workload_time(list(k.values())) for w, k in row.items()} for s, row in self.studies.items()}


def first_hit(data: bytes, target: Target) -> Hit | None:
    """First row of an `eval_measurements.csv` that meets a target; None when no row does.

    Only two columns are read, and nothing after the hit. A row of the wrong length is a partial write and is skipped,
    and so is a row without a number for the metric; both count in the evaluation index.

    Raises:
        DataError: an empty file, a missing column, no whole row, or no usable time at the hit.
    """
    rows = _rows(data)
    header = next(rows, [])
    metric = b"validation/" + target.metric.encode()
    missing = [name.decode() for name in (b"score", metric) if name not in header]
    if not header or missing:
        raise DataError(f"no column {' and no '.join(missing)}" if header else "the file is empty", fix=_FIX)
    time_column, metric_column, width = header.index(b"score"), header.index(metric), len(header)
    sign = 1.0 if target.goal == "max" else -1.0
    goal = sign * target.value
    whole = 0
    for index, row in enumerate(rows):
        if len(row) != width:
            continue
        whole += 1
        try:
            if sign * float(row[metric_column]) >= goal:
                return Hit(index=index, seconds=_seconds(row[time_column], index))
        except ValueError:
            continue
    if not whole:
        raise DataError("the file has a header and no whole row", fix=_FIX)
    return None


def _rows(data: bytes) -> Iterator[list[bytes]]:
    """Rows as byte fields; rows without quotes are split at commas, several times as fast as by the csv module."""
    if b'"' in data:
        text = data.decode("utf-8", errors="replace").splitlines()
        return ([field.encode() for field in row] for row in csv.reader(text))
    return (line.split(b",") for line in data.splitlines() if line)


def _seconds(field: bytes, index: int) -> float:
    try:
        seconds = float(field)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise DataError(f"row {index} meets the target at the time {field.decode(errors='replace')!r}", fix=_FIX)
    return seconds


def _numbered(folder: Path, prefix: str, where: str, skipped: list[Skipped]) -> list[tuple[int, Path]]:
    """Folders `<prefix>_<number>` in the order of their numbers; other folders are named as stray."""
    numbered = []
    for entry in os.scandir(folder):
        match = re.fullmatch(rf"{prefix}_(\d+)", entry.name)
        if entry.is_dir() and match:
            numbered.append((int(match[1]), Path(entry.path)))
        elif entry.is_dir() and not entry.name.startswith("."):
            skipped.append(Skipped(item=f"{where}/{entry.name}", reason=f"stray folder: no {prefix}_<number>"))
    return sorted(numbered)


def _workloads(study: Path, where: str, counted: Collection[str], skipped: list[Skipped]) -> dict[str, Path]:
    """Workload -> its folder in a study; other folders, and workloads that do not count, are named."""
    folders: dict[str, Path] = {}
    for entry in sorted(os.scandir(study), key=lambda e: e.name):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        workload, _, framework = entry.name.rpartition("_")
        if framework not in FRAMEWORKS:
            reason = f"stray folder: no <workload>_<{'|'.join(FRAMEWORKS)}>"
        elif workload not in counted:
            reason = "neither a base workload nor one of the held-outs"
        elif workload in folders:
            reason = f"a second framework; {folders[workload].name} counts"
        else:
            folders[workload] = Path(entry.path)
            continue
        skipped.append(Skipped(item=f"{where}/{entry.name}", reason=reason))
    return folders


def _study_time(
    folder: Path, where: str, target: Target, ruleset: str, skipped: list[Skipped]
) -> tuple[int, float | None]:
    """Trials read, and the study's seconds: inf when all trials missed, None when no trial could be read.

    The trial whose hit has the smallest evaluation index counts; of equal indices the one with the smaller time.
    """
    trials = _numbered(folder, "trial", where, skipped)
    if ruleset == "self-tuning" and len(trials) > 1:
        # A second trial would be tuning off the clock.
        skipped += [
            Skipped(item=f"{where}/{p.name}", reason="self-tuning has one trial per study") for _, p in trials[1:]
        ]
        trials = trials[:1]
    hits, count = [], 0
    for _, trial in trials:
        try:
            hit = first_hit((trial / MEASUREMENTS).read_bytes(), target)
        except FileNotFoundError:
            skipped.append(Skipped(item=f"{where}/{trial.name}", reason=f"no {MEASUREMENTS}"))
            continue
        except OSError as error:
            skipped.append(Skipped(item=f"{where}/{trial.name}", reason=str(error)))
            continue
        except DataError as error:
            skipped.append(Skipped(item=f"{where}/{trial.name}", reason=error.what))
            continue
        count += 1
        if hit is not None:
            hits.append((hit.index, hit.seconds))
    return count, min(hits)[1] if hits else math.inf if count else None


def read_logs(
    logs_dir: str | os.PathLike[str], targets: Mapping[str, Target], ruleset: RulesetName = "external"
) -> Logs:
    """Read a tree of published logs.

    Args:
        logs_dir: the folder of submissions, or one that holds `external_tuning/` and `self_tuning/`.
        targets: workloads that count -> target; folders of other workloads are named as skipped.
        ruleset: `external`, or `self-tuning`, where a study has one trial.

    Raises:
        DataError: no such folder, or no readable trial in it.
        UsageError: an unknown ruleset.
    """
    if ruleset not in RULESETS:
        raise unknown_name_error("ruleset", ruleset, RULESETS)
    root = Path(logs_dir)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", fix="give the folder that holds one folder per submission")
    if (root / RULESETS[ruleset]).is_dir():
        root = root / RULESETS[ruleset]
    skipped: list[Skipped] = []
    studies: dict[str, dict[str, dict[int, float]]] = {}
    counts: dict[tuple[str, str, int], int] = {}
    for submission in sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith(".")):
        for number, study in _numbered(root / submission, "study", submission, skipped):
            folders = _workloads(study, f"{submission}/{study.name}", targets, skipped)
            for workload, folder in folders.items():
                where = f"{submission}/{study.name}/{folder.name}"
                trials, time = _study_time(folder, where, targets[workload], ruleset, skipped)
                if time is not None:
                    studies.setdefault(submission, {}).setdefault(workload, {})[number] = time
                    counts[submission, workload, number] = trials
        if submission not in studies:
            skipped.append(Skipped(item=submission, reason="no readable trial; left out"))
    if not studies:
        expected = f"expected <submission>/study_<k>/<workload>_<framework>/trial_<n>/{MEASUREMENTS}"
        raise DataError(f"no readable trial under {root}", fix="; ".join(map(str, skipped[:3])) or expected)
    skipped += _gaps(studies, counts, list(targets))
    return Logs(studies=studies, trials=sum(counts.values()), skipped=tuple(skipped))


def _gaps(studies: Studies, counts: Mapping[tuple[str, str, int], int], workloads: Sequence[str]) -> list[Skipped]:
    """Missing workloads, and studies and trials short of the most that any submission has."""
    most_studies = max(len(k) for row in studies.values() for k in row.values())
    most_trials = max(counts.values())
    gaps = []
    for submission, row in studies.items():
        for workload in workloads:
            if workload not in row:
                gaps.append(Skipped(item=f"{submission}/{workload}", reason="no logs; acts as a miss"))
                continue
            if len(row[workload]) < most_studies:
                reason = f"{len(row[workload])} of {most_studies} studies; the median is over those"
                gaps.append(Skipped(item=f"{submission}/{workload}", reason=reason))
            for study in row[workload]:
                if counts[submission, workload, study] < most_trials:
                    reason = f"{counts[submission, workload, study]} of {most_trials} trials"
                    gaps.append(Skipped(item=f"{submission}/study_{study}/{workload}", reason=reason))
    return gaps
