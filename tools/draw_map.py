"""Draw the structure of `harness/` from its imports, and list its files in harness/README.md.

usage: python -m tools.draw_map [--check]

The command writes harness/map.svg and the generated block of harness/README.md. With `--check`, it writes nothing,
prints the names of the stale files, and returns exit code 1 if a file is stale.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grimp

from tools.generated_block import replace_block
from tools.layered_graph import Box, Graph, svg

#: The folders in the order in which a trial passes through them. Other folders are listed after these.
PIPELINE = (
    "cli",
    "planning",
    "execution",
    "worker",
    "storage",
    "scoring",
    "report",
    "calibration",
    "gating",
    "contract",
)
ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "harness"
PICTURE, PAGE = Path(PACKAGE, "map.svg"), Path(PACKAGE, "README.md")
CAPTION = (
    "A solid arrow leads from a folder to another folder whose files it imports. An import is not drawn if a chain"
    " of other arrows connects the same folders. A dashed arrow means that modules are started or loaded by name."
)
#: Functions whose first argument may be the name of a module to start or import.
STARTERS = {"command", "import_module"}

Arrow = tuple[str, str]


def main(arguments: Sequence[str]) -> int:
    """Write the stale files; with `--check`, print their names instead. Return the exit code."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    stale = [(path, content) for path, content in generated(ROOT).items() if content != _read(ROOT / path)]
    for path, content in stale:
        if arguments:
            print(f"stale: {path}; run `make map` and commit the file", file=sys.stderr)
        else:
            (ROOT / path).write_text(content, encoding="utf-8")
            print(f"written: {path}")
    return 1 if arguments and stale else 0


def generated(root: Path) -> Mapping[Path, str]:
    """Return a mapping from the path of each generated file in the repository to its content."""
    page = replace_block(_read(root / PAGE), "files", "python -m tools.draw_map", file_list(root))
    return {PICTURE: svg(folder_graph(root)), PAGE: page}


def folder_graph(root: Path) -> Graph:
    """Return the graph of the folders, with the layers of the import contract as rows.

    The graph has no arrow between two folders that a chain of other arrows connects.
    """
    rows = layers(root)
    row_of = {name: index for index, row in enumerate(rows) for name in row}
    imports = folder_imports()
    if unknown := {name for arrow in imports for name in arrow} - set(row_of):
        raise SystemExit(f"{', '.join(sorted(unknown))}: found in {PACKAGE}/, but in no layer of the import contract")
    down = sorted(arrow for arrow in imports if row_of[arrow[0]] <= row_of[arrow[1]])
    up = imports - set(down)
    return Graph(
        boxes={name: _box(root, name) for name in row_of},
        rows=rows,
        arrows=[arrow for arrow in down if not _has_chain(arrow, down)],
        dashed=sorted({*up, *folder_starts(root)} - set(down)),
        caption=CAPTION,
    )


def layers(root: Path) -> list[list[str]]:
    """Return the layers of the import contract in pyproject.toml, from top to bottom."""
    settings = tomllib.loads(_read(root / "pyproject.toml"))["tool"]["importlinter"]
    contract = next(contract for contract in settings["contracts"] if contract["type"] == "layers")
    return [re.findall(r"\w+", layer) for layer in contract["layers"]]


def folder_imports() -> set[Arrow]:
    """Return the pairs (a, b) of folders such that a file in `a` imports a file in `b`.

    Imports for type checking do not count.
    """
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    arrows = {
        (_folder(module), _folder(imported))
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    return {(a, b) for a, b in arrows if a != b and PACKAGE not in (a, b)}


def folder_starts(root: Path) -> set[Arrow]:
    """Return the pairs (a, b) of folders such that a file in `a` starts or loads a module of `b` by its name."""
    arrows = set()
    for path in python_files(root):
        tree = ast.parse(_read(path))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _function_name(node) in STARTERS]
        expressions = [call.args[0] for call in calls if call.args]
        # A module that is imported later may be a value of a dictionary.
        expressions += [value for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values]
        folder = _folder(_module_name(root, path))
        for expression in expressions:
            if isinstance(expression, ast.Constant) and str(expression.value).startswith(f"{PACKAGE}."):
                arrows.add((folder, _folder(str(expression.value))))
    return {(a, b) for a, b in arrows if a != b and a != PACKAGE}


