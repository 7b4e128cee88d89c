"""Compute the hash of a submission's source. It identifies the code of a run."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from harness.errors import StoreError
from harness.plugins.loading import is_file, split_load
from harness.plugins.locating import locate
from harness.system.files import read_file
from harness.system.python_process import is_editable, is_from_folder

#: Maximum number of files of a library that are hashed for one module. `source_hash` says what is hashed otherwise.
_CLOSURE_LIMIT = 64


def may_change(load: str, distribution: str) -> bool:
    """Return whether code may change without a new version, because it is in a file or an editable installation.

    Args:
        load: import path of the code.
        distribution: name of the distribution that offers the code.

    Raises:
        PluginError: the import path is malformed.
    """
    if is_file(split_load(load)[0]):
        return True
    try:
        return bool(distribution) and is_editable(metadata.distribution(distribution))
    except metadata.PackageNotFoundError:
        return False


def source_hash(loads: Iterable[str]) -> str:
    """Return the SHA-256 of the source files of import paths, such as `torch.optim:Adam`. No module is imported.

    The hash of a module covers the module's own file, and all files of its top-level package that the module imports
    directly or indirectly. An edited helper function therefore changes the hash. There are three exceptions:

    * More than `_CLOSURE_LIMIT` files of a library, such as torch: the hash covers the module's own file and the
      library's version. A library is a package that was installed from an index or a file, and not from a folder.
    * The module's file cannot be found: the hash covers only the package's version.
    * The package is not installed: the hash covers the import path instead of the version.

    Raises:
        PluginError: an import path is malformed.
    """
    return hash_contents(labelled_contents(loads))


def labelled_contents(loads: Iterable[str]) -> list[tuple[str, bytes]]:
    """Return the labels and contents of the files that `source_hash` covers, sorted.

    A label is the name of a file or module, an import path, or `package==version`.

    Raises:
        PluginError: an import path is malformed.
    """
    contents: set[tuple[str, bytes]] = set()
    for load in loads:
        module, _ = split_load(load)
        contents.update(_read_file(Path(module)) if is_file(module) else _read_module(load, module))
    return sorted(contents)


def hash_contents(contents: Iterable[tuple[str, bytes]]) -> str:
    """Return the SHA-256 of labels and contents."""
    digest = hashlib.sha256()
    for label, content in contents:
        digest.update(f"{label}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def is_hashed_whole(module: str) -> bool:
    """Return whether the hash of a module covers all source files that it imports from its package."""
    count = len(import_closure(module))
    return count > 0 and (count <= _CLOSURE_LIMIT or not _is_library(module.partition(".")[0]))


def _read_file(path: Path) -> Iterator[tuple[str, bytes]]:
    # The label is the file's name and not its path, so that the same file in another folder has the same hash.
    yield path.name, _read_content(path.expanduser())


def _read_module(load: str, module: str) -> Iterator[tuple[str, bytes]]:
    files = import_closure(module)
    too_many = len(files) > _CLOSURE_LIMIT and _is_library(module.partition(".")[0])
    for name, path in files.items():
        if not too_many or name == module:
            yield name, _read_content(path)
    if too_many or not files:
        top = module.partition(".")[0]
        try:
            yield f"{top}=={metadata.version(top)}", b""
        except metadata.PackageNotFoundError:
            yield load, b""


def import_closure(module: str) -> dict[str, Path]:
    """Return the files of a module, and of the modules that it imports from its package, directly or indirectly.

    For a library, the search stops when there are more than `_CLOSURE_LIMIT` files.
    """
    path = locate(module)
    if path is None:
        return {}
    files, queue, not_modules = {module: path}, [module], set[str]()
    while queue and (len(files) <= _CLOSURE_LIMIT or not _is_library(module.partition(".")[0])):
        name = queue.pop(0)
        if files[name].suffix != ".py":
            continue
        source = _read_content(files[name])
        imports = _find_imports(name, files[name].name == "__init__.py", source)
        for imported in sorted(imports - files.keys() - not_modules):
            path = locate(imported)
            if path is None:
                not_modules.add(imported)
            else:
                files[imported] = path
                queue.append(imported)
    return files


@functools.cache
def _is_library(top: str) -> bool:
    """Return whether a top-level package was installed from an index or a file.

    A package in a folder of the user may have any content under any version, so it is no library. The harness itself is
    one, wherever it is: every record contains its version.
    """
    if top == __package__.partition(".")[0]:
        return True
    names = metadata.packages_distributions().get(top, ())
    return any(not is_from_folder(metadata.distribution(name)) for name in names)


def _read_content(path: Path) -> bytes:
    try:
        return read_file(path)
    except StoreError:
        return b""


@functools.lru_cache(maxsize=512)
def _find_imports(name: str, is_package: bool, source: bytes) -> frozenset[str]:
    """Return the dotted names of modules and attributes that a module imports from its own top-level package.

    Args:
        name: dotted name of the module.
        is_package: whether the source is the `__init__.py` of a package.
        source: source of the module.
    """
    top = name.partition(".")[0]
    package = name.split(".") if is_package else name.split(".")[:-1]
    imported_names: set[str] = set()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported_names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            imported_names.add(base)
            imported_names.update(f"{base}.{alias.name}" for alias in node.names)
    # Importing a.b.c also imports a and a.b.
    for dotted in [*imported_names, name]:
        parts = dotted.split(".")
        imported_names.update(".".join(parts[:n]) for n in range(1, len(parts)))
    return frozenset(imported for imported in imported_names if imported == top or imported.startswith(f"{top}."))
