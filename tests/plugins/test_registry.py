"""Plugins: found, read in children, cached, looked up; and what becomes of those that are broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from harness import cli
from harness.contract import domains, entries, hyperparameters, workload
from harness.errors import EXIT_BROKEN, EXIT_USAGE, PluginError, StoreError, UsageError
from harness.plugins import cache as plugin_cache
from harness.plugins import entry_points, loading, reading
from harness.plugins.code_reading import entry_from_class, submission_from_path, workload_from_path
from harness.plugins.contents import PluginContents, ReadRequest
from harness.plugins.reading import read_in_children
from harness.plugins.registry import Registry, load_registry
from harness.plugins.source_hash import source_hash
from harness.plugins.validation import validate_entry

ROOT = Path(__file__).parents[2]
#: Not `import *`: that resolves the names that need torch.
API = (
    "from harness.api import Budget, ExecutorEntry, LogUniform, PartEntry, SubmissionEntry, Target, Uniform,"
    " WorkloadEntry, WorkloadFacts, hookimpl\n"
)


class Site:
    """A folder on the path, with distributions made up for a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, source: str, *, version: str = "1.0", points: dict[str, str] | None = None) -> Path:
        """Install a distribution of one module; its entry point `plugin` unless others are named."""
        module = name.replace("-", "_")
        file = self.folder / f"{module}.py"
        file.write_text(dedent(source))
        lines = [f"{point} = {value}" for point, value in (points or {"plugin": module}).items()]
        self.metadata(name, "\n".join(["[bench]", *lines]), version=version)
        return file

    def metadata(self, name: str, entry_points: str, version: str = "1.0") -> None:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points + "\n")
        (info / "RECORD").write_text("")


def yielding(*names: str) -> str:
    """A plugin's source that offers submissions."""
    made = ", ".join(f"SubmissionEntry(name={name!r}, summary='s', load='m:f')" for name in names)
    return f"{API}@hookimpl\ndef bench_submissions():\n    return [{made}]\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_PLUGINS", "no:algorace")  # only what a test makes up
    monkeypatch.delenv("BENCH_PLUGIN_TIMEOUT", raising=False)
    return Site(folder)


@pytest.fixture
def no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(plugin_cache, "read_in_children", refuse)


def record_requests(monkeypatch: pytest.MonkeyPatch) -> list[ReadRequest]:
    """A list that gets every request that a child process reads from now on."""
    requested: list[ReadRequest] = []

    def record(requests: Sequence[ReadRequest], limit: float) -> list[PluginContents]:
        requested.extend(requests)
        return read_in_children(requests, limit)

    monkeypatch.setattr(plugin_cache, "read_in_children", record)
    return requested


def only(registry: Registry) -> str:
    """The error of the one plugin."""
    (plugin,) = registry.plugins
    assert plugin.error is not None
    assert "\n" not in plugin.error
    return plugin.error


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_plugin_is_listed_with_its_entries(site: Site) -> None:
    source = (
        yielding("mine")
        + """
@hookimpl
def bench_parts():
    print("noise on stdout")
    yield PartEntry(kind="schedule", name="triangle", load="m:f", summary="s", space={"warmup": Uniform(0, 1)})
@hookimpl
def bench_executors():
    yield ExecutorEntry(name="here", load="m:f", summary="s")
@hookimpl
def bench_workloads():
    yield WorkloadEntry(load="m:f", summary="s", facts=WorkloadFacts(
        name="task:easy", version="1", tier="cpu", targets=(Target(metric="loss", goal="min", value=1),),
        budget=Budget(horizon=640, gradient_examples=1280, seconds={"default": 1}), batch_sizes=(32,), eval_every=64))
"""
    )
    site.add("bench-good", source)
    registry = load_registry()
    (plugin,) = registry.plugins
    assert (plugin.distribution, plugin.version, plugin.name) == ("bench-good", "1.0", "plugin")
    assert plugin.error is None
    assert plugin.hooks == ("bench_workloads", "bench_submissions", "bench_parts", "bench_executors")
    assert registry.submission("mine") == registry.submission("bench-good:mine")
    assert registry.submission("mine").distribution == "bench-good"
    assert registry.workload("task:easy") is registry.workload("bench-good:task:easy")
    assert isinstance(registry.workload("task:easy").facts.targets[0].value, float)
    assert registry.executor("here").name == "here"
    part = registry.part(None, "triangle")
    names = (("schedule", "triangle"), (None, "schedule:triangle"), ("bench-good", "triangle"))
    assert all(registry.part(kind, name) is part for kind, name in names)
    assert registry.part("bench-good", "schedule:triangle") is part
    assert registry.part("schedule", "bench-good:triangle") is part