def file_list(root: Path) -> str:
    """Return a Markdown table of all folders and files, each with the first sentence of its docstring."""
    names = [name for row in layers(root) for name in row]
    single_files = [name for name in names if not (root / PACKAGE / name).is_dir()]
    lines = ["| file | what it is |", "|---|---|"]
    lines += [f"| `{name}.py` | {_sentence(root / PACKAGE / f'{name}.py')} |" for name in sorted(single_files)]
    folders = [name for name in names if name not in single_files]
    for name in sorted(folders, key=lambda name: (PIPELINE.index(name) if name in PIPELINE else len(PIPELINE), name)):
        lines += [f"| **`{name}/`** | **{_sentence(root / PACKAGE / name / '__init__.py')}** |"]
        for path in _files(root / PACKAGE / name):
            label = path.relative_to(root / PACKAGE).as_posix()
            if path.name != "__init__.py":
                lines.append(f"| `{label}` | {_sentence(path)} |")
            elif path.parent.name != name:
                lines.append(f"| `{label.removesuffix('__init__.py')}` | {_sentence(path)} |")
    return "\n".join(lines)


def python_files(root: Path) -> Iterator[Path]:
    """Yield every Python file of the package."""
    return (path for path in _files(root / PACKAGE) if path.suffix == ".py")


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring, in one line and without its full stop."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"\.(?=\s+[A-Z`]|$)", paragraph, maxsplit=1)[0]


def _files(folder: Path) -> list[Path]:
    """Return the Python and data files below a folder, first those in the folder itself."""
    paths = [path for path in folder.rglob("*") if path.suffix in {".py", ".yaml"}]
    return sorted(
        paths, key=lambda path: (path.parent.relative_to(folder).parts, path.name != "__init__.py", path.name)
    )


def _sentence(path: Path) -> str:
    """Return the first sentence of a file's docstring, or of the comment at its beginning."""
    text = _read(path)
    if path.suffix == ".py":
        docstring = ast.get_docstring(ast.parse(text)) or ""
    else:
        head = re.match(r"(?:#.*\n)+", text)
        docstring = re.sub(r"^# ?", "", head.group(), flags=re.MULTILINE) if head else ""
    if not docstring:
        raise SystemExit(f"{path} has no docstring for the list of files; write one")
    return first_sentence(docstring).replace("|", "\\|")


def _box(root: Path, name: str) -> Box:
    folder = root / PACKAGE / name
    if folder.is_dir():
        return Box(title=f"{name}/", text=_sentence(folder / "__init__.py").partition(":")[0])
    return Box(title=f"{name}.py", text=re.split("[:;]", _sentence(folder.with_suffix(".py")))[0])


def _has_chain(arrow: Arrow, arrows: Sequence[Arrow]) -> bool:
    """Return whether a chain of other arrows leads from the arrow's start to its end."""
    start, end = arrow
    visited, queue = {start}, [start]
    while queue:
        node = queue.pop()
        for a, b in arrows:
            if a == node and (a, b) != arrow and b not in visited:
                if b == end:
                    return True
                visited.add(b)
                queue.append(b)
    return False


def _function_name(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", "") or getattr(node.func, "id", ""))


def _module_name(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


def _folder(module: str) -> str:
    """Return the second part of a module's name: `storage` for `harness.storage.marks`.

    For the package itself, return the package's name.
    """
    name = module.split(".")[1:2]
    return name[0] if name and name != ["__init__"] else PACKAGE


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
