"""What every test session does: it records the errors that the code under test constructs, for a check at its end."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from harness.plugins import submission_size
from tests.error_messages import ErrorRecorder, read_errors, write_errors

HERE = Path(__file__).resolve().parent
#: The module whose tests judge the whole session, so that they run after everything else.
LAST = "test_error_messages.py"
#: The folder in which the processes of `make test` leave the errors that they recorded, for the session that judges
#: them; None in other sessions.
_folder = Path(os.environ["RECORDED_ERRORS"]).resolve() if os.environ.get("RECORDED_ERRORS") else None
_recorder = ErrorRecorder()

# No test depends on wall time: on a busy machine, any example may take longer than hypothesis's limit of 0.2 s.
settings.register_profile("algorace", deadline=None)
settings.load_profile("algorace")


_package_size = submission_size._package_size


def _size_of_submission(top: str) -> int:
    return 0 if top == __package__ else _package_size(top)


def pytest_configure() -> None:
    _recorder.install()
    # Tests run submissions of this package, which is not a submission and may be larger than one.
    pytest.MonkeyPatch().setattr(submission_size, "_package_size", _size_of_submission)
    # The processes of pytest-xdist have this variable. The output of commands would then be wrapped.
    os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name == LAST)


def pytest_sessionfinish() -> None:
    if _folder is not None:
        write_errors(_folder, _recorder.errors)


@pytest.fixture(scope="session")
def recorded_errors() -> ErrorRecorder:
    """The errors that the session's code has constructed so far, and those of the processes of `make test`."""
    if _folder is not None:
        _recorder.errors += read_errors(_folder)
    return _recorder


@pytest.fixture
def thawed() -> Iterator[None]:
    """A run's clock takes what exists out of the collector's sight: in one process that has to be undone."""
    yield
    gc.unfreeze()


@pytest.fixture
def is_whole_suite(request: pytest.FixtureRequest) -> bool:
    """Whether every test is being run: nothing but the folder of tests, or one above it, was named.

    It also holds in the second session of `make test`, which judges the errors that all other tests have raised.
    """
    if _folder is not None:
        return True
    options = request.config.option
    named = [Path(argument).resolve() for argument in request.config.args]
    selects = options.keyword or options.markexpr or options.deselect or getattr(options, "lf", False)
    return not selects and any(HERE.is_relative_to(path) for path in named)
