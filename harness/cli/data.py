"""`bench data`: list, fetch, import and verify datasets."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text, supports_color
from harness.cli.resolve import NameType, require_plugins
from harness.contract.entries import DatasetEntry
from harness.datasets import generated, manage
from harness.errors import EXIT_FAILED, EXIT_OK, DataError, UsageError
from harness.plugins.registry import Registry, load_registry
from harness.report import text
from harness.system.units import format_size

#: A dataset and the states of its files.
DatasetStates: TypeAlias = tuple[DatasetEntry, list[manage.FileState]]


_only = click.option(
    "--only", multiple=True, metavar="PATTERN", help="Only files that match PATTERN, such as 'train*'."
)
_accept = click.option(
    "--accept-checksum",
    is_flag=True,
    help="Accept files with a wrong checksum if their format is right. This is recorded in provenance.json.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(epilog=examples("bench data list", "bench data get mnist"))
def data() -> None:
    """List, fetch, import and verify datasets.

    Datasets are stored in the folder BENCH_DATA (default: a folder in the platform's cache folder).
    """


@data.command("list", epilog=examples("bench data list --json"))
@_json
@click.pass_obj
def list_(blocked_plugins: list[str] | None, as_json: bool) -> None:
    """List datasets and whether they are installed."""
    registry = _registry(blocked_plugins)
    require_plugins(registry)
    entries = sorted(registry.datasets(), key=lambda entry: entry.name)
    if as_json:
        rows = [_dataset_json(entry) for entry in entries]
        folder = str(manage.data_folder())
        print_json({"folder": folder, "datasets": rows, "generated": generated.cache_use()})
        return
    table = [["name", "installed", "size", "licence", "title"]]
    table += [
        [e.name, _describe_installation(e), format_size(sum(f.size for f in e.files)), e.licence, e.title]
        for e in entries
    ]
    print_text(text.columns(table, right_aligned=frozenset({2})))
    note(f"folder: {manage.data_folder()}")
    use = generated.cache_use()
    if use.entries:
        note(f"generated data: {_describe_cache(use)} in {use.folder} (bench data clear-generated removes the data)")


@data.command("clear-generated", epilog=examples("bench data clear-generated"))
@_json
def clear_generated(as_json: bool) -> None:
    """Remove the cache of generated data. The next trials generate the data again."""
    removed = generated.clear_cache()
    if as_json:
        print_json({"removed": removed})
    else:
        print_text(f"removed {_describe_cache(removed)} from {removed.folder}")


@data.command(epilog=examples("bench data get mnist fashion-mnist", "bench data get fineweb-gpt2 --tokens 1B"))
@click.argument("names", nargs=-1, required=True, type=NameType("dataset"))
@click.option(
    "--from",
    "source",
    metavar="SOURCE",
    help="Folder or base URL to use instead of the published URLs.  [BENCH_DATA_SOURCE]",
)
@_only
@click.option(
    "--tokens", metavar="N", help="Number of training tokens, such as 1B. All held-out files are also fetched."
)
@_accept
@_json
@click.pass_obj
def get(
    blocked_plugins: list[str] | None,
    names: tuple[str, ...],
    source: str | None,
    only: tuple[str, ...],
    tokens: str | None,
    accept_checksum: bool,
    as_json: bool,
) -> None:
    """Fetch datasets. If an interrupted command is repeated, the download continues where it stopped."""
    if tokens is not None and only:
        raise UsageError(
            "--tokens and --only cannot be combined, because both choose files", fix="leave out one of them"
        )
    registry = _registry(blocked_plugins)
    entries = [registry.dataset(name) for name in dict.fromkeys(names)]
    # All names are checked before the first download.
    number = None if tokens is None else manage.parse_tokens(tokens)
    selections = [only if number is None else manage.select_by_tokens(entry, number) for entry in entries]
    results: list[DatasetStates] = []
    for entry, files in zip(entries, selections, strict=True):
        with _progress(entry) as progress:
            states = manage.get(entry, source, progress, only=files, accept_checksum=accept_checksum)
        results.append((entry, states))
    _print_states(results, as_json)


@data.command("import", epilog=examples("bench data import imagenet /data/imagenet"))
@click.argument("name", type=NameType("dataset"))
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_only
@click.option("--copy", is_flag=True, help="Copy files instead of linking to them.")
@_accept
@_json
@click.pass_obj
def import_(
    blocked_plugins: list[str] | None,
    name: str,
    folder: Path,
    only: tuple[str, ...],
    copy: bool,
    accept_checksum: bool,
    as_json: bool,
) -> None:
    """Import files from FOLDER and its subfolders."""
    entry = _registry(blocked_plugins).dataset(name)
    with _progress(entry, verb="reading") as progress:
        states = manage.import_folder(entry, folder, progress, only=only, copy=copy, accept_checksum=accept_checksum)
    _print_states([(entry, states)], as_json)


@data.command(epilog=examples("bench data verify mnist"))
@click.argument("names", nargs=-1, type=NameType("dataset"))
@_only
@_json
@click.pass_obj
def verify(blocked_plugins: list[str] | None, names: tuple[str, ...], only: tuple[str, ...], as_json: bool) -> int:
    """Verify the named datasets, or all installed datasets.

    The exit code is 1 if a file is missing or damaged.
    """
    registry = _registry(blocked_plugins)
    if names:
        entries = [registry.dataset(name) for name in dict.fromkeys(names)]
    else:
        require_plugins(registry)
        entries = [entry for entry in registry.datasets() if _count_installed(entry)]
        if not entries and not as_json:
            note(f"no dataset is installed in {manage.data_folder()}")
    results: list[DatasetStates] = []
    for entry in entries:
        with _progress(entry, verb="checking") as progress:
            states = manage.verify(entry, only, progress)
        # Without names, missing files are not reported, because most users have only some files of a large dataset.
        results.append((entry, states if names else [state for state in states if state.state != "missing"]))
    _print_states(results, as_json)
    return EXIT_OK if all(state.good for _, states in results for state in states) else EXIT_FAILED


# --- helpers ------------------------------------------------------------------------------------


def _registry(blocked_plugins: list[str] | None) -> Registry:
    return load_registry(block=blocked_plugins or [])


def _count_installed(entry: DatasetEntry) -> int:
    """Return the number of installed files and folders of a dataset."""
    return len(entry.files) + len(entry.folders) - len(manage.missing_names(entry))


def _describe_installation(entry: DatasetEntry) -> str:
    """Describe how much of a dataset is installed, or which files are damaged.

    Only the names and sizes of the files are checked.
    """
    installed, total = _count_installed(entry), len(entry.files) + len(entry.folders)
    if damaged := _damaged(entry):
        return f"damaged: {damaged[0]}" + (f" and {len(damaged) - 1} more" if len(damaged) > 1 else "")
    return "yes" if installed == total else f"{installed} of {total}" if installed else "no"


def _describe_cache(use: generated.CacheUse) -> str:
    """Return the number of entries of a cache and their total size, in words."""
    entries = "entry" if use.entries == 1 else "entries"
    return f"{use.entries} {entries}" + (f" of {format_size(use.size)}" if use.size else "")


def _dataset_json(entry: DatasetEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "licence": entry.licence,
        "homepage": entry.homepage,
        "note": entry.note,
        "distribution": entry.distribution,
        "folder": str(manage.dataset_folder(entry)),
        "files": [
            {
                "name": f.name,
                "size": f.size,
                "sha256": f.sha256,
                "content_sha256": f.content_sha256,
                "tokens": f.tokens,
                "urls": list(f.urls),
            }
            for f in entry.files
        ],
        "folders": list(entry.folders),
        "missing": manage.missing_names(entry),
        "damaged": _damaged(entry),
    }


def _damaged(entry: DatasetEntry) -> list[str]:
    """Return the names of files with a wrong size. If the provenance file cannot be read, return only its name."""
    try:
        return list(manage.size_mismatches(entry))
    except DataError:
        return [manage.PROVENANCE]


def _print_states(results: Sequence[DatasetStates], as_json: bool) -> None:
    if as_json:
        rows = [{"name": e.name, "folder": str(manage.dataset_folder(e)), "files": states} for e, states in results]
        print_json({"datasets": rows})
        return
    table = [[f"{e.name}/{s.name}", s.state, format_size(s.size), s.detail] for e, states in results for s in states]
    if table:
        print_text(text.columns(table, right_aligned=frozenset({2})))


# --- progress -----------------------------------------------------------------------------------


@contextmanager
def _progress(entry: DatasetEntry, verb: str = "fetching") -> Iterator[manage.Progress]:
    """Provide a function that shows progress: a bar for the current file on a terminal, otherwise one line per file.

    Args:
        entry: the dataset.
        verb: the printed word for the operation on each file, such as `fetching`.
    """
    if not supports_color(sys.stderr):
        yield _LineProgress(entry, verb)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                # Only the bar of the current file is drawn, because a dataset may have a hundred files.
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[name] = bars.add_task(f"{entry.name}/{name}", total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield report


class _LineProgress:
    """A progress function that prints one line at the beginning of each file."""

    def __init__(self, entry: DatasetEntry, verb: str) -> None:
        self._entry = entry
        self._verb = verb
        self._printed: set[str] = set()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if name not in self._printed:
            self._printed.add(name)
            size = f" ({format_size(total)})" if total else ""
            note(f"{self._verb} {self._entry.name}/{name}{size}")