HOOK = f"{API}@hookimpl\ndef bench_submissions():\n    "
BROKEN = {
    "raises": ("x = 1\nraise RuntimeError('two\\nlines')", "RuntimeError: two lines (bench_bad.py, line 2)"),
    "syntax": ("x = (", "SyntaxError: '(' was never closed (bench_bad.py, line 1)"),
    "missing": ("import surely_not_there", "(bench_bad.py, line 1) (pip install surely_not_there, or install the pl"),
    "newer name": ("from harness.api import Later", "for a newer version than 0.1.0, update algorace)"),
    "newer field": (HOOK + "yield SubmissionEntry(name='a', summary='s', colour=1)", "'colour' (bench_bad.py, line 4)"),
    "newer hook": (
        f"{API}@hookimpl\ndef bench_later(): ...",
        "if the plugin is for a newer version than 0.1.0, update algorace)",
    ),
    "exits": ("import os; os._exit(7)", "exit code 7"),
    "sys.exit": ("import sys; sys.exit('bye')", "SystemExit: bye"),
    "segfault": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "hook raises": (HOOK + "raise KeyError('x')", "bench_submissions() raised KeyError: 'x' (bench_bad.py, line 4)"),
    "wrong type": (HOOK + "yield 'wsd'", "yields a str, not a SubmissionEntry"),
    "not iterable": (HOOK + "return 3", "'int' object is not iterable"),
    "one entry": (HOOK + "return SubmissionEntry(name='a', summary='s', load='m:f')", "is not iterable"),
    "endless": (HOOK + "while True:\n        yield 1", "yields more than 10,000 entries"),
    "wrong field": (HOOK + "yield SubmissionEntry(name='a', summary=3)", "Expected `str`, got `int` - at `$.summary`"),
    "invalid": (HOOK + "yield SubmissionEntry(name='A b', summary='s', load='m:f')", "the name 'A b' must be"),
    "twice": (HOOK + "yield from [SubmissionEntry(name='a', summary='s', load='m:f')] * 2", "yields 'a' twice"),
    "misspelt": (f"{API}@hookimpl\ndef bench_submision(): ...", "did you mean 'bench_submissions'"),
    "arguments": (f"{API}@hookimpl\ndef bench_evaluated(spec, colour): ...", "colour"),
    "undecorated": ("def bench_submissions():\n    return []", "is not marked with @hookimpl"),
    "no hooks": ("x = 1", "it does not implement a hook (implement one of bench_workloads, "),
}


@pytest.mark.slow
def test_broken_plugins_cost_one_message_each_and_no_other_plugin(site: Site) -> None:
    for number, (source, _) in enumerate(BROKEN.values()):
        site.add(f"bench-bad{number}", source.replace("bench_bad", f"bench_bad{number}"))
    site.add("bench-good", yielding("mine"))
    registry = load_registry()
    errors = {plugin.distribution: plugin.error for plugin in registry.plugins}
    assert errors["bench-good"] is None
    assert registry.submission("mine").name == "mine"
    for number, (case, (_, expected)) in enumerate(BROKEN.items()):
        error = errors[f"bench-bad{number}"]
        assert error is not None, case
        assert expected.replace("bench_bad", f"bench_bad{number}") in error, case
        assert "\n" not in error


