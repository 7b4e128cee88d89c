"""The registry of installed plugins. It finds their entries by name, and keeps the errors of broken plugins."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from harness.contract.entries import (
    DatasetEntry,
    ExecutorEntry,
    ObserverEntry,
    PartEntry,
    SubmissionEntry,
    WorkloadEntry,
)
from harness.contract.part_kinds import PART_KINDS
from harness.errors import PluginError, UsageError, suggest_nearest
from harness.plugins import cache, entry_points
from harness.plugins.cache import CachedPlugin
from harness.plugins.contents import PluginContents
from harness.plugins.entry_points import EntryPoint, Selection
from harness.plugins.validation import Entry

_EntryT = TypeVar("_EntryT", bound=Entry)


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """An entry point and the entries that it offers.

    Args:
        distribution, version: name and version of the installed package (distribution) that declares the entry point.
        name: name of the entry point. Users refer to the plugin as `distribution:name`.
        module: value of the entry point, `package.module` or `package.module:object`.
        hooks: names of the hooks that the plugin implements.
        error: the error of a broken plugin in one line; None if the plugin works.
        entries: the plugin's entries; empty if it is broken.
        known: `kind:name` of the entries that the plugin offered when it last worked.
    """

    distribution: str
    version: str
    name: str
    module: str
    hooks: tuple[str, ...] = ()
    error: str | None = None
    entries: tuple[Entry, ...] = ()
    known: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.distribution}:{self.name}"


class Registry:
    """The entries of all plugins, looked up by `name` or `distribution:name`.

    Args:
        plugins: the plugins that were read, including broken ones.
        blocked: `distribution:name` of the blocked plugins.
        warnings: warnings for the user, one line each.
    """

    def __init__(self, plugins: Sequence[Plugin], blocked: Sequence[str] = (), warnings: Sequence[str] = ()) -> None:
        self.plugins = tuple(plugins)
        self.blocked = tuple(blocked)
        self.warnings = tuple(warnings)

    def workloads(self) -> tuple[WorkloadEntry, ...]:
        """Return all workloads, sorted by name."""
        return self._all(WorkloadEntry)

    @property
    def redrawing(self) -> frozenset[str]:
        """`name@version` of the workloads that draw their held-out data afresh in runs with a nonce."""
        return frozenset(entry.facts.id for entry in self.workloads() if entry.redraws_held_out)

    def submissions(self) -> tuple[SubmissionEntry, ...]:
        """Return all submissions, sorted by name."""
        return self._all(SubmissionEntry)

    def parts(self) -> tuple[PartEntry, ...]:
        """Return all parts, sorted by name."""
        return self._all(PartEntry)

    def executors(self) -> tuple[ExecutorEntry, ...]:
        """Return all executors, sorted by name."""
        return self._all(ExecutorEntry)

    def observers(self) -> tuple[ObserverEntry, ...]:
        """Return all observers that run only on request (`--observe`), sorted by name."""
        return self._all(ObserverEntry)

    def datasets(self) -> tuple[DatasetEntry, ...]:
        """Return all datasets, sorted by name."""
        return self._all(DatasetEntry)

    def workload(self, name: str) -> WorkloadEntry:
        """Return the workload with a name.

        Raises:
            UsageError: no plugin offers a workload with this name, or several plugins do.
            PluginError: a broken plugin offered the workload when it last worked.
        """
        return self._look_up("workload", name, self.workloads())

    def submission(self, name: str) -> SubmissionEntry:
        """Return the submission with a name. It raises the same errors as `workload`."""
        return self._look_up("submission", name, self.submissions())

    def executor(self, name: str) -> ExecutorEntry:
        """Return the executor with a name. It raises the same errors as `workload`."""
        return self._look_up("executor", name, self.executors())

    def observer(self, name: str) -> ObserverEntry:
        """Return the observer with a name. It raises the same errors as `workload`."""
        return self._look_up("observer", name, self.observers())

    def dataset(self, name: str) -> DatasetEntry:
        """Return the dataset with a name. It raises the same errors as `workload`."""
        return self._look_up("dataset", name, self.datasets())

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry:
        """Return the part with a name. It raises the same errors as `workload`.

        Args:
            kind: the part's kind; None for any kind. With None, only one kind may have a part with this name.
            name: `name` or `kind:name`, optionally after `distribution:`.
            prefer: a distribution. Its part is preferred if several distributions offer a part with this name. Callers
                pass the distribution of the submission. A newly installed plugin therefore cannot change the parts of
                the submission.
        """
        if kind is not None and kind not in PART_KINDS:
            kind, name = None, f"{kind}:{name}"  # the text before the colon is a distribution
        candidates = [part for part in self.parts() if kind in (None, part.kind)]
        preferred = [part for part in candidates if prefer and part.distribution == prefer]
        preferred = [part for part in preferred if name in _spellings(part).plain]
        return self._look_up("part" if kind is None else kind, name, preferred or candidates)

    # --- looking up -------------------------------------------------------------------------------------------------

    def _all(self, kind: type[_EntryT]) -> tuple[_EntryT, ...]:
        entries = [entry for plugin in self.plugins for entry in plugin.entries if isinstance(entry, kind)]
        return tuple(sorted(entries, key=lambda entry: (entry.name, entry.distribution)))

    def _look_up(self, label: str, name: str, candidates: Sequence[_EntryT]) -> _EntryT:
        """Return the only candidate with a name, or raise the errors that `workload` describes.

        Args:
            label: the kind of entry in messages: `workload`, `submission`, …; for a part, `part` or the part's kind.
            name: the name that the user gave.
            candidates: the entries to search.
        """
        # Names without a distribution are tried first, because some of them contain colons.
        for form in ("plain", "qualified"):
            matches = [entry for entry in candidates if name in getattr(_spellings(entry), form)]
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise self._ambiguous_error(label, name, matches)
        raise self._broken_error(label, name) or self._unknown_error(label, name, candidates)

    def _ambiguous_error(self, label: str, name: str, matches: Sequence[Entry]) -> UsageError:
        owners = sorted({entry.distribution for entry in matches})
        if len(owners) > 1:
            forms = " or ".join(sorted(f"{entry.distribution}:{_id(entry)}" for entry in matches))
            return UsageError(f"{label} {name!r} is offered by {' and by '.join(owners)}", fix=f"write {forms}")
        if len(ids := sorted({_id(entry) for entry in matches})) > 1:
            return UsageError(f"{label} {name!r} exists in several kinds", fix=f"write {' or '.join(ids)}")
        plugins = [plugin.id for plugin in self.plugins if any(entry in plugin.entries for entry in matches)]
        return UsageError(
            f"{owners[0]} offers the {label} {name!r} twice, in {' and '.join(plugins)}",
            fix=f"block one of them, for example: -p no:{plugins[0]}",
        )

    def _broken_error(self, label: str, name: str) -> PluginError | None:
        """Return the error for a name that belongs to a broken plugin; None for any other name.

        A name belongs to a plugin in two cases:

        * The plugin offered an entry of this name when it last worked.
        * The name begins with the plugin's distribution.
        """
        owner, colon, _ = name.partition(":")
        for plugin in self.plugins:
            if plugin.error is None:
                continue
            distributions = {plugin.distribution, entry_points.normalise_name(plugin.distribution)}
            if (colon and owner in distributions) or name in _remembered_names(plugin, label):
                broken = f"the plugin {plugin.id} {plugin.version} is broken"
                return PluginError(
                    f"{label} {name!r} is not available: {broken}: {plugin.error}",
                    fix="correct the plugin, then run `bench plugins --refresh`",
                )
        return None

    def _unknown_error(self, label: str, name: str, candidates: Sequence[Entry]) -> UsageError:
        # If a part of any kind was requested, the list shows each part's kind. The suggested name never shows a kind.
        listed = sorted({_id(entry) if label == "part" else entry.name for entry in candidates})
        suggestion = suggest_nearest(name.lower(), {entry.name for entry in candidates})
        path_hint = "a file's name ends in .py; " if os.sep in name else ""
        choices = f"choose one of: {', '.join(listed)}" if listed else f"no {label} is installed"
        fix = f"{path_hint}{self._hint_at_other_type(label, name)}{choices}"
        if broken := [plugin.id for plugin in self.plugins if plugin.error is not None]:
            fix += f"; broken plugins may offer it: {', '.join(broken)}, `bench plugins` shows why"
        if self.blocked:
            fix += f"; blocked: {', '.join(self.blocked)}"
        return UsageError(f"unknown {label} {name!r}{suggestion}", fix=fix)

    def _hint_at_other_type(self, label: str, name: str) -> str:
        """Return a hint if an unknown name belongs to another type of entry; empty for any other name.

        There are two cases:

        * A submission was requested, and a part has this name.
        * A part was requested, and the name occurs in the name of a submission.
        """
        if label == "submission":
            parts = [part.id for part in self.parts() if name in _spellings(part).plain]
            return f"{' and '.join(parts)} is a part, write OPTIMIZER+{name}; " if parts else ""
        if label != "part" and label not in PART_KINDS:
            return ""
        submissions = [
            entry.name for entry in self.submissions() if name == entry.name or name in entry.name.split("-")
        ]
        return f"submissions of that name: {', '.join(submissions)}; " if submissions else ""


def _id(entry: Entry) -> str:
    """Return `kind:name` for a part, and `name` for any other entry."""
    return entry.id if isinstance(entry, PartEntry) else entry.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Spellings:
    """The names by which an entry may be looked up: `plain` without its distribution, `qualified` with it."""

    plain: frozenset[str]
    qualified: frozenset[str]


def _spellings(entry: Entry) -> Spellings:
    names = (entry.name, *(entry.aliases if isinstance(entry, WorkloadEntry | PartEntry) else ()))
    return _spell(entry.distribution, names, entry.kind if isinstance(entry, PartEntry) else "")


def _spell(distribution: str, names: Sequence[str], kind: str) -> Spellings:
    plain = {*names, *(f"{kind}:{name}" for name in names if kind)}
    owners = {distribution, entry_points.normalise_name(distribution)}
    qualified = {f"{owner}:{name}" for owner in owners for name in plain}
    qualified |= {f"{kind}:{owner}:{name}" for owner in owners for name in names if kind}
    return Spellings(plain=frozenset(plain), qualified=frozenset(qualified))


def _remembered_names(plugin: Plugin, label: str) -> set[str]:
    """Return the names of the entries of kind `label` that a plugin offered when it last worked, in all spellings."""
    names: set[str] = set()
    for known in plugin.known:
        entry_type, _, name = known.partition(":")
        kind = ""
        if entry_type == "part":
            kind, _, name = name.partition(":")
        if label in (entry_type, kind):
            spellings = _spell(plugin.distribution, (name,), kind)
            names |= spellings.plain | spellings.qualified
    return names


# --- reading --------------------------------------------------------------------------------------------------------


def load_registry(block: Sequence[str] = (), refresh: bool = False) -> Registry:
    """Read the installed plugins, from the cache or in child processes.

    Args:
        block: plugins to skip, by distribution, entry-point name or `distribution:name`. They are skipped in addition
            to the plugins that `BENCH_PLUGINS` blocks.
        refresh: whether to read all plugins again, including those that failed before.

    Raises:
        UsageError: `BENCH_PLUGIN_TIMEOUT` is not a positive number of seconds.
    """
    if refresh:
        importlib.invalidate_caches()
    selection = Selection.read(block)
    installed = entry_points.discover()
    allowed = [point for point in installed if selection.allows(point)]
    requests = {point.key: point.request() for point in allowed if point.error is None}
    cached = cache.read_plugins(requests, refresh=refresh)
    unmatched = selection.unmatched_names(installed)
    return Registry(
        [_plugin(point, cached.get(point.key)) for point in allowed],
        blocked=[point.id for point in installed if point not in allowed],
        warnings=[f"no plugin is named {name!r}, so this name blocks or allows nothing" for name in unmatched],
    )


def _plugin(point: EntryPoint, cached: CachedPlugin | None) -> Plugin:
    contents = cached.contents if cached else PluginContents(error=point.error)
    entries: tuple[Entry, ...] = (
        *contents.workloads,
        *contents.submissions,
        *contents.parts,
        *contents.executors,
        *contents.observers,
        *contents.datasets,
    )
    return Plugin(
        distribution=point.distribution,
        version=point.version,
        name=point.name,
        module=point.value,
        hooks=contents.hooks,
        error=contents.problem,
        entries=tuple(msgspec.structs.replace(entry, distribution=point.distribution) for entry in entries),
        known=cached.known if cached else (),
    )
