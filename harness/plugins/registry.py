"""Installed plugins as tables of what they offer; the broken ones are kept, with their error."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, overload

import msgspec

from harness.contract.entries import DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import PluginError, UsageError, nearest
from harness.plugins import cache, entry_points, loading
from harness.plugins.cache import CachedPlugin, CacheRequest, PluginContents, PluginRequest
from harness.plugins.entry_points import EntryPoint, Selection

if TYPE_CHECKING:
    import pluggy

__all__ = [
    "Entry",
    "Plugin",
    "Registry",
    "entry_from_class",
    "entry_from_path",
    "load_registry",
    "observer_plugins",
]

Entry: TypeAlias = WorkloadEntry | SubmissionEntry | PartEntry | ExecutorEntry | DatasetEntry
_EntryT = TypeVar("_EntryT", bound=Entry)
_OBSERVERS = frozenset({"bench_run_started", "bench_evaluated", "bench_run_finished"})


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One entry point and what it offers.

    Args:
        distribution, version, name: `distribution:name` is what a user calls it.
        module: the entry point's value, `package.module` or `package.module:object`.
        hooks: the hooks it implements.
        error: why it is broken, one line; None when it is not.
        entries: what it offers; nothing when it is broken.
        known: `kind:name` of what it offered when it last worked.
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
    """What all plugins together offer, looked up by `name` or `distribution:name`.

    Args:
        plugins: the plugins that were read, broken ones among them.
        blocked: the `distribution:name` of those that were not, because somebody said so.
        warnings: what a user should know, one line each.
    """

    def __init__(self, plugins: Sequence[Plugin], blocked: Sequence[str] = (), warnings: Sequence[str] = ()) -> None:
        self.plugins = tuple(plugins)
        self.blocked = tuple(blocked)
        self.warnings = tuple(warnings)

    def workloads(self) -> tuple[WorkloadEntry, ...]:
        """Every workload, by name."""
        return self._all(WorkloadEntry)

    def submissions(self) -> tuple[SubmissionEntry, ...]:
        """Every submission, by name."""
        return self._all(SubmissionEntry)

    def parts(self) -> tuple[PartEntry, ...]:
        """Every part, by name."""
        return self._all(PartEntry)

    def executors(self) -> tuple[ExecutorEntry, ...]:
        """Every executor, by name."""
        return self._all(ExecutorEntry)

    def datasets(self) -> tuple[DatasetEntry, ...]:
        """Every dataset, by name."""
        return self._all(DatasetEntry)

    def workload(self, name: str) -> WorkloadEntry:
        """The workload of that name.

        Raises:
            UsageError: none has it, or two distributions do.
            PluginError: a broken plugin offers it.
        """
        return self._lookup("workload", name, self.workloads())

    def submission(self, name: str) -> SubmissionEntry:
        """The submission of that name; raises as `workload` does."""
        return self._lookup("submission", name, self.submissions())

    def executor(self, name: str) -> ExecutorEntry:
        """The executor of that name; raises as `workload` does."""
        return self._lookup("executor", name, self.executors())

    def dataset(self, name: str) -> DatasetEntry:
        """The dataset of that name; raises as `workload` does."""
        return self._lookup("dataset", name, self.datasets())

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry:
        """The part of that name; raises as `workload` does.

        Args:
            kind: the kind it must have; None where any will do, and the name must then be unique over kinds.
            name: `name`, `kind:name`, or either after `distribution:`.
            prefer: the distribution whose part is meant when several have one of that name: that of the
                submission it stands in, so that an installation cannot change what another one's parts are.
        """
        if kind is not None and kind not in PART_KINDS:
            kind, name = None, f"{kind}:{name}"  # it was a distribution
        pool = [part for part in self.parts() if kind in (None, part.kind)]
        own = [part for part in pool if prefer and part.distribution == prefer and name in _find_spelling(part)[0]]
        return self._lookup("part" if kind is None else kind, name, own or pool)

    # --- how --------------------------------------------------------------------------------------------------------

    def _all(self, kind: type[_EntryT]) -> tuple[_EntryT, ...]:
        found = [entry for plugin in self.plugins for entry in plugin.entries if isinstance(entry, kind)]
        return tuple(sorted(found, key=lambda entry: (entry.name, entry.distribution)))

    def _lookup(self, label: str, asked: str, pool: Sequence[_EntryT]) -> _EntryT:
        # First as a plain name: some names contain colons themselves.
        for form in (0, 1):
            found = [entry for entry in pool if asked in _find_spelling(entry)[form]]
            if len(found) == 1:
                return found[0]
            if found:
                raise self._ambiguous(label, asked, found)
        raise self._broken(label, asked) or self._unknown(label, asked, pool)

    def _ambiguous(self, label: str, asked: str, found: Sequence[Entry]) -> UsageError:
        owners = sorted({entry.distribution for entry in found})
        if len(owners) > 1:
            forms = " or ".join(sorted(f"{entry.distribution}:{_id(entry)}" for entry in found))
            return UsageError(f"{label} {asked!r} is offered by {' and by '.join(owners)}", fix=f"say {forms}")
        if len(ids := sorted({_id(entry) for entry in found})) > 1:
            return UsageError(f"{label} {asked!r} is of several kinds", fix=f"say {' or '.join(ids)}")
        twice = [plugin.id for plugin in self.plugins if any(entry in plugin.entries for entry in found)]
        return UsageError(
            f"{owners[0]} offers the {label} {asked!r} twice, in {' and '.join(twice)}",
            fix=f"block one: -p no:{twice[0]}",
        )

    def _broken(self, label: str, asked: str) -> PluginError | None:
        """The error of a broken plugin that was named, or that offered what is asked for when it last worked."""
        owner, colon, _ = asked.partition(":")
        for plugin in self.plugins:
            if plugin.error is None:
                continue
            owners = {plugin.distribution, entry_points.normalised(plugin.distribution)}
            if (colon and owner in owners) or any(asked in names for names in _remembered(plugin, label)):
                broken = f"the plugin {plugin.id} {plugin.version} is broken"
                return PluginError(
                    f"{label} {asked!r} is not available: {broken}: {plugin.error}",
                    fix="`bench plugins --refresh` reads it again",
                )
        return None

    def _unknown(self, label: str, asked: str, pool: Sequence[Entry]) -> UsageError:
        # Among parts of one kind the kind is no news, and nobody's slip is near to it.
        listed = sorted({_id(entry) if label == "part" else entry.name for entry in pool})
        near = nearest(asked.lower(), {entry.name for entry in pool})
        path = "a file's name ends in .py; " if os.sep in asked else ""
        fix = f"{path}{self._elsewhere(label, asked)}known: {', '.join(listed) or 'none'}"
        if broken := [plugin.id for plugin in self.plugins if plugin.error is not None]:
            fix += f"; broken, and may offer it: {', '.join(broken)}, `bench plugins` says why"
        if self.blocked:
            fix += f"; blocked: {', '.join(self.blocked)}"
        return UsageError(f"unknown {label} {asked!r}{near}", fix=fix)

    def _elsewhere(self, label: str, asked: str) -> str:
        """Where the name is one of the other sort: a part that is asked for as a submission, or the reverse."""
        if label == "submission":
            parts = [part.id for part in self.parts() if asked in _find_spelling(part)[0]]
            return f"{' and '.join(parts)} is a part, to be composed: OPTIMIZER+{asked}; " if parts else ""
        if label != "part" and label not in PART_KINDS:
            return ""
        named = [entry.name for entry in self.submissions() if asked == entry.name or asked in entry.name.split("-")]
        return f"submissions of that name: {', '.join(named)}; " if named else ""


def _id(entry: Entry) -> str:
    return entry.id if isinstance(entry, PartEntry) else entry.name


def _find_spelling(entry: Entry) -> tuple[set[str], set[str]]:
    names = (entry.name, *(entry.aliases if isinstance(entry, WorkloadEntry | PartEntry) else ()))
    kind = entry.kind if isinstance(entry, PartEntry) else None
    forms = [_spellings(entry.distribution, name, kind) for name in names]
    return set().union(*(plain for plain, _ in forms)), set().union(*(qualified for _, qualified in forms))


def _spellings(distribution: str, name: str, kind: str | None) -> tuple[set[str], set[str]]:
    """How an entry may be asked for: plainly, and with its distribution."""
    plain = {name, f"{kind}:{name}"} if kind else {name}
    owners = {distribution, entry_points.normalised(distribution)}
    qualified = {f"{owner}:{one}" for owner in owners for one in plain}
    if kind:
        qualified |= {f"{kind}:{owner}:{name}" for owner in owners}
    return plain, qualified


def _remembered(plugin: Plugin, label: str) -> list[set[str]]:
    """Spellings of what a plugin offered of one label when it last worked."""
    spellings = []
    for known in plugin.known:
        group, _, name = known.partition(":")
        kind = None
        if group == "part":
            kind, _, name = name.partition(":")
        if label in (group, kind):
            spellings.append(set.union(*_spellings(plugin.distribution, name, kind)))
    return spellings


# --- reading --------------------------------------------------------------------------------------------------------


def load_registry(block: Sequence[str] = (), refresh: bool = False) -> Registry:
    """What the installed plugins offer: from the cache, or read in child processes.

    Args:
        block: plugins to leave out, by distribution, entry-point name or `distribution:name`; added to those that
            `BENCH_PLUGINS` blocks.
        refresh: read everything again, also what failed before.

    Raises:
        UsageError: the time limit in the environment is not a number.
    """
    if refresh:
        importlib.invalidate_caches()
    selection = Selection.of(block)
    found = entry_points.discover()
    kept = [one for one in found if selection.keeps(one)]
    wanted = {one.key: one.wanted() for one in kept if one.error is None}
    got = cache.read_plugins(wanted, refresh=refresh)
    return Registry(
        [_plugin(one, got.get(one.key)) for one in kept],
        blocked=[one.id for one in found if one not in kept],
        warnings=[f"no plugin is called {name!r}: nothing to block or allow" for name in selection.unmatched(found)],
    )


def _plugin(found: EntryPoint, reading: CachedPlugin | None) -> Plugin:
    offer = reading.offer if reading else PluginContents(error=found.error)
    entries: tuple[Entry, ...] = (
        *offer.workloads,
        *offer.submissions,
        *offer.parts,
        *offer.executors,
        *offer.datasets,
    )
    return Plugin(
        distribution=found.distribution,
        version=found.version,
        name=found.name,
        module=found.value,
        hooks=offer.hooks,
        error=offer.error,
        entries=tuple(msgspec.structs.replace(entry, distribution=found.distribution) for entry in entries),
        known=reading.known if reading else (),
    )


def observer_plugins(registry: Registry) -> tuple[pluggy.PluginManager, list[str]]:
    """Import, in this process, the plugins that follow runs; no others.

    Returns:
        A plugin manager with those that could be imported, and a warning for each that could not.
    """
    import pluggy

    from harness.contract import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    warnings = []
    for plugin in registry.plugins:
        if plugin.error is not None or not _OBSERVERS.intersection(plugin.hooks):
            continue
        title = f"{plugin.distribution} {plugin.version}:{plugin.name}"
        if manager.has_plugin(title):
            title += f" ({plugin.module})"  # one distribution may use an entry point's name twice
        try:
            manager.register(loading.load_entry_point(plugin.module), name=title)
        except (Exception, SystemExit) as error:
            with contextlib.suppress(Exception):  # it may be half registered
                manager.unregister(name=title)
            warnings.append(f"the observer {plugin.id} is left out: {loading.format_error(error)}")
    return manager, warnings


# --- without packaging ----------------------------------------------------------------------------------------------


@overload
def entry_from_path(text: str, kind: Literal["submission"]) -> SubmissionEntry: ...
@overload
def entry_from_path(text: str, kind: Literal["workload"]) -> WorkloadEntry: ...
def entry_from_path(text: str, kind: Literal["submission", "workload"]) -> SubmissionEntry | WorkloadEntry:
    """The entry of a submission or workload in a file of its own.

    Args:
        text: `path/to/file.py`, or `path/to/file.py:Name` where the file defines several.

    Raises:
        UsageError: there is no such file, it does not run or takes too long, or defines none or several; the message
            names the file, and the line where there is one.
    """
    name, colon, wanted = text.rpartition(":")
    shown = name if colon and name.endswith(".py") else text
    path = Path(shown).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"{shown}: there is no such file")
    if path.suffix != ".py":
        raise UsageError(f"{shown}: not a Python file", fix="its name must end in .py")
    target = wanted if shown is name else None
    request = CacheRequest(action=kind, target=str(path), wanted=target)
    offer = _read_one(request, [cache.file_state(path)])
    if offer.error is not None:
        raise UsageError(f"{shown}: {offer.error}", fix=_sibling(offer.error, path))
    return offer.submissions[0] if kind == "submission" else offer.workloads[0]


def entry_from_class(load: str) -> SubmissionEntry:
    """The entry of a bare torch optimizer class, such as `torch.optim:Adam`, at a constant learning rate.

    Raises:
        UsageError: it cannot be imported, or is no torch optimizer class.
    """
    module, _ = loading.split_load(load)
    files = {module.partition(".")[0], module}
    located = sorted(str(path) for path in map(loading.locate, files) if path is not None)
    offer = _read_one(CacheRequest(action="class", target=load), [cache.file_state(Path(path)) for path in located])
    if offer.error is not None:
        raise UsageError(f"{load}: {offer.error}")
    return offer.submissions[0]


def _read_one(request: CacheRequest, depends: Sequence[str]) -> PluginContents:
    key = "\n".join((request.action, request.target, request.wanted or ""))
    return cache.read_plugins({key: PluginRequest(request=request, stamp=cache.stamp(depends))})[key].offer


def _sibling(error: str, path: Path) -> str | None:
    """Why `import helper` fails where helper.py lies beside the file: only the file itself would be in the record."""
    _, found, rest = error.partition("ModuleNotFoundError: No module named '")
    module = rest.partition("'")[0]
    if found and path.with_name(f"{module}.py").exists():
        return f"{module}.py beside it is not imported: put all into one file, or package them"
    return None
