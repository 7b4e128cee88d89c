"""Command line and environment of further Python processes, which import from where this process does.

`python -m` puts the current folder first on the import path: a trial that is started in another checkout would run that
checkout's code, and a stray `queue.py` would break it.
"""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of the harness; see `environment`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def import_path() -> tuple[str, ...]:
    """The import path of this process, with absolute paths."""
    return tuple(os.path.abspath(entry) for entry in sys.path)


def environment() -> dict[str, str]:
    """The environment of this process, with its import path as PYTHONPATH."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
