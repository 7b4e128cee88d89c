"""The hash of a submission's source: what makes two runs runs of the same code."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from harness.plugins.loading import is_file, split_load
from harness.plugins.locating import locate

#: A package of whose modules more than this are imported is identified by its version, not by its files.
_CLOSURE_LIMIT = 64


def source_hash(loads: Iterable[str]) -> str:
    """SHA-256 of the source behind import paths, computed without importing it.

    For a module its file is hashed, and the files of the same top-level package that it imports, directly or not, so
    that an edited helper changes the hash. For a package with very many of these (torch), or whose files cannot be
    found, its version is hashed instead.

    Raises:
        PluginError: an import path is malformed.
    """
    pieces: set[tuple[str, bytes]] = set()
    for load in loads:
        module, _ = split_load(load)
        pieces.update(_read_file(Path(module)) if is_file(module) else _read_module(load, module))
    digest = hashlib.sha256()
    for label, content in sorted(pieces):
        digest.update(f"{label}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _read_file(path: Path) -> Iterator[tuple[str, bytes]]:
    # Labelled by its name, not its path: the same file in another folder is the same source.
    yield path.name, _content(path.expanduser())


def _read_module(load: str, module: str) -> Iterator[tuple[str, bytes]]:
    files = _import_closure(module)
    pinned = len(files) > _CLOSURE_LIMIT
    for name, path in files.items():
        if not pinned or name == module:
            yield name, _content(path)
    if pinned or not files:
        top = module.partition(".")[0]
        try:
            yield f"{top}=={metadata.version(top)}", b""
        except metadata.PackageNotFoundError:
            yield load, b""


def _import_closure(module: str) -> dict[str, Path]:
    """A module and the modules of its top-level package that it imports, directly or not, up to `_CLOSURE_LIMIT`."""
    path = locate(module)
    if path is None:
        return {}
    files, queue, absent = {module: path}, [module], set[str]()
    while queue and len(files) <= _CLOSURE_LIMIT:
        name = queue.pop(0)
        if files[name].suffix != ".py":
            continue
        source = _content(files[name])
        for new in sorted(_find_imports(name, files[name].name == "__init__.py", source) - files.keys() - absent):
            path = locate(new)
            if path is None:
                absent.add(new)
            else:
                files[new] = path
                queue.append(new)
    return files


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _find_imports(name: str, is_package: bool, source: bytes) -> set[str]:
    """Names of its top-level package that a module imports: modules, and attributes, for which no file exists."""
    top = name.partition(".")[0]
    package = name.split(".") if is_package else name.split(".")[:-1]
    names: set[str] = set()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    # Importing a.b.c imports a and a.b, too.
    for dotted in [*names, name]:
        parts = dotted.split(".")
        names.update(".".join(parts[:n]) for n in range(1, len(parts)))
    return {imported for imported in names if imported == top or imported.startswith(f"{top}.")}
