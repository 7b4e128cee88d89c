"""Find the entry points of installed plugins without importing them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness import __version__
from harness.contract.hookspecs import ENTRY_POINT_GROUP
from harness.plugins import cache, loading
from harness.plugins.cache import StampedRequest
from harness.plugins.contents import ReadRequest
from harness.plugins.locating import locate_top

#: Name of the distribution of this package.
OWN_NAME = "algorace"
#: Name of the environment variable that blocks and allows plugins.
SELECTION_VARIABLE = "BENCH_PLUGINS"


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryPoint:
    """An entry point of the group `bench`, with the distribution (installed package) that declares it.

    Args:
        distribution, version: name and version of the distribution.
        name: name of the entry point.
        value: value of the entry point, `package.module` or `package.module:object`.
        error: why the entry point cannot be used: invalid metadata, or another version of this package is needed. None
            if it can be used.
    """

    distribution: str
    version: str
    name: str
    value: str
    error: str | None = None

    @property
    def id(self) -> str:
        """The name by which a user refers to the plugin."""
        return f"{self.distribution}:{self.name}"

    @property
    def title(self) -> str:
        """The name under which pluggy registers the plugin."""
        return f"{self.distribution} {self.version}:{self.name}"

    @property
    def key(self) -> str:
        """The plugin's key in the cache.

        It does not contain the version. The names that an earlier version offered therefore stay in the cache.
        """
        return "\n".join(("plugin", sys.prefix, self.distribution, self.name, self.value))

    def request(self) -> StampedRequest:
        """Return the request to read the plugin, stamped with the state of its package's files."""
        top = re.split(r"[.:\s\[]", self.value)[0]
        request = ReadRequest(target_kind="plugin", target=self.value, title=self.title)
        return StampedRequest(request=request, stamp=cache.stamp([self.version, self.value, *_iter_file_states(top)]))


def discover() -> tuple[EntryPoint, ...]:
    """Return all entry points of the group `bench`, sorted by distribution, name and value.

    If a distribution is installed twice, the first installation on `sys.path` is used, as in an import.
    """
    by_distribution: dict[str, list[EntryPoint]] = {}
    for distribution in metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except (OSError, UnicodeDecodeError):
            continue
        # Most distributions have no entry point in the group. This check avoids parsing their metadata.
        if f"[{ENTRY_POINT_GROUP}]" in text:
            name, version = _name_and_version(distribution)
            by_distribution.setdefault(normalise_name(name), _entry_points(distribution, name, version))
    points = {(p.distribution, p.name, p.value): p for group in by_distribution.values() for p in group}
    return tuple(points[key] for key in sorted(points))


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """Return a distribution's name and version.

    If the file METADATA is broken or missing, return placeholders, so that the plugin is still listed.
    """
    try:
        return distribution.metadata["Name"] or "unknown", distribution.metadata["Version"] or "0"
    except Exception:
        return "unknown", "0"


def _entry_points(distribution: metadata.Distribution, name: str, version: str) -> list[EntryPoint]:
    try:
        unmet = find_unmet_requirement(distribution)
        return [
            EntryPoint(distribution=name, version=version, name=point.name, value=point.value, error=unmet)
            for point in distribution.entry_points
            if point.group == ENTRY_POINT_GROUP
        ]
    except Exception as error:  # a malformed file raises TypeError, AttributeError …
        problem = f"its entry_points.txt cannot be read: {loading.format_error(error)}"
        return [EntryPoint(distribution=name, version=version, name="?", value="?", error=problem)]


def find_unmet_requirement(distribution: metadata.Distribution) -> str | None:
    """Return why a distribution needs another version of this package; None if this version suffices.

    Without this check, a plugin for a newer version would fail later, with an error that hides the reason.
    """
    for line in _list_requirements(distribution):
        match = re.match(r"[\w.-]+", line)
        if match is None or normalise_name(match[0]) != OWN_NAME or not any(sign in line for sign in "<>=~!"):
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and not requirement.specifier.contains(__version__, prereleases=True):
                needed = f"it needs {OWN_NAME}{requirement.specifier}, and {__version__} is installed"
                return f"{needed} (update {OWN_NAME}, or install another version of the plugin)"
    return None


def _list_requirements(distribution: metadata.Distribution) -> Sequence[str]:
    """Return the lines `Requires-Dist` of a distribution; none if its metadata cannot be read."""
    try:
        return distribution.requires or ()
    except Exception:
        return ()


def normalise_name(name: str) -> str:
    """Return a distribution's name in the form in which package indexes compare names.

    >>> normalise_name("Bench_Mine")
    'bench-mine'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _iter_file_states(top: str) -> Iterator[str]:
    """Yield the states (path, time and size) of all Python files of a top-level package."""
    folders, origin = locate_top(top)
    if origin is not None:
        yield cache.file_state(origin)
    for folder in folders:
        yield from _iter_folder_states(folder)
    if origin is None and not folders:
        yield f"{top} missing"


def _iter_folder_states(folder: str | Path) -> Iterator[str]:
    """Yield the state of every Python file below a folder."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.name.endswith(".py"):
            yield cache.file_state(Path(entry.path))
        elif entry.is_dir(follow_symlinks=False):
            yield from _iter_folder_states(entry.path)


# --- blocking and allowing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The choice of plugins to read.

    A blocked plugin is not read. If plugins are allowed by name, only these plugins are read.

    Args:
        blocked: names of plugins or distributions that are not read.
        allowed: names of plugins or distributions that are read. If it is empty, all are allowed.
    """

    blocked: frozenset[str]
    allowed: frozenset[str]

    @classmethod
    def read(cls, block: Sequence[str]) -> Selection:
        """Return the choice from the command line (`block`) and `BENCH_PLUGINS` (`no:NAME` blocks, `NAME` allows)."""
        names = [name.strip() for name in os.environ.get(SELECTION_VARIABLE, "").split(",") if name.strip()]
        blocked = {name.removeprefix("no:") for name in (*block, *(name for name in names if name.startswith("no:")))}
        return cls(
            blocked=frozenset(blocked),
            allowed=frozenset(name for name in names if not name.startswith("no:")),
        )

    def allows(self, plugin: EntryPoint) -> bool:
        """Return whether a plugin is to be read."""
        names = _selection_names(plugin)
        return not names & self.blocked and (not self.allowed or bool(names & self.allowed))

    def unmatched_names(self, plugins: Iterable[EntryPoint]) -> list[str]:
        """Return the blocked and allowed names that no installed plugin has."""
        installed = {name for plugin in plugins for name in _selection_names(plugin)}
        return sorted((self.blocked | self.allowed) - installed)


def _selection_names(plugin: EntryPoint) -> set[str]:
    """Return all names by which a user may block or allow a plugin."""
    distributions = {plugin.distribution, normalise_name(plugin.distribution)}
    return {plugin.name} | distributions | {f"{distribution}:{plugin.name}" for distribution in distributions}