@pytest.mark.slow
def test_a_later_list_reads_no_plugin_again_and_has_one_message_for_each_problem(
    site: Site, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_PLUGIN_TIMEOUT", "2")
    site.add("bench-hangs", "import time\ntime.sleep(60)")
    site.add("bench-lacks", BROKEN["missing"][0])
    site.add("bench-newer", BROKEN["newer hook"][0])
    for name in ("bench-one", "bench-two"):
        site.add(name, yielding("same"))
    load_registry()
    request.getfixturevalue("no_children")
    assert cli.invoke(["list", "same"]) == 0
    lines = capsys.readouterr().err.splitlines()
    beginnings = [
        "same is offered by several distributions: write bench-one:same or bench-two:same",
        "broken plugin bench-hangs:plugin: it took longer than 2 s to import",
        "broken plugin bench-lacks:plugin: ModuleNotFoundError: No module named 'surely_not_there'",
        "broken plugin bench-newer:plugin: unknown hook 'bench_later'",
    ]
    assert len(lines) == len(beginnings)
    assert all(line.startswith(beginning) for line, beginning in zip(lines, beginnings, strict=True))


@pytest.mark.slow
def test_a_plugin_that_hangs_is_ended_with_what_it_started(
    site: Site, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("BENCH_PLUGIN_TIMEOUT", "2")
    mark = site.folder / "pid"
    site.add(
        "bench-hangs",
        f"""
        import subprocess, time
        open({str(mark)!r}, "w").write(str(subprocess.Popen(["sleep", "60"]).pid))
        time.sleep(60)
        """,
    )
    started = time.monotonic()
    registry = load_registry()
    assert time.monotonic() - started < 10
    errors = {plugin.distribution: plugin.error for plugin in registry.plugins}
    assert "took longer than 2 s" in str(errors["bench-hangs"])
    request.getfixturevalue("no_children")
    (hanging,) = load_registry().plugins
    assert hanging.error == errors["bench-hangs"], "no later command waits for it"
    assert _gone(int(mark.read_text()))


def test_a_thread_left_behind_holds_nothing_up(site: Site) -> None:
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    site.add("bench-threads", thread + yielding("mine"))
    assert load_registry().submission("mine").name == "mine"


def _gone(pid: int) -> bool:
    """Whether a process has ended, or is at most waited for by nobody."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/status")
        if status.exists() and "State:\tZ" in status.read_text():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_limit_that_is_none_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BENCH_PLUGIN_TIMEOUT", text)
    with pytest.raises(UsageError, match="BENCH_PLUGIN_TIMEOUT"):
        load_registry()


def test_broken_metadata_costs_one_message(site: Site) -> None:
    site.add("bench-good", yielding("mine"))
    site.metadata("bench-bad", "[bench]\nno equals sign")
    (site.folder / "bench_bare-2.0.dist-info").mkdir()
    (site.folder / "bench_bare-2.0.dist-info" / "entry_points.txt").write_text("[bench]\nplugin = bench_good")
    registry = load_registry()
    assert registry.submission("bench-good:mine").name == "mine"
    assert "entry_points.txt cannot be read" in str(next(p for p in registry.plugins if p.name == "?").error)
    assert any(plugin.distribution == "unknown" for plugin in registry.plugins)  # no METADATA at all


def test_a_plugin_for_another_version_is_not_even_imported(
    site: Site, no_children: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("bench-new", "raise AssertionError('imported')")
    metadata = site.folder / "bench_new-1.0.dist-info" / "METADATA"
    text = metadata.read_text()
    metadata.write_text(
        f"{text}Requires-Dist: torch>=99\nRequires-Dist: Algo_Race>=1\nRequires-Dist: algorace>=99,<100\n"
    )
    expected = "it needs algorace<100,>=99, and 0.1.0 is installed (update algorace, or install another version of"
    assert only(load_registry()).startswith(expected)


@pytest.mark.parametrize("line", ["algorace", "algorace>=0.1", "algorace>=99; extra == 'x'", "algorace>=?"])
def test_a_requirement_that_is_met_or_no_requirement_is_no_error(site: Site, line: str) -> None:
    site.add("bench-good", yielding("mine"))
    metadata = site.folder / "bench_good-1.0.dist-info" / "METADATA"
    metadata.write_text(f"{metadata.read_text()}Requires-Dist: {line}\n")
    assert [point.error for point in entry_points.discover() if point.distribution == "bench-good"] == [None]


def test_equal_entry_point_names_in_one_distribution_are_both_read(site: Site) -> None:
    site.add("bench-two", yielding("a"))
    (site.folder / "bench_other.py").write_text(yielding("b"))
    site.metadata("bench-two", "[bench]\nplugin = bench_two\nplugin = bench_other")
    registry = load_registry()
    assert [plugin.id for plugin in registry.plugins] == ["bench-two:plugin"] * 2
    assert [entry.name for entry in registry.submissions()] == ["a", "b"]


def test_an_entry_point_may_name_an_object(site: Site) -> None:
    source = (
        f"{API}class Plugin:\n    @hookimpl\n    def bench_submissions(self):\n        return []\nplugin = Plugin()\n"
    )
    site.add("bench-object", source, points={"p": "bench_object:plugin", "q": "bench_object:absent"})
    good, bad = load_registry().plugins
    assert good.error is None
    assert good.hooks == ("bench_submissions",)
    assert "absent" in str(bad.error)


# --- cache ------------------------------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_started_or_imported(site: Site, request: pytest.FixtureRequest) -> None:
    site.add("bench-good", yielding("mine"))
    site.add("bench-bad", "raise RuntimeError")
    cold = load_registry()
    request.getfixturevalue("no_children")
    warm = load_registry()
    assert warm.plugins == cold.plugins
    assert "bench_good" not in sys.modules


def test_a_changed_file_is_read_again_and_only_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    package = site.folder / "bench_pack"
    package.mkdir()
    site.add("bench-pack", "", points={"plugin": "bench_pack.plugin"}).unlink()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(yielding("old").replace("'old'", "NAME") + "from bench_pack.names import NAME\n")
    (package / "names.py").write_text("NAME = 'old'\n")
    site.add("bench-good", yielding("mine"))
    assert load_registry().submission("old").name == "old"
    requested = record_requests(monkeypatch)
    (package / "names.py").write_text("NAME = 'newer'\n")
    assert load_registry().submission("newer").name == "newer"
    assert [request.target for request in requested] == ["bench_pack.plugin"]
    load_registry(refresh=True)
    assert len(requested) == 3


def _edit(package: Path) -> None:
    file = package / "plugins" / "validation.py"
    file.write_text(file.read_text() + "# edited\n")


def _add(package: Path) -> None:
    (package / "contract" / "more").mkdir()
    (package / "contract" / "more" / "kinds.py").write_text("")


def _remove(package: Path) -> None:
    (package / "plugins" / "observer_process.py").unlink()


@pytest.mark.parametrize("change", [_edit, _add, _remove], ids=["edited", "added", "removed"])
def test_other_code_that_reads_plugins_voids_the_cache(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """What it read before may be read differently: a stamp of the plugin's files alone would not see that."""
    package = tmp_path / "harness"
    for folder in ("contract", "plugins"):
        shutil.copytree(ROOT / "harness" / folder, package / folder)
    monkeypatch.setattr(plugin_cache, "__file__", str(package / "plugins" / "cache.py"))
    monkeypatch.setattr(plugin_cache, "_reader_hash", plugin_cache._reader_hash.__wrapped__)
    site.add("bench-good", yielding("mine"))
    load_registry()
    requested = record_requests(monkeypatch)
    load_registry()
    assert requested == [], "nothing has changed"
    change(package)
    assert load_registry().submission("mine").name == "mine"
    assert [request.target for request in requested] == ["bench_good"]
    load_registry()
    assert len(requested) == 1, "what was read is cached under the new stamp"


def test_another_version_of_the_harness_voids_the_cache(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("bench-good", yielding("mine"))
    load_registry()
    requested = record_requests(monkeypatch)
    monkeypatch.setattr(plugin_cache, "__version__", "99.0")
    monkeypatch.setattr(plugin_cache, "_reader_hash", plugin_cache._reader_hash.__wrapped__)
    load_registry()
    assert [request.target for request in requested] == ["bench_good"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 0, "readings": {}}', b"\xff\xfe", b"[1]"])
def test_a_corrupt_cache_is_written_over(
    site: Site, tmp_path: Path, content: bytes, request: pytest.FixtureRequest
) -> None:
    site.add("bench-good", yielding("mine"))
    cache = tmp_path / "cache" / "plugins.json"
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert load_registry().submission("mine").name == "mine"
    assert [file.name for file in cache.parent.iterdir()] == ["plugins.json"]
    request.getfixturevalue("no_children")
    assert load_registry().submission("mine").name == "mine"


def test_a_cache_that_cannot_be_written_is_no_error(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("bench-good", yielding("mine"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert load_registry().submission("mine").name == "mine"


def test_a_failure_is_tried_again_when_something_was_installed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = site.folder / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(packages))
    site.add("bench-needy", "import bench_late\n" + yielding("mine"))
    assert "bench_late" in only(load_registry())
    (packages / "bench_late.py").write_text("")
    assert load_registry().submission("mine").name == "mine"


def test_the_registry_needs_nothing_heavy(site: Site) -> None:
    site.add("bench-good", yielding("mine"))
    code = """
import sys
from harness.plugins.registry import load_registry
for _ in range(2):
    assert load_registry().submission("mine").name == "mine"
print([name for name in ("torch", "numpy", "pandas", "scipy", "rich", "bench_good") if name in sys.modules])
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site.folder)])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- looking up -------------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_answered_with_the_nearest_and_the_broken(site: Site) -> None:
    site.add("bench-good", yielding("mine"))
    site.add("bench-bad", "raise RuntimeError('why')")
    registry = load_registry()
    with pytest.raises(UsageError) as caught:
        registry.submission("mien")
    assert caught.value.exit_code == EXIT_USAGE
    assert "did you mean 'mine'?" in str(caught.value)
    assert "bench-bad:plugin" in str(caught.value)
    assert "`bench plugins`" in str(caught.value)
    with pytest.raises(PluginError, match="RuntimeError: why") as broken:
        registry.submission("bench-bad:mine")
    assert broken.value.exit_code == EXIT_BROKEN
    with pytest.raises(UsageError, match="unknown optimizer 'adam'"):
        registry.part("optimizer", "adam")
    with pytest.raises(UsageError, match="no workload is installed"):
        registry.workload("nothing")


def test_equal_names_from_two_distributions_are_refused(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    part = f"{API}@hookimpl\ndef bench_parts():\n    yield PartEntry(kind='order', name='p', load='m:f', summary='s')\n"
    site.add("bench-one", yielding("same") + part.removeprefix(API))
    site.add("bench-two", yielding("same", "bench-one:same") + part.removeprefix(API))
    registry = load_registry()
    with pytest.raises(UsageError, match="bench-one and by bench-two") as caught:
        registry.submission("same")
    assert "bench-one:same or bench-two:same" in str(caught.value)
    assert registry.submission("bench-two:same").distribution == "bench-two"
    assert registry.submission("bench-one:same").name == "bench-one:same"  # an exact name goes first
    with pytest.raises(UsageError, match="write bench-one:order:p or bench-two:order:p"):
        registry.part("order", "p")
    for kind, name in (("bench-two", "order:p"), (None, "bench-two:p"), ("order", "bench-two:p")):
        assert registry.part(kind, name).distribution == "bench-two"
    assert registry.part("order", "p", prefer="bench-one").distribution == "bench-one"
    assert cli.invoke(["list"]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "same is offered by several distributions: write bench-one:same or bench-two:same",
        "order:p is offered by several distributions: write bench-one:order:p or bench-two:order:p",
    ]


def test_equal_names_within_one_distribution_or_kind(site: Site) -> None:
    parts = """
@hookimpl
def bench_parts():
    for kind in ("order", "replay"):
        yield PartEntry(kind=kind, name="p", load="m:f", summary="s")
"""
    site.add("bench-one", yielding("same") + parts, points={"a": "bench_one", "b": "bench_other"})
    (site.folder / "bench_other.py").write_text(yielding("same"))
    registry = load_registry()
    with pytest.raises(UsageError, match="twice, in bench-one:a and bench-one:b") as caught:
        registry.submission("same")
    assert "-p no:bench-one:a" in str(caught.value)
    with pytest.raises(UsageError, match="write order:p or replay:p"):
        registry.part(None, "p")
    assert load_registry(block=["bench-one:a"]).submission("same").name == "same"


def test_what_a_plugin_offered_before_it_broke_is_remembered(site: Site) -> None:
    source = yielding("mine") + (
        "@hookimpl\ndef bench_parts():\n    yield PartEntry(kind='order', name='p', load='m:f', summary='s')\n"
    )
    file = site.add("bench-flaky", source)
    load_registry()
    file.write_text("raise RuntimeError('broken now')")
    for _ in range(2):  # read, then from the cache
        registry = load_registry()
        with pytest.raises(PluginError, match=r"bench-flaky:plugin 1\.0 is broken: RuntimeError: broken now"):
            registry.submission("mine")
        for kind, name in (("order", "p"), (None, "order:p"), (None, "p")):
            with pytest.raises(PluginError):
                registry.part(kind, name)
        with pytest.raises(UsageError):
            registry.workload("mine")
    file.write_text(source + "\n\n")
    assert load_registry().submission("mine").name == "mine"


@pytest.mark.parametrize(
    ("block", "variable", "left"),
    [
        ([], "", {"one:a", "one:b", "two:a"}),
        (["one"], "", {"two:a"}),
        (["Bench_One"], "", {"one:a", "one:b", "two:a"}),  # entry-point names are spelt exactly
        (["a"], "", {"one:b"}),
        (["no:bench-one:a"], "", {"one:b", "two:a"}),
        ([], "no:b", {"one:a", "two:a"}),
        (["bench-two"], "no:b, bench-one,two", {"one:a"}),
        ([], "bench-two", {"two:a"}),
        ([], "bench-one:b", {"one:b"}),
    ],
)
def test_plugins_are_blocked_and_allowed(
    site: Site, monkeypatch: pytest.MonkeyPatch, block: list[str], variable: str, left: set[str]
) -> None:
    marker = "no:algorace"
    site.add("bench-one", "raise RuntimeError", points={"a": "bench_one", "b": "bench_one"})
    site.add("bench-two", "raise RuntimeError", points={"a": "bench_two"})
    monkeypatch.setenv("BENCH_PLUGINS", f"{marker},{variable}")
    monkeypatch.setattr(
        plugin_cache,
        "read_in_children",
        lambda requests, limit: [PluginContents(error="unread") for _ in requests],
    )
    block = [{"one": "bench-one"}.get(name, name) for name in block]
    registry = load_registry(block=block)
    assert {plugin.id.removeprefix("bench-") for plugin in registry.plugins} == left
    if "Bench_One" in block:
        assert any("Bench_One" in warning for warning in registry.warnings)


def test_a_blocked_plugin_is_not_even_read_and_is_named(site: Site, no_children: None) -> None:
    site.add("bench-bad", "raise RuntimeError")
    registry = load_registry(block=["bench-bad"])
    assert registry.plugins == ()
    with pytest.raises(UsageError, match=r"blocked: .*bench-bad:plugin"):
        registry.submission("x")


# --- failures that pass -----------------------------------------------------------------------------------------------

#: What may go wrong once while a plugin is read: no answer at all, or an answer about the state of the system.
PASSING = {
    "killed": "os.kill(os.getpid(), 9)",
    "exit": "os._exit(1)",
    "full disk": "raise OSError(28, 'No space left on device')",
    "no memory": "raise MemoryError",
    "interrupted": "raise KeyboardInterrupt",
}


@pytest.mark.parametrize("failure", PASSING)
def test_a_failure_that_passes_is_not_cached(failure: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"import os\nif 'BENCH_MOOD' in os.environ:\n    {PASSING[failure]}\n{yielding('mine')}"
    site.add("bench-moody", source)
    monkeypatch.setenv("BENCH_MOOD", "bad")
    assert only(load_registry())
    monkeypatch.delenv("BENCH_MOOD")
    assert load_registry().submission("mine").name == "mine"
    monkeypatch.setenv("BENCH_MOOD", "bad")
    assert load_registry().submission("mine").name == "mine", "the answer is cached"
    assert only(load_registry(refresh=True))
    monkeypatch.delenv("BENCH_MOOD")
    requested = record_requests(monkeypatch)
    assert load_registry().submission("mine").name == "mine"
    assert requested == [], "a failure that passes does not replace an answer"


def test_an_error_of_the_plugin_is_an_answer_and_cached(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("bench-broken", "raise ValueError('a mistake')\n")
    error = only(load_registry())
    requested = record_requests(monkeypatch)
    assert only(load_registry()) == error
    assert requested == []


def test_a_process_that_cannot_start_is_a_passing_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("bench-good", yielding("mine"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(reading._Child, "_start", refuse)
        assert "cannot be started" in only(load_registry())
    with monkeypatch.context() as patched:
        patched.setattr("tempfile.TemporaryDirectory", refuse)
        with pytest.raises(StoreError, match="no temporary folder can be created"):
            load_registry()
    assert load_registry().submission("mine").name == "mine"


@pytest.mark.parametrize("error", ["OSError(28, 'No space left on device')", "MemoryError()"])
def test_a_hook_that_lacks_space_or_memory_is_a_passing_error(
    error: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add(
        "bench-mine",
        yielding("mine").replace(
            "    return", f"    import os\n    if os.environ.get('FULL'): raise {error}\n    return"
        ),
    )
    monkeypatch.setenv("FULL", "1")
    assert error.partition("(")[0] in only(load_registry())
    monkeypatch.delenv("FULL")
    assert load_registry().submission("mine").name == "mine"


def test_a_plugin_that_took_too_long_is_read_again_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("bench-slow", yielding("mine"))
    slow = PluginContents(error="slow", is_transient=True, limit_s=20.0)
    requested: list[ReadRequest] = []

    def time_out(requests: Sequence[ReadRequest], limit: float) -> list[PluginContents]:
        requested.extend(requests)
        return [slow for _ in requests]

    monkeypatch.setattr(plugin_cache, "read_in_children", time_out)
    for variable, expiry, count in (("20", 3600.0, 1), ("19", 3600.0, 1), ("21", 3600.0, 2), ("20", 0.0, 3)):
        monkeypatch.setenv("BENCH_PLUGIN_TIMEOUT", variable)
        monkeypatch.setattr(plugin_cache, "_TIMEOUT_EXPIRES_S", expiry)
        assert only(load_registry()) == "slow"
        assert len(requested) == count
    monkeypatch.setattr(plugin_cache, "read_in_children", read_in_children)
    assert load_registry(refresh=True).submission("mine").name == "mine"
    monkeypatch.setattr(plugin_cache, "read_in_children", time_out)
    assert only(load_registry(refresh=True)) == "slow"
    assert load_registry().submission("mine").name == "mine", "a transient error does not replace an answer"


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["data", "list"], ["data", "verify"]])
def test_a_list_without_a_working_plugin_is_an_error(
    command: list[str], site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bench-one", "bench-two"):
        site.add(name, yielding("mine"))
    monkeypatch.setenv("BENCH_PLUGIN_TIMEOUT", "0.0001")
    assert cli.invoke(command) == EXIT_BROKEN
    output = capsys.readouterr()
    assert not output.out
    (line,) = output.err.splitlines()
    assert "all 2 plugins are broken; bench-one:plugin: it took longer than 0.0001 s to import" in line
    monkeypatch.delenv("BENCH_PLUGIN_TIMEOUT")
    assert cli.invoke(["list"]) == 0, "the failure has passed"
    assert "mine" in capsys.readouterr().out


def test_a_list_with_one_working_plugin_names_the_broken(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("bench-good", yielding("mine"))
    site.add("bench-broken", "raise ValueError('a mistake')\n")
    assert cli.invoke(["list"]) == 0
    assert "broken plugin bench-broken:plugin: ValueError: a mistake" in capsys.readouterr().err


# --- without packaging ------------------------------------------------------------------------------------------------

METHODS = ("__init__(self, model, task, hparams)", "step(self, work)", "eval_weights(self)", "state_dict(self)")
STEP = "".join(f"    def {method}: ...\n" for method in (*METHODS, "load_state_dict(self, state)"))
#: The methods of a workload.
TASK = "".join(
    f"    def {method}: ...\n"
    for method in (
        "build_model(self, seed)",
        "parameter_kinds(self, model)",
        "train_data(self, seed)",
        "loss(self, model, batch, per_example=False)",
        "outputs(self, model, batch)",
        "evaluate(self, model, split, stage=None)",
    )
)


def write(folder: Path, source: str, name: str = "my_optimizer.py") -> str:
    file = folder / name
    file.write_text(source)
    return str(file)


def test_a_class_in_a_file_is_a_submission(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    fields = "    search_space = {'lr': LogUniform(1e-3, 1e-1)}\n    needs = {'horizon'}\n    checks = ['lr < 1']\n"
    text = write(tmp_path, f'{API}class Mine:\n    """What it does.\n\n    More."""\n{fields}{STEP}')
    entry = submission_from_path(text).entry
    assert (entry.name, entry.load, entry.distribution) == ("my-optimizer", f"{text}:Mine", "file")
    assert (entry.summary, entry.needs, entry.checks) == ("What it does.", frozenset({"horizon"}), ("lr < 1",))
    assert entry.space == {"lr": domains.LogUniform(1e-3, 1e-1)}
    request.getfixturevalue("no_children")
    assert submission_from_path(text).entry == entry
    assert loading.load_object(str(entry.load)).__name__ == "Mine"


def test_a_path_may_be_relative_and_name_one_of_several(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, f"class A:\n{STEP}class B(A): ...\nclass _C(A): ...\n", "two.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"\./two\.py: it defines several: A, B .*two\.py:A, two\.py:B"):
        submission_from_path("./two.py")
    assert submission_from_path("./two.py:B").entry.name == "two.b"
    assert submission_from_path("two.py:_C").entry.load == f"{tmp_path / 'two.py'}:_C"


@pytest.mark.slow
def test_a_recipe_in_a_file_goes_before_the_optimizer_it_is_made_of(site: Site, tmp_path: Path) -> None:
    text = write(
        tmp_path,
        """'''A file.'''
import torch
from harness.api import LogUniform, Recipe
class Sgd(torch.optim.SGD):
    def __init__(self, params, lr=0.5, momentum: float = 0, betas=(0.2, 2), mode="a"): ...
def make(parameters, lr): ...
Mine = Recipe(optimizer=make, schedule="wsd", search_space={"lr": LogUniform(0.01, 1.0)}, checks=("lr < 1",))
""",
    )
    entry = submission_from_path(text).entry
    assert (entry.name, entry.parts, entry.summary) == ("my-optimizer", ("schedule:wsd",), "A file.")
    optimizer = submission_from_path(f"{text}:Sgd").entry
    assert optimizer.space == {
        "lr": domains.LogUniform(1e-4, 1e-1, default=0.5),
        "momentum": domains.Fixed(0.0, limits=(0.0, 0.999999)),
        "beta1": domains.Fixed(0.2, limits=(0.0, 0.999999)),
        "beta2": domains.Fixed(2),
        "mode": domains.Fixed("a"),
    }


FACTS = """FACTS = WorkloadFacts(
    name="my-task", version="1", tier="cpu", targets=(Target(metric="loss", goal="min", value=1.0),),
    budget=Budget(horizon=640, gradient_examples=1280, seconds={"default": 1.0}), batch_sizes=(32,), eval_every=64)
"""


def test_a_workload_in_a_file(site: Site, tmp_path: Path) -> None:
    text = write(tmp_path, f"{API}{FACTS}class Task:\n    '''My task.'''\n    facts = FACTS\n{TASK}", "my_task.py")
    entry = workload_from_path(text)
    assert (entry.name, entry.summary, entry.load) == ("my-task", "My task.", f"{text}:Task")
    bad = write(tmp_path, f"{API}{FACTS.replace('640', '650')}class Task:\n    facts = FACTS\n", "bad_task.py")
    with pytest.raises(UsageError, match="the horizon 650 must be a multiple of eval_every=64"):
        workload_from_path(bad)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("x = (\n", "", "SyntaxError: '(' was never closed (my_optimizer.py, line 1)"),
        ("\n\nprint(1 / 0)", "", "ZeroDivisionError: division by zero (my_optimizer.py, line 3)"),
        ("import json\njson.loads('{')", "", "(my_optimizer.py, line 2)"),
        ("exit(3)", "", "SystemExit: 3"),
        ("import os; os._exit(3)", "", "exit code 3"),
        ("x = 1", "", "it does not define a submission (define a Recipe, a class with step(), eval_weights() and "),
        (f"class Mine:\n{STEP}", ":Mien", "it has no 'Mien'; did you mean 'Mine'?"),
        ("x = 1", ":x", "x is not a submission (define a Recipe, "),
        (f"class A:\n    needs = {{'magic'}}\n{STEP}", "", "unknown needs 'magic'; choose from"),
        (f"class A:\n    checks = 'lr < 1'\n{STEP}", "", "Expected `array`, got `str` - at `$.checks`"),
        ("import beside", "", "put beside.py and this file into one file or a package"),
    ],
)
def test_a_file_that_is_wrong_is_one_line_with_its_name(
    site: Site, tmp_path: Path, source: str, name: str, message: str
) -> None:
    write(tmp_path, "", "beside.py")
    text = write(tmp_path, source)
    with pytest.raises(UsageError) as caught:
        submission_from_path(text + name)
    assert message in str(caught.value)
    assert "my_optimizer.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_hangs(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^\./nothing\.py: there is no such file"):
        submission_from_path("./nothing.py")
    monkeypatch.setenv("BENCH_PLUGIN_TIMEOUT", "0.7")
    with pytest.raises(UsageError, match=r"my_optimizer\.py: it took longer than 0\.7 s"):
        submission_from_path(write(tmp_path, "while True: pass"))


@pytest.mark.slow
def test_a_bare_class_is_a_submission(site: Site, request: pytest.FixtureRequest) -> None:
    entry = entry_from_class("torch.optim:Adam")
    assert (entry.name, entry.load, entry.distribution) == ("torch.optim:Adam", "torch.optim:Adam", "torch")
    assert entry.space["lr"] == domains.LogUniform(1e-4, 1e-1, default=1e-3)
    assert entry.space["amsgrad"] == domains.Fixed(False)
    assert entry.space["weight_decay"] == domains.Fixed(0.0, limits=(0.0, None))
    assert "betas" not in entry.space
    assert [hyperparameters.default(entry.space[name]) for name in ("beta1", "beta2")] == [0.9, 0.999]
    for bad in ({"weight_decay": -1.0}, {"eps": -1.0}, {"beta2": 1.0}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            hyperparameters.resolve(entry.space, bad, (), {})
    for load, message in {"os:path": "not a torch optimizer class", "os.nothing:X": "os.nothing:X: Module"}.items():
        with pytest.raises(UsageError, match=message):
            entry_from_class(load)
    request.getfixturevalue("no_children")
    assert entry_from_class("torch.optim:Adam") == entry


# --- loading ----------------------------------------------------------------------------------------------------------


def test_objects_are_loaded_by_module_or_file(tmp_path: Path) -> None:
    text = write(tmp_path, "class A:\n    class B: ...\n", "loads.py")
    assert loading.load_object(f"{text}:A.B") is loading.load_object(f"{text}:A").B
    assert loading.load_object("os.path:join") is os.path.join
    for load in ("nothing", "no_such_module:X", "os:nothing", f"{tmp_path}/none.py:X"):
        with pytest.raises(PluginError, match=load.replace("\\", ".")):
            loading.load_object(load)
    bad = write(tmp_path, "raise SystemExit(1)", "bad.py")
    for _ in range(2):  # what failed is not left behind half made
        with pytest.raises(PluginError, match="SystemExit: 1"):
            loading.load_object(f"{bad}:X")


def test_the_source_hash_follows_the_files_that_matter(site: Site, tmp_path: Path) -> None:
    package = site.folder / "bench_hashed"
    (package / "deep").mkdir(parents=True)
    for name, source in {
        "__init__.py": "raise AssertionError('imported')",
        "method.py": "from . import helper\nfrom bench_hashed.deep import leaf\n",
        "helper.py": "",
        "other.py": "",
        "deep/__init__.py": "",
        "deep/leaf.py": "",
    }.items():
        (package / name).write_text(source)
    loads = ["bench_hashed.method:f", "torch.optim:Adam", "no_such_module:f"]
    first = source_hash(loads)
    assert first == source_hash(reversed(loads))
    for name, counts in {"other.py": False, "helper.py": True, "deep/leaf.py": True, "__init__.py": True}.items():
        before = source_hash(loads)
        (package / name).write_text("raise AssertionError('changed')")
        assert (source_hash(loads) != before) is counts, name
    text = write(tmp_path, "x = 1")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy = write(elsewhere, "x = 1")
    assert source_hash([f"{text}:x"]) == source_hash([f"{copy}:x"])
    write(elsewhere, "x = 2")
    assert source_hash([f"{text}:x"]) != source_hash([f"{copy}:x"])


# --- validation -------------------------------------------------------------------------------------------------------


def facts(**changed: Any) -> workload.WorkloadFacts:
    fields: dict[str, Any] = {
        "name": "task",
        "version": "1",
        "tier": "cpu",
        "targets": (workload.Target(metric="loss", goal="min", value=1.0),),
        "budget": workload.Budget(horizon=640, gradient_examples=1280, seconds={"default": 1.0}),
        "batch_sizes": (32, 64),
        "eval_every": 64,
    }
    return workload.WorkloadFacts(**{**fields, **changed})


STAGE = workload.Stage(name="a", targets=facts().targets, max_examples=320)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, None),
        ({"name": "Task"}, "the name 'Task'"),
        ({"name": "task+variant:b-1.0"}, None),
        ({"version": "1@2"}, "the version"),
        ({"version": "9" * 90}, "at most 80 printable characters"),
        ({"batch_sizes": (48,)}, "the batch size 48 must divide"),
        ({"batch_sizes": ()}, "batch_sizes must not be empty"),
        ({"eval_every": 0}, "must be positive"),
        ({"eval_every": 192, "batch_sizes": (32,)}, "must be a multiple"),
        (
            {"budget": workload.Budget(horizon=640, gradient_examples=64, seconds={"default": 1.0})},
            "at least the horizon",
        ),
        ({"budget": workload.Budget(horizon=640, gradient_examples=640, seconds={})}, "for 'default'"),
        ({"targets": ()}, "it must have a target"),
        ({"stages": (STAGE,)}, "a pool cannot have stages"),
        ({"access": "stream"}, "at least one stage"),
        ({"access": "stream", "stages": (STAGE, STAGE)}, "it has the stage 'a' twice"),
        ({"access": "stream", "stages": (STAGE,)}, "must be the sum of the stages' max_examples, 320"),
        ({"model_options": {"dropout": domains.Uniform(0.5, 0.1)}}, "low=0.5 is above high=0.1"),
    ],
)
def test_facts_are_validated(changed: dict[str, Any], problem: str | None) -> None:
    _expect(entries.WorkloadEntry(facts=facts(**changed), load="m:f", summary="s"), problem)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, None),
        ({"summary": " "}, "the summary"),
        ({"load": "m.f"}, "load='m.f'"),
        ({"load": "/some where/file.py:Name"}, None),
        ({"load": None}, "it must have `load`, or a part of kind optimizer"),
        ({"load": None, "parts": ("optimizer:adamw",)}, None),
        ({"parts": ("wsd",)}, "the part 'wsd'"),
        ({"parts": ("colour:red",)}, "the part 'colour:red'"),
        ({"needs": frozenset({"magic"})}, "needs 'magic'"),
        ({"checks": ("lr <",)}, "not an expression"),
        ({"checks": ("open('x')",)}, "may not contain open"),
        ({"checks": ("lr ** 2 < 1",)}, "may not contain Pow"),
        ({"checks": ("lr // 2 < 1",)}, "may not contain FloorDiv"),
        ({"checks": ("lr in beta",)}, "may not contain In"),
        ({"checks": ("lr is beta",)}, "may not contain Is"),
        ({"checks": ("mode == b'a'",)}, "may not contain b'a'"),
        ({"checks": ("lr < 1j",)}, "may not contain 1j"),
        ({"checks": ("steps < 1",)}, "may not contain steps"),
        ({"checks": ("steps(lr, 2) < 1",)}, "calls steps with 2 values"),
        ({"checks": ("min(lr) < 1",)}, "calls min with 1 values"),
        ({"checks": ("max(lr, 2, key=min) < 1",)}, "may not contain keyword"),
        ({"checks": ("lr < 1" + chr(0),)}, "not an expression"),
        ({"checks": ("-min(lr, 2) <= 3 * lr / 2 != 1 or steps(lr) > 2 and mode == 'a'",)}, None),
        ({"space": {"a b": domains.Fixed(1)}}, "must be a Python name"),
        ({"space": {"lr": domains.LogUniform(0.0, 1.0)}}, "must be positive on a logarithmic scale"),
        ({"space": {"lr": domains.LogUniform(0.1, 1.0, default=-1.0)}}, "default=-1 is out of range"),
        ({"space": {"n": domains.Integer(1, 4, default=9)}}, "default=9 is out of range"),
        ({"space": {"c": domains.Choice(())}}, "a choice must have values"),
        ({"space": {"c": domains.Choice(("a",), default="b")}}, "default=b is not allowed"),
    ],
)
def test_submissions_are_validated(changed: dict[str, Any], problem: str | None) -> None:
    fields: dict[str, Any] = {"name": "mine", "summary": "s", "load": "m:f"}
    _expect(entries.SubmissionEntry(**{**fields, **changed}), problem)


def _expect(entry: entries.WorkloadEntry | entries.SubmissionEntry, problem: str | None) -> None:
    found = validate_entry(entry)
    assert (found == []) if problem is None else any(problem in one for one in found), found
