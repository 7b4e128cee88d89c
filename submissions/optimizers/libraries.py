"""Optional libraries: imported when a part is loaded, off the clock, and named with their extra when absent."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from harness.api import BenchError

F = TypeVar("F", bound=Callable[..., Any])


def wraps(library: str, extra: str = "optimizers") -> Callable[[F], F]:
    """For a part that wraps a library: its `prepare` imports it, where a long import costs no run any time.

    Args:
        library: the name it is imported by.
        extra: the extra of this distribution that installs it.
    """

    def decorate(part: F) -> F:
        # mypy knows no attributes of functions.
        setattr(part, "prepare", lambda: require(library, part.__name__, extra))  # noqa: B010
        return part

    return decorate


def require(library: str, part: str, extra: str = "optimizers") -> Any:
    """The module.

    Raises:
        BenchError: the library is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError:
        raise BenchError(
            f"{part.replace('_', '-')} needs the library {library}, which is not installed",
            fix=f'pip install "algorace[{extra}]"',
        ) from None
