"""The limit on the size of a submission's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.contract.limits import MAX_SUBMISSION_BYTES
from harness.errors import UsageError
from harness.plugins.submission_size import check_size
from tests.helpers import spec_of, submission


def test_a_file_that_contains_weights_is_not_planned(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from tests.submissions_for_tests import Base\n")
    spec_of(submission(f"{file}:Base"))
    with open(file, "a") as source:
        source.write("#" * MAX_SUBMISSION_BYTES)
    with pytest.raises(UsageError, match=r"the files of mine are too large: .*2,000,045 bytes.; at most 2,000"):
        spec_of(submission(f"{file}:Base", name="mine"))


def test_data_in_a_package_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "size_of_this_package"
    (package / "data" / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "mine.py").touch()
    (package / "data" / "__pycache__" / "mine.pyc").write_bytes(bytes(MAX_SUBMISSION_BYTES))
    (package / "data" / "weights").write_bytes(bytes(MAX_SUBMISSION_BYTES))
    monkeypatch.syspath_prepend(str(tmp_path))
    check_size("mine", ["size_of_this_package.mine:Mine"])
    (package / "one").write_bytes(b"1")
    check_size.__globals__["_package_size"].cache_clear()
    with pytest.raises(UsageError, match=r"size_of_this_package .2,000,001 bytes."):
        check_size("mine", ["size_of_this_package.mine:Mine", "size_of_this_package:Other"])


def test_a_library_has_no_limit() -> None:
    check_size("adam", ["torch.optim:Adam"])
