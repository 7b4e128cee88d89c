"""The file of best known settings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from harness.contract.entries import SubmissionEntry
from harness.errors import UsageError
from harness.tuning.best_settings import BestSetting, read_best_settings, write_best_setting
from harness.tuning.known_settings import KnownSettings
from tests import micro

SETTING = BestSetting(
    submission="a@1", source_hash="0", tier="cpu", workloads=("w@1",), hparams={"lr": 0.1}, by="metric", trials=3,
    studies=1, hardware="cpu-x", run_ids=(), runs=3, core_minutes=1.0, found="2026-01-01",
)  # fmt: skip


def test_commands_that_store_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    settings = [msgspec.structs.replace(SETTING, submission=f"s{i}@1") for i in range(24)]
    with ThreadPoolExecutor(12) as pool:
        replaced = list(pool.map(lambda setting: write_best_setting(path, setting), settings))
    assert replaced == [None] * 24
    assert {setting.submission for setting in read_best_settings(path).settings} == {f"s{i}@1" for i in range(24)}


def test_a_setting_replaces_that_of_the_same_submission(tmp_path: Path) -> None:
    path, better = tmp_path / "best.json", msgspec.structs.replace(SETTING, hparams={"lr": 0.2})
    write_best_setting(path, SETTING)
    assert write_best_setting(path, better) == SETTING
    assert read_best_settings(path).settings == (better,)
    with pytest.raises(UsageError, match="is not a folder"):
        write_best_setting(tmp_path / "missing" / "best.json", SETTING)


def test_two_files_of_equal_name_have_their_own_settings(tmp_path: Path) -> None:
    """A gate may compare an edit with its original, which has the same file name in another folder."""
    path = tmp_path / "best.json"
    for folder, rate in (("a", 0.1), ("b", 0.2)):
        setting = msgspec.structs.replace(
            SETTING, submission="mine@1", load=f"{folder}/mine.py:Mine", hparams={"lr": rate}
        )
        write_best_setting(path, setting)
    known = KnownSettings(path)
    files = [tmp_path / folder / "mine.py" for folder in ("a", "b", "c")]
    entries = [SubmissionEntry(name="mine", summary="", load=f"{file}:Mine") for file in files]
    assert [known.values(entry, micro.ENTRY) for entry in entries] == [{"lr": 0.1}, {"lr": 0.2}, {}]
    first, second, missing = known.lines([])
    assert ("lr=0.1" in first, "lr=0.2" in second, "no best known setting" in missing) == (True, True, True)
