"""Reads AlgoPerf's published logs, and computes times to target by AlgoPerf's rules.

The files are `<submission>/study_<k>/<workload>_<framework>/trial_<n>/eval_measurements.csv`. The result lists the
skipped files and folders.

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

from harness.contract.limits import parse_number
from harness.contract.workload import Target
from harness.errors import DataError, StoreError, unknown_name_error
from harness.scoring.scores import Skipped, workload_time
from harness.system.files import read_file

RulesetName = Literal["external", "self-tuning"]
#: submission -> workload -> study -> seconds to target; inf is a miss.
Studies = Mapping[str, Mapping[str, Mapping[int, float]]]
#: Ruleset -> its folder in AlgoPerf's published logs.
RULESETS: dict[str, str] = {"external": "external_tuning", "self-tuning": "self_tuning"}
FRAMEWORKS = ("jax", "pytorch")
MEASUREMENTS = "eval_measurements.csv"
_FIX = "download the trial's logs again, or remove its folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """The first evaluation of a trial that met the target.

    Args:
        index: index of the evaluation's row, from 0.
        seconds: time of the evaluation in seconds.
    """

    index: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """The contents of a folder of logs.

    Args:
        studies: times to target by submission, workload and study.
        trials: number of trials read.
        skipped: files and folders that were skipped or are missing, with the reasons.
    """

    studies: Studies
    trials: int
    skipped: tuple[Skipped, ...]

    def times(self) -> dict[str, dict[str, float]]:
        """Return submission -> workload -> median over studies in seconds. Workloads without a trial have no item."""
        return {s: {w: workload_time(list(k.values())) for w, k in row.items()} for s, row in self.studies.items()}


def first_hit(data: bytes, target: Target) -> Hit | None:
    """Return the first row of an `eval_measurements.csv` that meets a target; None if no row meets it.

    Rows without a metric are skipped, but the index of a row counts them. An incomplete last row is also skipped: it
    has too few fields and no line break, because the run ended while the row was being written. Rows after the hit are
    not read.

    Args:
        data: content of the file.
        target: the target. Its metric is in the column `validation/<metric>`.

    Raises:
        DataError: the file is empty or not a CSV file, a column is missing or given twice, or no row is complete. Also
            if a row does not match the header, a metric is not a number, or the time at the hit is not positive.
    """
    try:
        return _first_hit(_rows(data), target, may_end_early=not data.endswith((b"\n", b"\r")))
    except csv.Error as error:
        raise DataError(f"the file is not a CSV file: {error}", fix=_FIX) from None


def _first_hit(rows: Iterator[list[bytes]], target: Target, *, may_end_early: bool) -> Hit | None:
    """Return the first hit (see `first_hit`). `may_end_early`: whether the last row may be incomplete."""
    header = next(rows, [])
    columns = (b"score", b"validation/" + target.metric.encode())
    missing = [name.decode() for name in columns if name not in header]
    if not header or missing:
        raise DataError(f"no column {' and no '.join(missing)}" if header else "the file is empty", fix=_FIX)
    for name in columns:
        if header.count(name) > 1:
            raise DataError(f"the column {name.decode()} is given twice", fix=_FIX)
    time_column, metric_column, width = *map(header.index, columns), len(header)
    sign = 1.0 if target.goal == "max" else -1.0
    goal = sign * target.value
    complete_rows = 0
    for index, row in enumerate(rows):
        if len(row) != width:
            if may_end_early and len(row) < width and next(rows, None) is None:
                break
            raise DataError(f"row {index} has {len(row)} fields, but the header has {width}", fix=_FIX)
        complete_rows += 1
        # An empty field (the evaluation did not measure the metric) does not meet the target. Neither does `nan`.
        if row[metric_column] and sign * _metric(row[metric_column], index) >= goal:
            return Hit(index=index, seconds=_seconds(row[time_column], index))
    if not complete_rows:
        raise DataError("the file has a header and no complete row", fix=_FIX)
    return None


def _rows(data: bytes) -> Iterator[list[bytes]]:
    """Split a file into rows of byte fields.

    A file without quotes is split at commas, which is much faster than the csv module.
    """
    if b'"' in data:
        text = data.decode("utf-8", errors="replace").splitlines()
        return ([field.encode() for field in row] for row in csv.reader(text))
    return (line.split(b",") for line in data.splitlines() if line)


def _metric(field: bytes, index: int) -> float:
    text = field.decode(errors="replace")
    try:
        return parse_number(text)
    except ValueError:
        raise DataError(f"row {index} has the metric {text!r}, which is not a number", fix=_FIX) from None


def _seconds(field: bytes, index: int) -> float:
    text = field.decode(errors="replace")
    try:
        seconds = parse_number(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        problem = f"row {index} meets the target at the time {text!r}, which is not positive"
        raise DataError(problem, fix=_FIX)
    return seconds


def _list_folders(folder: Path, where: str, skipped: list[Skipped]) -> list[os.DirEntry[str]]:
    """Return the subfolders of a folder, sorted by name. If the folder cannot be listed, it is added to `skipped`."""
    try:
        return sorted(filter(_is_folder, os.scandir(folder)), key=lambda entry: entry.name)
    except OSError as error:
        skipped.append(Skipped(item=where, reason=f"cannot list the folder: {error.strerror or error}"))
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether a directory entry is a folder that is not hidden. A link that leads to itself is not a folder."""
    try:
        return entry.is_dir() and not entry.name.startswith(".")
    except OSError:
        return False


