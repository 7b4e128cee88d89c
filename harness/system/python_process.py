"""How a further Python process of the harness is started: with this one's imports and none of the folder it stands in.

`python -m` puts the current folder first among the places to import from: a trial that is started in another checkout
would run that one's code under this one's name, and a stray `queue.py` would break it.
"""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of the harness; see `environment`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def import_path() -> tuple[str, ...]:
    """Where this process imports from, as absolute paths."""
    return tuple(os.path.abspath(entry) for entry in sys.path)


def environment() -> dict[str, str]:
    """This process's environment, with its places to import from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
