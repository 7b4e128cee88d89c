"""Compute the paths of datasets and their files."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from harness.contract.entries import DatasetEntry
from harness.errors import DataError, PluginError
from harness.system.files import is_file_name, write_fix

#: Name of the file in a dataset's folder that records the origin of each file.
PROVENANCE = "provenance.json"


def data_folder() -> Path:
    """Return the folder of all datasets: `BENCH_DATA`, or a folder in the platform's cache folder."""
    setting = os.environ.get("BENCH_DATA")
    return Path(setting).expanduser().absolute() if setting else platformdirs.user_cache_path("algorace") / "data"


def dataset_folder(entry: DatasetEntry) -> Path:
    """Return the folder of a dataset, which need not exist."""
    return data_folder() / _require_file_name(entry.name, entry)


def file_path(entry: DatasetEntry, name: str) -> Path:
    """Return the path of a file or folder of a dataset, which need not exist.

    Raises:
        PluginError: the name is not a plain file name, so the path might be outside the dataset's folder; or it is the
            name of the provenance file.
    """
    return dataset_folder(entry) / _require_file_name(name, entry)


def _require_file_name(name: str, entry: DatasetEntry) -> str:
    if not is_file_name(name) or name == PROVENANCE:
        problem = f"dataset {entry.name!r}: the name {name!r} is reserved, or is not a plain file name"
        raise PluginError(problem, fix="use letters, digits and any of . _ + -")
    return name


def write_error(path: Path, error: OSError) -> DataError:
    """Return the error for a failed write in the data folder."""
    return DataError(f"cannot write {path}: {error.strerror or error}", fix=write_fix(path, error, "BENCH_DATA"))
