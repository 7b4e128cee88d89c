"""Precision and threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cheats.pipeline import honest, is_rejected, linux, run
from tests.cheats.threats import threat


@threat(
    way="lowers the precision of matrix products within forward passes",
    verdict="caught",
    by="rule `numeric_settings`, which also checks within passes",
)
def test_precision_in_forward(tmp_path: Path) -> None:
    is_rejected(run("precision:PrecisionInForward", tmp_path), "within a pass")


@threat(
    way="lowers the precision of one backend's convolutions or matrix products, or changes the default device, in the "
    "middle of forward passes only",
    verdict="caught",
    by="rule `numeric_settings`",
)
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("ConvolutionPrecisionInForward", "mkldnn conv precision"),
        ("MatrixPrecisionInForward", "matmul precision"),
        ("DeviceInForward", "default device"),
    ],
)
def test_backend_settings_in_forward(name: str, setting: str, tmp_path: Path) -> None:
    record = run(f"precision:{name}", tmp_path)
    is_rejected(record, "within a pass")
    assert setting in record.reason


@threat(
    way="lets the processor treat denormal numbers as zero, in the whole run or in forward passes only",
    verdict="caught",
    by="rule `numeric_settings`",
)
@pytest.mark.parametrize("name", ["FlushedDenormals", "FlushedDenormalsInForward"])
def test_flushed_denormals(name: str, tmp_path: Path) -> None:
    is_rejected(run(f"precision:{name}", tmp_path), "the treatment of denormal numbers was changed")


@threat(way="uses more threads within backward passes", verdict="caught", by="rule `numeric_settings`")
def test_threads_in_backward(tmp_path: Path) -> None:
    is_rejected(run("precision:ThreadsInBackward", tmp_path), "number of threads was changed")


@threat(way="enters autocast in hooks around forward passes", verdict="caught", by="rule `numeric_settings`")
def test_autocast_in_forward(tmp_path: Path) -> None:
    is_rejected(run("precision:AutocastInForward", tmp_path), "autocast was enabled within a pass")


@threat(way="changes the default dtype in its constructor", verdict="caught", by="rule `numeric_settings`")
def test_default_dtype(tmp_path: Path) -> None:
    is_rejected(run("precision:SetAtImport", tmp_path), "default dtype")


@linux
@threat(
    way="uses more threads between passes",
    verdict="made useless",
    by="the process seconds of all threads are scored",
)
def test_threads_outside_passes(tmp_path: Path) -> None:
    record = run("precision:ThreadsOutsidePasses", tmp_path)
    assert record.status == "reached", record.reason
    assert record.counters.process_seconds > 1.5 * honest().counters.process_seconds
