"""The limit on the size of a submission's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.contract.limits import MAX_SUBMISSION_BYTES
from harness.errors import UsageError
from harness.plugins import submission_size
from harness.plugins.source_hash import source_hash
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
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, size in (("as_large_as_allowed", MAX_SUBMISSION_BYTES), ("too_large", MAX_SUBMISSION_BYTES + 1)):
        data = tmp_path / name / "data"
        (data / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "mine.py").touch()
        (data / "__pycache__" / "mine.pyc").write_bytes(bytes(MAX_SUBMISSION_BYTES))
        (data / "weights").write_bytes(bytes(size))
    check_size("mine", ["as_large_as_allowed.mine:Mine", "as_large_as_allowed:Other"])
    with pytest.raises(UsageError, match=r"too_large .2,000,001 bytes."):
        check_size("mine", ["too_large.mine:Mine", "too_large:Other"])


def test_a_package_with_many_modules_is_no_library_unless_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "many_modules"
    package.mkdir()
    names = [f"part_{number}" for number in range(70)]
    (package / "__init__.py").touch()
    for name in names:
        (package / f"{name}.py").write_text("A = 1\n")
    (package / "mine.py").write_text("".join(f"from many_modules import {name}\n" for name in names))
    before = source_hash(["many_modules.mine:Mine"])
    (package / "part_69.py").write_text("A = 2\n")
    assert source_hash(["many_modules.mine:Mine"]) != before
    (package / "weights").write_bytes(bytes(MAX_SUBMISSION_BYTES))
    with pytest.raises(UsageError, match=r"many_modules .2,00\d,\d+ bytes."):
        check_size("mine", ["many_modules.mine:Mine"])


def test_the_package_of_the_tests_is_not_a_submission() -> None:
    assert submission_size._package_size("tests") == 0
    assert submission_size._package_size("harness") > 0


def test_a_library_has_no_limit() -> None:
    check_size("adam", ["torch.optim:Adam"])
    check_size("sgd", ["harness.testing.recipes:SGD"])
