"""Reading files: every unreadable file is one error of one class, in one line that names the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from harness.cli import config, sweep
from harness.contract.record import Record
from harness.datasets import http
from harness.errors import BenchError, DamagedError, StoreError, UsageError
from harness.execution.attempts import AttemptWatcher
from harness.planning.rulesets import ruleset
from harness.plugins import cache
from harness.report.imported_logs import import_wandb
from harness.scoring.algoperf.rules import read_table
from harness.scoring.algoperf.target_files import read_targets
from harness.storage import records
from harness.storage.ledger import LEDGER, read_ledger
from harness.storage.notes import read_note
from harness.storage.run_folder import RunFolder
from harness.system.files import open_regular, read_file, read_struct, read_text, walk_folders, write_atomically
from harness.tuning.best_settings import read_best_settings
from tests.helpers import Remember, run_here, spec_of, submission

#: The two handed cases (a byte that is not UTF-8, deep nesting), then further inputs of the same kind.
BAD_CONTENTS = {
    "byte": b'{"schema": 1, "\xff": 1}',
    "deep": b'{"schema": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "utf-16": '{"schema": 1}'.encode("utf-16"),
    "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "truncated": b'{"schema": ',
}


def write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(5 << 30)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


#: Paths that are not regular files of a sensible size.
BAD_FILES: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "pipe": make_pipe,
    "device": make_device,
    "sparse": make_sparse,
}
MAKERS: dict[str, Callable[[Path], object]] = {
    **{name: partial(write, content) for name, content in BAD_CONTENTS.items()},
    **BAD_FILES,
}

#: Functions that read a file of one kind, and raise an error for a damaged one.
READERS: dict[str, Callable[[Path], object]] = {
    "record.json": records.read_record,
    "best_settings.json": read_best_settings,
    "struct.json": lambda path: read_struct(path, Record),
    "bench.yaml": config.read_default_map,
    "sweep.yaml": sweep.read,
    "mine.yaml": lambda path: ruleset(str(path)),
    "targets.json": read_targets,
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    return MAKERS[request.param]


@pytest.mark.parametrize("name", READERS)
def test_an_unreadable_file_is_one_error_that_names_it(
    name: str, make: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(BenchError) as caught:
        READERS[name](path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 1500
    assert caught.value.exit_code != 3


def test_the_reason_is_given(tmp_path: Path) -> None:
    reasons = {}
    for name, content in BAD_CONTENTS.items():
        path = tmp_path / f"{name}.json"
        path.write_bytes(content)
        with pytest.raises(DamagedError) as caught:
            read_struct(path, dict[str, object])
        reasons[name] = caught.value.what.partition(" is damaged: ")[2]
    assert reasons["byte"] == "byte 0 is not UTF-8"
    assert reasons["deep"] == reasons["deep objects"] == "its values are nested too deep"
    for name, make_bad in BAD_FILES.items():
        make_bad(tmp_path / name)
        with pytest.raises(DamagedError, match=r"limit for this kind" if name == "sparse" else "not a regular file"):
            read_file(tmp_path / name)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_bytes('{"name": "µ"}'.encode())
    assert read_struct(path, dict[str, str]) == {"name": "µ"}
    assert read_text(path) == '{"name": "µ"}'
    assert read_file(path, limit=14) == path.read_bytes()
    with pytest.raises(DamagedError, match="13 bytes"):
        read_file(path, limit=13)
    with open_regular(path) as file:
        assert file.read(2) == b'{"'
    with pytest.raises(StoreError, match="No such file"):
        read_file(tmp_path / "missing")
    with pytest.raises(StoreError, match="zero byte"):
        read_file(tmp_path / "zero\0")


def test_a_file_that_hides_its_size_is_limited() -> None:
    """The size of a file in /proc is 0."""
    with pytest.raises(DamagedError, match="limit"):
        read_file(Path("/proc/self/status"), limit=10)


@pytest.mark.parametrize(
    "text", ["a: 2001-13-45", "a: !!timestamp x", "a: !!int zz", "[" * 2000, "{[a]: b}", "a: \x01"], ids=lambda t: t[:9]
)
def test_yaml_that_cannot_be_converted_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"is not YAML: |is not a decimal number") as caught:
        config.read_default_map(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_can_be_made_again_is_ignored_when_damaged(
    make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    make(tmp_path / "plugins.json")
    assert cache._load_cache() == {}
    make(tmp_path / "part.json")
    assert http._read_origin(tmp_path / "part.json") == {}


def test_a_note_that_is_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "note.txt")
    assert read_note(tmp_path) == ""


@pytest.mark.parametrize("name", ["byte", "deep", "pipe"])
def test_an_imported_history_that_cannot_be_read_is_an_error(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "history.json", tmp_path / "times.csv"):
        MAKERS[name](path)
    with pytest.raises(BenchError, match=r"history\.json"):
        import_wandb(tmp_path / "history.json", submission="a", workload="b", metrics=("loss",))
    with pytest.raises(BenchError, match=r"times\.csv"):
        read_table(tmp_path / "times.csv")


def test_one_bad_record_is_one_line_and_the_others_are_read(make: Callable[[Path], object], tmp_path: Path) -> None:
    entry = submission("tests.submissions_for_tests:Base", needs=frozenset({"feedback", "pool", "holdout"}))
    spec = spec_of(entry, smoke=True)
    good = run_here(spec, tmp_path / "good")
    for folder in ("run-a", "run-z"):
        (tmp_path / folder).mkdir()
        make(tmp_path / folder / "record.json")
    loaded, problems = records.read_all([tmp_path])
    assert [record.run_id for record in loaded] == [good.run_id]
    assert len(problems) == 2
    assert all("record.json" in problem and "\n" not in problem for problem in problems)


def test_a_trial_with_a_bad_record_runs_again(make: Callable[[Path], object], tmp_path: Path) -> None:
    entry = submission("tests.submissions_for_tests:Base", needs=frozenset({"feedback", "pool", "holdout"}))
    spec = spec_of(entry, smoke=True)
    folder = RunFolder(tmp_path, run_here(spec, tmp_path).run_id)
    folder.record_path.unlink()
    make(folder.record_path)
    watcher = Remember()
    AttemptWatcher(tmp_path, watcher).started(spec, ())
    again = run_here(spec, tmp_path, watcher=watcher)
    assert again.status != "interrupted"
    assert folder.record() == again
    assert "renamed to record.json.corrupt" in watcher.warnings[0]
    assert read_ledger(tmp_path / LEDGER)[-1].event == "damaged"


def test_a_tree_of_any_depth_is_walked(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    errors: list[OSError] = []
    paths = [path for path, _, _ in walk_folders(tmp_path, lambda _, error: errors.append(error))]
    # `shutil.rmtree`, with which pytest cleans up, calls itself for each level.
    for path in reversed(paths[1:]):
        path.rmdir()
    depths = [len(path.parts) for path in paths]
    assert depths == list(range(depths[0], depths[0] + 1201))
    assert errors == []


def test_folders_are_walked_in_order_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("b/inner", "a", "c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    walked = []
    for path, subfolders, names in walk_folders(tmp_path, lambda *_: None):
        walked.append((path.relative_to(tmp_path).as_posix(), list(subfolders), names))
        if "c" in subfolders:
            subfolders.remove("c")
    assert walked == [
        (".", ["a", "b", "c", "link"], []), ("a", [], []), ("b", ["inner"], ["file"]), ("b/inner", [], []),
    ]  # fmt: skip


def test_a_folder_that_vanishes_is_reported(tmp_path: Path) -> None:
    errors: list[Path] = []
    assert list(walk_folders(tmp_path / "no", lambda path, _: errors.append(path))) == []
    assert errors == [tmp_path / "no"]


def test_a_failed_write_on_a_read_only_file_system_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, opening the temporary file and removing it fail in the same way."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=r"cannot write .*/report\.html: Read-only file system \(make "):
        write_atomically(tmp_path / "report.html", b"")
