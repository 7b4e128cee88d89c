"""Call the hooks of plugins that observe runs. A hook receives immutable data, so that it cannot change a run."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import pluggy

from harness.contract import hookspecs
from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec
from harness.plugins import loading
from harness.plugins.registry import Registry

#: The hooks that observe runs.
OBSERVER_HOOKS = frozenset({"bench_run_started", "bench_evaluated", "bench_run_finished"})


def load_observers(registry: Registry) -> tuple[pluggy.PluginManager, list[str]]:
    """Import the plugins that observe runs into this process. Other plugins are not imported.

    Returns:
        A plugin manager with the imported plugins, and a warning for each plugin that could not be imported.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    warnings = []
    for plugin in registry.plugins:
        if plugin.error is not None or not OBSERVER_HOOKS.intersection(plugin.hooks):
            continue
        title = f"{plugin.distribution} {plugin.version}:{plugin.name}"
        if manager.has_plugin(title):
            title += f" ({plugin.module})"  # a distribution may use the name of an entry point twice
        try:
            manager.register(loading.load_entry_point(plugin.module), name=title)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            with contextlib.suppress(Exception):  # the plugin may be partly registered
                manager.unregister(name=title)
            warnings.append(f"the observer {plugin.id} is not used: {loading.format_error(error)}")
    return manager, warnings


class Observers:
    """A watcher (`harness.contract.watcher.Watcher`) that calls the observer hooks.

    Args:
        manager: plugin manager with the plugins that implement the hooks.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._manager = manager
        self._failed: set[str] = set()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._call("bench_run_started", spec=spec)

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._call("bench_evaluated", spec=spec, point=point)

    def warned(self, spec: RunSpec, message: str) -> None: ...

    def finished(self, record: Record) -> None:
        self._call("bench_run_finished", record=record)

    def kept(self, summary: TrialSummary) -> None: ...

    def _call(self, hook: str, **data: Any) -> None:
        """Call a hook in each plugin that implements it, even if another plugin raises an exception.

        Only the first exception of each plugin is reported. SystemExit and any other exception of a plugin must not end
        the run that it observes; only the user's KeyboardInterrupt does.
        """
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                arguments = {name: data[name] for name in implementation.argnames}
                implementation.function(**arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if implementation.plugin_name not in self._failed:
                    self._failed.add(implementation.plugin_name)
                    message = loading.format_error(error)
                    print(f"warning: observer {implementation.plugin_name} failed: {message}", file=sys.stderr)
