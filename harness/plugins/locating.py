"""Find the files of modules without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def locate(module: str) -> Path | None:
    """Return the file of a module without importing the module or its parents, or None if it cannot be found.

    For a dotted name, `find_spec` would import the parents of the module. Therefore `find_spec` is called only for the
    top-level package, which it also finds in an editable install. The path of the module is derived from the path of
    that package.
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
    """Return the folders of a top-level package, and the file that its import executes.

    A single-file module has no folders. The file is None for a namespace package. If no module has the name, there
    are no folders and no file.
    """
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return (), None
    if spec is None:
        return (), None
    origin = Path(spec.origin) if spec.has_location and spec.origin else None
    return tuple(spec.submodule_search_locations or ()), origin
