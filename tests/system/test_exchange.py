"""The exchange of two folders: in one step, or an error that names the reason."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import StoreError
from harness.storage import staging
from harness.system import exchange
from harness.system.exchange import exchange_folders


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path / "first", tmp_path / "second"


def test_the_folders_change_places(folders: tuple[Path, Path]) -> None:
    exchange_folders(*folders)
    assert [(folder / "file").read_text() for folder in folders] == ["second", "first"]


def lacking(number: int | None) -> SimpleNamespace:
    """A C library on a file system, or in a system, that cannot exchange folders.

    Args:
        number: the error of the call; None if the library has no such function.
    """

    def refuse(*_: object) -> int:
        ctypes.set_errno(number or 0)
        return -1

    return SimpleNamespace() if number is None else SimpleNamespace(renameat2=refuse, renamex_np=refuse)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, None])
def test_a_file_system_without_the_exchange_is_one_line_and_changes_nothing(
    folders: tuple[Path, Path], number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_, **__: lacking(number))  # type: ignore[attr-defined]
    results = folders[0]
    with (
        pytest.raises(
            StoreError, match=r"cannot be replaced in one step: .* \(choose a folder on a local disk"
        ) as caught,
        staging.stage_changes(results) as stage,
    ):
        (stage / "new").touch()
    assert "\n" not in str(caught.value)
    assert [path.name for path in results.iterdir()] == ["file"]
    assert sorted(path.name for path in results.parent.iterdir()) == ["first", "second"]
