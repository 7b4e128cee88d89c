"""Which plugins are installed, found without importing any of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.contract.hookspecs import ENTRY_POINT_GROUP
from harness.plugins import cache, loading
from harness.plugins.cache import CacheRequest, PluginRequest

SELECTION_VARIABLE = "BENCH_PLUGINS"


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryPoint:
    """One entry point in the group, with the distribution it belongs to.

    Args:
        value: `package.module`, or `package.module:object`.
        error: what is wrong with the metadata, if anything.
    """

    distribution: str
    version: str
    name: str
    value: str
    error: str | None = None

    @property
    def id(self) -> str:
        """What a user calls it."""
        return f"{self.distribution}:{self.name}"

    @property
    def title(self) -> str:
        """What pluggy calls it."""
        return f"{self.distribution} {self.version}:{self.name}"

    @property
    def key(self) -> str:
        """What the cache calls it; not by version, so that a broken upgrade is measured by what worked before."""
        return "\n".join(("plugin", sys.prefix, self.distribution, self.name, self.value))

    def wanted(self) -> PluginRequest:
        """The request to read it, and the state of its package's files."""
        top = re.split(r"[.:\s\[]", self.value)[0]
        request = CacheRequest(action="plugin", target=self.value, title=self.title)
        return PluginRequest(request=request, stamp=cache.stamp([self.version, self.value, *_package_files(top)]))


def discover() -> tuple[EntryPoint, ...]:
    """Every entry point in the group, sorted; of two copies of a distribution the first on the path counts, as in
    an import."""
    found: dict[str, list[EntryPoint]] = {}
    for distribution in metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except (OSError, UnicodeDecodeError):
            continue
        # Before anything is parsed: hundreds of distributions have nothing for us.
        if f"[{ENTRY_POINT_GROUP}]" in text:
            name, version = _identity(distribution)
            found.setdefault(normalised(name), _entry_points(distribution, name, version))
    flat = {(one.distribution, one.name, one.value): one for group in found.values() for one in group}
    return tuple(flat[key] for key in sorted(flat))


def _identity(distribution: metadata.Distribution) -> tuple[str, str]:
    """Name and version; a METADATA file that is broken or missing is no reason to lose the plugin."""
    try:
        return distribution.metadata["Name"] or "unknown", distribution.metadata["Version"] or "0"
    except Exception:
        return "unknown", "0"


def _entry_points(distribution: metadata.Distribution, name: str, version: str) -> list[EntryPoint]:
    try:
        return [
            EntryPoint(distribution=name, version=version, name=point.name, value=point.value)
            for point in distribution.entry_points
            if point.group == ENTRY_POINT_GROUP
        ]
    except Exception as error:  # a malformed file raises TypeError, AttributeError …
        problem = f"its entry_points.txt cannot be read: {loading.format_error(error)}"
        return [EntryPoint(distribution=name, version=version, name="?", value="?", error=problem)]


def normalised(name: str) -> str:
    """A distribution's name as package indexes compare them.

    >>> normalised("Bench_Mine")
    'bench-mine'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _package_files(top: str) -> Iterator[str]:
    folders, origin = loading.locate_top(top)
    if origin is not None:
        yield cache.file_state(origin)
    for folder in folders:
        yield from _python_files(folder)
    if origin is None and not folders:
        yield f"{top} missing"


def _python_files(folder: str | Path) -> Iterator[str]:
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
            yield from _python_files(entry.path)


# --- blocking and allowing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which plugins to read: all but the blocked ones, and only the allowed ones when any are named."""

    blocked: frozenset[str]
    allowed: frozenset[str]

    @classmethod
    def of(cls, block: Sequence[str]) -> Selection:
        """From the command line and the environment; `no:NAME` blocks, `NAME` allows."""
        listed = [name.strip() for name in os.environ.get(SELECTION_VARIABLE, "").split(",") if name.strip()]
        blocked = {name.removeprefix("no:") for name in (*block, *(name for name in listed if name.startswith("no:")))}
        return cls(
            blocked=frozenset(blocked),
            allowed=frozenset(name for name in listed if not name.startswith("no:")),
        )

    def keeps(self, plugin: EntryPoint) -> bool:
        """Whether a plugin is to be read."""
        names = _names(plugin)
        return not names & self.blocked and (not self.allowed or bool(names & self.allowed))

    def unmatched(self, plugins: Iterable[EntryPoint]) -> list[str]:
        """Names that no plugin has: misspelt, or not installed here."""
        there = {name for plugin in plugins for name in _names(plugin)}
        return sorted((self.blocked | self.allowed) - there)


def _names(plugin: EntryPoint) -> set[str]:
    distributions = {plugin.distribution, normalised(plugin.distribution)}
    return {plugin.name} | distributions | {f"{one}:{plugin.name}" for one in distributions}