def _numbered(folder: Path, prefix: str, where: str, skipped: list[Skipped]) -> list[tuple[int, Path]]:
    """Return the subfolders `<prefix>_<number>`, sorted by number. Other subfolders are added to `skipped`."""
    numbered = []
    for entry in _list_folders(folder, where, skipped):
        match = re.fullmatch(rf"{prefix}_(\d+)", entry.name)
        if match:
            numbered.append((int(match[1]), Path(entry.path)))
        else:
            skipped.append(Skipped(item=f"{where}/{entry.name}", reason=f"stray folder: not {prefix}_<number>"))
    return sorted(numbered)


def _workloads(study: Path, where: str, counted: Collection[str], skipped: list[Skipped]) -> dict[str, Path]:
    """Return workload -> folder of the workload in a study. Other folders are added to `skipped`."""
    folders: dict[str, Path] = {}
    for entry in _list_folders(study, where, skipped):
        workload, _, framework = entry.name.rpartition("_")
        if framework not in FRAMEWORKS:
            reason = f"stray folder: not <workload>_<{'|'.join(FRAMEWORKS)}>"
        elif workload not in counted:
            reason = "neither a base workload nor a held-out variant"
        elif workload in folders:
            reason = f"a second framework; {folders[workload].name} is scored"
        else:
            folders[workload] = Path(entry.path)
            continue
        skipped.append(Skipped(item=f"{where}/{entry.name}", reason=reason))
    return folders


def _study_time(
    folder: Path, where: str, target: Target, ruleset: str, skipped: list[Skipped]
) -> tuple[int, float | None]:
    """Return the number of trials read, and the time of the study in seconds.

    The time of the study is the time of the trial that hit at the smallest evaluation index. If several trials hit at
    this index, the smallest of their times is used. The time is inf if all trials missed, and None if no trial could be
    read.
    """
    trials = _numbered(folder, "trial", where, skipped)
    if ruleset == "self-tuning" and len(trials) > 1:
        # The best of several trials would be the result of a tuning, whose time is not measured.
        skipped += [
            Skipped(item=f"{where}/{p.name}", reason="self-tuning has one trial per study") for _, p in trials[1:]
        ]
        trials = trials[:1]
    hits, count = [], 0
    for _, trial in trials:
        try:
            if not os.path.lexists(trial / MEASUREMENTS):
                raise DataError(f"the trial has no {MEASUREMENTS}", fix=_FIX)
            hit = first_hit(read_file(trial / MEASUREMENTS), target)
        except (DataError, StoreError) as error:
            skipped.append(Skipped(item=f"{where}/{trial.name}", reason=error.what))
            continue
        count += 1
        if hit is not None:
            hits.append((hit.index, hit.seconds))
    if hits:
        return count, min(hits)[1]
    return count, math.inf if count else None


def read_logs(
    logs_dir: str | os.PathLike[str], targets: Mapping[str, Target], ruleset: RulesetName = "external"
) -> Logs:
    """Read a folder of published logs.

    Args:
        logs_dir: folder with one folder per submission, or folder with `external_tuning/` and `self_tuning/`.
        targets: workload -> target, for every workload to score. Other workloads are skipped.
        ruleset: `external` or `self-tuning`; with `self-tuning` only the first trial of a study is read.

    Raises:
        DataError: the folder does not exist or has no readable trial.
        UsageError: the ruleset is unknown.
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
    entries = _list_folders(root, root.name, skipped)
    for submission in (entry.name for entry in entries):
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
        raise DataError(f"no readable trial in {root}", fix="; ".join(map(str, skipped[:3])) or expected)
    skipped += _find_gaps(studies, counts, list(targets))
    return Logs(studies=studies, trials=sum(counts.values()), skipped=tuple(skipped))


def _find_gaps(studies: Studies, counts: Mapping[tuple[str, str, int], int], workloads: Sequence[str]) -> list[Skipped]:
    """Return the workloads that are missing, or that have fewer studies or trials than other workloads in the logs."""
    max_studies = max(len(k) for row in studies.values() for k in row.values())
    max_trials = max(counts.values())
    gaps = []
    for submission, row in studies.items():
        for workload in workloads:
            if workload not in row:
                gaps.append(Skipped(item=f"{submission}/{workload}", reason="no logs; counts as a miss"))
                continue
            if len(row[workload]) < max_studies:
                reason = f"{len(row[workload])} of {max_studies} studies; the median is over these studies"
                gaps.append(Skipped(item=f"{submission}/{workload}", reason=reason))
            for study in row[workload]:
                if counts[submission, workload, study] < max_trials:
                    reason = f"{counts[submission, workload, study]} of {max_trials} trials"
                    gaps.append(Skipped(item=f"{submission}/study_{study}/{workload}", reason=reason))
    return gaps
