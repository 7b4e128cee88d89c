"""The published AlgoPerf logs and tables, where this machine has them."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def algoperf() -> Path:
    """The folder `algoperf` of BENCH_DATA_SOURCE."""
    source = os.environ.get("BENCH_DATA_SOURCE")
    if not source:
        pytest.skip("BENCH_DATA_SOURCE is unset: no published AlgoPerf data")
    folder = Path(source) / "algoperf"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def algoperf_logs(algoperf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published external-tuning logs, unpacked once."""
    folder = tmp_path_factory.mktemp("algoperf_logs")
    with tarfile.open(algoperf / "v05_external_tuning_logs.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder
