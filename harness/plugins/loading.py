"""From load strings (`package.module:Name`, `/path/file.py:Name`) to objects, and to a hash of their source."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.contract.domains import Scalar
from harness.errors import PluginError


def keywords_for(part: Callable[..., Any], hparams: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Those hyperparameters that `part` names as arguments (all of them when it takes `**kwargs`)."""
    parameters = inspect.signature(part).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(hparams)
    names = {p.name for p in parameters}
    return {k: v for k, v in hparams.items() if k in names}


#: A package whose modules import more files of it than this is pinned by its version, not by its files.
_CLOSURE_LIMIT = 64


def load_object(load: str) -> Any:
    """Import what a load string names.

    Args:
        load: `package.module:Name`, or `/path/file.py:Name` for a file that no package holds.

    Raises:
        PluginError: it does not import, or there is no such name in it; the message says which load string, and where.
    """
    module_name, name = split_load(load)
    try:
        module = import_file(Path(module_name)) if is_file(module_name) else importlib.import_module(module_name)
        return reduce(getattr, name.split("."), module)
    except (Exception, SystemExit) as error:
        raise PluginError(f"cannot load {load}: {format_error(error)}") from error


def load_entry_point(value: str) -> Any:
    """Import what an entry point's value names: a module, or `module:object`.

    Raises:
        BaseException: whatever the import raises.
    """
    module, _, attribute = value.partition("[")[0].partition(":")
    names = [name for name in attribute.strip().split(".") if name]
    return reduce(getattr, names, importlib.import_module(module.strip()))


def split_load(load: str) -> tuple[str, str]:
    """Module (or file) and name of a load string.

    Raises:
        PluginError: it is not of the form `module:Name`.

    >>> split_load("bench_mine.task:MyTask")
    ('bench_mine.task', 'MyTask')
    """
    module, colon, name = load.rpartition(":")
    if not (colon and module and name):
        raise PluginError(f"{load!r} is no load string", fix="write it as package.module:Name")
    return module, name


def is_file(module: str) -> bool:
    """Whether the module part of a load string is a file's path."""
    return module.endswith(".py")


def import_file(path: Path) -> ModuleType:
    """Execute a file as a module, once per process; its module name follows from its path.

    Raises:
        Exception: whatever the file raises; FileNotFoundError when there is none.
    """
    path = path.expanduser().resolve()
    name = f"bench_file_{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, f"{path} is no Python file"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Before it runs, because dataclasses and pickle look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


# --- errors in other people's code ----------------------------------------------------------------------------------


def format_error(error: BaseException, within: str = "") -> str:
    """An exception as one line: type, message, and where it came from.

    Args:
        within: a folder; the innermost frame inside it is named, rather than one in a library that it called.

    >>> format_error(ValueError("two\\nlines"))
    'ValueError: two lines'
    """
    if isinstance(error, SyntaxError):
        message, file, line = error.msg, error.filename, error.lineno
    else:
        message = str(error)
        file, line = _innermost_frame(error, within)
    text = f"{type(error).__name__}: {' '.join(message.split())}".removesuffix(": ")
    if len(text) > 300:
        text = f"{text[:299]}…"
    return f"{text} ({Path(file).name}, line {line})" if file and line else text


def _innermost_frame(error: BaseException, within: str) -> tuple[str, int]:
    place, inside, trace = ("", 0), ("", 0), error.__traceback__
    own = str(Path(__file__).parents[1])
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if not file.startswith(("<frozen", own)) and Path(file).parent.name != "importlib":
            place = (file, line)
            inside = place if within and file.startswith(within) else inside
        trace = trace.tb_next
    return inside if inside[0] else place


# --- where source lies, without importing it ------------------------------------------------------------------------


def locate(module: str) -> Path | None:
    """The file of a module, found without importing it or its parents; None when it cannot be told.

    `find_spec` on a dotted name imports the parents, so only the top-level name is looked up (that also finds
    editable installs) and the rest is path arithmetic.
    """
    top, *rest = module.split(".")
    folders, origin = locate_top(top)
    if not rest:
        return origin
    for folder in folders:
        base = Path(folder, *rest)
        for candidate in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if candidate.is_file():
                return candidate
    return None


def locate_top(top: str) -> tuple[tuple[str, ...], Path | None]:
    """The folders of a top-level package (none for a single module), and the file it starts with, if any."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return (), None
    if spec is None:
        return (), None
    origin = Path(spec.origin) if spec.has_location and spec.origin else None
    return tuple(spec.submodule_search_locations or ()), origin


def source_hash(loads: Iterable[str]) -> str:
    """SHA-256 over the source that load strings name, without importing it.

    Of a module: its file and, as far as it imports them, files of the same top-level package, so that an edited
    helper counts. Of a package with very many of these (torch), or whose files cannot be found: its version.

    Raises:
        PluginError: a load string is malformed.
    """
    pieces: set[tuple[str, bytes]] = set()
    for load in loads:
        module, _ = split_load(load)
        pieces.update(_file_piece(Path(module)) if is_file(module) else _module_pieces(load, module))
    digest = hashlib.sha256()
    for label, content in sorted(pieces):
        digest.update(f"{label}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _file_piece(path: Path) -> Iterator[tuple[str, bytes]]:
    # By its name and not its path: the same file on another machine is the same source.
    yield path.name, _content(path.expanduser())


def _module_pieces(load: str, module: str) -> Iterator[tuple[str, bytes]]:
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
    """The modules of one top-level package that `module` leads to; stops once they are over the limit."""
    path = locate(module)
    if path is None:
        return {}
    files, queue, absent = {module: path}, [module], set[str]()
    while queue and len(files) <= _CLOSURE_LIMIT:
        name = queue.pop(0)
        if files[name].suffix != ".py":
            continue
        source = _content(files[name])
        for new in sorted(_imports(name, files[name].name == "__init__.py", source) - files.keys() - absent):
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


def _imports(name: str, is_package: bool, source: bytes) -> set[str]:
    """Modules of its own top-level package that a module may import; attributes are among them, and match no file."""
    top = name.partition(".")[0]
    package = name.split(".") if is_package else name.split(".")[:-1]
    found: set[str] = set()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    # Importing a.b.c runs a and a.b too.
    for dotted in [*found, name]:
        pieces = dotted.split(".")
        found.update(".".join(pieces[:n]) for n in range(1, len(pieces)))
    return {one for one in found if one == top or one.startswith(f"{top}.")}
