"""Build the command line and the environment of child Python processes that have this process's import path.

`python -m` puts the current folder first on the import path. A trial that is started in another checkout would then run
that checkout's code. Likewise, a file `queue.py` in the current folder would replace the standard library's module.
"""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of the harness. Its process needs the variables of `environment()`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def import_path() -> tuple[str, ...]:
    """Return the import path of this process, as absolute paths."""
    return tuple(os.path.abspath(entry) for entry in sys.path)


def environment() -> dict[str, str]:
    """Return the environment variables of this process, with its import path as PYTHONPATH."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
