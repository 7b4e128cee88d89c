"""Workers import the tests from the folder of the repository."""

from __future__ import annotations

import pytest

from tests.cheats.pipeline import set_import_path


@pytest.fixture(autouse=True)
def _import_path() -> None:
    set_import_path()
