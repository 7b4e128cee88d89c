"""Build the command line and the environment of child Python processes that have this process's import path.

A child process starts without the module `site` (`-S`). Python then executes neither `.pth` files nor the modules
`sitecustomize` and `usercustomize`, with which any installed package could patch the process. PYTHONPATH gives the
child all folders of this process's import path, including those that `.pth` files added. Some editable installs add an
import hook instead of a folder. `editable_links` makes a folder with links to their packages.

Without `-P`, `python -m` puts the current folder first on the import path. A file `queue.py` in this folder would then
replace the module of the standard library. If the folder is another checkout of AlgoRace, its code would be run.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

_LINKS_PREFIX = "algorace-imports-"


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of the harness. Its process needs the variables of `environment()`."""
    return [sys.executable, "-S", "-P", "-m", module, *arguments]


@functools.cache
def provide_builtins() -> None:
    """Define the functions `exit`, `quit` and `help`, which Python defines only in processes with the module `site`."""
    if sys.flags.no_site:
        # In such a process, importing `site` defines functions but executes no `.pth` files.
        import site

        site.setquit()
        site.sethelper()


def import_path() -> tuple[str, ...]:
    """Return the import path for child processes, as absolute paths: that of this process, and `editable_links`.

    Entries that do not exist are left out. Among them are entries that only an import hook of this process understands.
    """
    entries = (os.path.abspath(entry) for entry in sys.path)
    path = tuple(dict.fromkeys(entry for entry in entries if os.path.exists(entry)))
    links = editable_links(path)
    return (*path, links) if links else path


def environment() -> dict[str, str]:
    """Return the environment variables of this process, with the import path for child processes as PYTHONPATH."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}


@functools.cache
def editable_links(path: tuple[str, ...]) -> str:
    """Return a folder with links to the packages that only import hooks of editable installs find.

    A `.pth` file of such an install executes code that registers the hook. A child process does not execute `.pth`
    files, and finds the package through the link instead. The folder is removed when this process ends.

    Args:
        path: import path on which the packages cannot be found.

    Returns:
        The folder; empty if there are no such packages, or if no temporary folder can be created.
    """
    packages = {name: target for name in _editable_names() if (target := _locate_hooked(name, path)) is not None}
    if not packages:
        return ""
    try:
        folder = tempfile.mkdtemp(prefix=_LINKS_PREFIX)
    except OSError:
        return ""
    atexit.register(_remove, folder, os.getpid())
    for name, target in packages.items():
        with contextlib.suppress(OSError):
            os.symlink(target, Path(folder, name + target.suffix if target.is_file() else name))
    return folder


def iter_editable_links(path: Sequence[str]) -> Iterator[str]:
    """Yield the paths of the links that `editable_links` made, given the result of `import_path`."""
    for folder in path:
        if os.path.basename(folder).startswith(_LINKS_PREFIX):
            with contextlib.suppress(OSError):
                yield from (os.path.join(folder, name) for name in os.listdir(folder))


def _remove(folder: str, owner: int) -> None:
    """Remove a folder at the end of the process that created it. In forked processes, do nothing."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _locate_hooked(name: str, path: Sequence[str]) -> Path | None:
    """Return the path of a top-level module that only an import hook finds; None for any other module."""
    if PathFinder.find_spec(name, path) is not None:
        return None
    try:
        spec = importlib.util.find_spec(name)
    # The code of an import hook may raise anything.
    except Exception:
        return None
    if spec is None:
        return None
    for folder in spec.submodule_search_locations or ():
        if os.path.isdir(folder):
            return Path(folder).absolute()
    return Path(spec.origin).absolute() if spec.origin and os.path.isfile(spec.origin) else None


def _editable_names() -> set[str]:
    """Return the names of the top-level modules of all editable installs that declare them.

    A distribution declares its modules in `top_level.txt`. It also declares the modules of plugins in its entry points.
    """
    return {
        name
        for distribution in metadata.distributions()
        if is_editable(distribution)
        for name in _top_level_names(distribution)
    }


def _top_level_names(distribution: metadata.Distribution) -> Iterator[str]:
    yield from (distribution.read_text("top_level.txt") or "").split()
    for entry_point in distribution.entry_points:
        yield entry_point.value.partition(":")[0].partition(".")[0].strip()


def is_editable(distribution: metadata.Distribution) -> bool:
    """Return whether a distribution is an editable install."""
    return (_folder_details(distribution) or {}).get("editable") is True


def is_from_folder(distribution: metadata.Distribution) -> bool:
    """Return whether a distribution was installed from a folder, such as a checkout, not from an index or a file."""
    return _folder_details(distribution) is not None


def _folder_details(distribution: metadata.Distribution) -> Mapping[str, object] | None:
    """Return the field `dir_info` of the file `direct_url.json` (PEP 610); None if there is no such field."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except (OSError, ValueError):
        return None
    details = origin.get("dir_info") if isinstance(origin, Mapping) else None
    return details if isinstance(details, Mapping) else None
