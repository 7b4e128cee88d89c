"""Find the files of modules without importing them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

_SUFFIX = ".py"


class FileName(NamedTuple):
    """The path of a Python file as the user gave it, and optionally the name of an object in the file."""

    path: str
    name: str | None


def split_file_name(text: str) -> FileName | None:
    """Split `path/to/file.py[:Name]`. Return None if the text does not name a Python file.

    A path may contain colons. A text that ends in `.py` is a path as a whole. In any other text, the name follows the
    last colon.

    >>> split_file_name("12:30/mine.py:Mine"), split_file_name("12:30/mine.py"), split_file_name("torch.optim:Adam")
    (FileName(path='12:30/mine.py', name='Mine'), FileName(path='12:30/mine.py', name=None), None)
    """
    path, colon, name = text.rpartition(":")
    if text.endswith(_SUFFIX):
        return FileName(text, None)
    return FileName(path, name) if colon and path.endswith(_SUFFIX) else None


def is_existing_file(text: str) -> bool:
    """Return whether a text of the form `path/to/file.py[:Name]` names a file that exists."""
    file = split_file_name(text)
    return file is not None and os.path.isfile(os.path.expanduser(file.path))


def locate(module: str) -> Path | None:
    """Return the file of a module, or None if the file cannot be found. Nothing is imported.

    For a dotted name, `importlib.util.find_spec` would import the packages that contain the module. `find_spec` is
    therefore called only for the top-level package, which it also finds in editable installs. The module's file is then
    looked for in the folders of this package.
    """
    top, *submodules = module.split(".")
    folders, origin = locate_top(top)
    if not submodules:
        return origin
    for folder in folders:
        base = Path(folder, *submodules)
        for candidate in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if candidate.is_file():
                return candidate
    return None


def locate_top(top: str) -> tuple[tuple[str, ...], Path | None]:
    """Return the folders of a top-level package, and the file that an import of the package executes.

    * For a module in a single file, there are no folders.
    * For a namespace package, the file is None.
    * If no module has this name, there are no folders, and the file is None.
    """
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return (), None
    if spec is None:
        return (), None
    origin = Path(spec.origin) if spec.has_location and spec.origin else None
    return tuple(spec.submodule_search_locations or ()), origin
