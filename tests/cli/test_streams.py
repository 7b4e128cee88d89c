"""Closed and full standard streams, encodings, a deleted folder and odd names: one line at most, and the right code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli
from harness.cli.app import COMMANDS
from tests.cli import warm
from tests.storage import published

#: For every command, arguments with which it succeeds and prints to stdout in a folder with published records.
CALLS = {
    "run": ["run", "--show-config"],
    "runs": ["runs"],
    "note": ["note", "--help"],
    "leaderboard": ["leaderboard"],
    "best": ["best", "hills", "--hardware", "cpu-synthetic"],
    "compare": ["compare", "alpha", "beta"],
    "gate": ["gate", "--help"],
    "ablate": ["ablate", "wsd-ema", "--dry-run"],
    "tune": ["tune", "--help"],
    "cost": ["cost", "--help"],
    "power": ["power"],
    "diff": ["diff", "--help"],
    "score": ["score", "--help"],
    "calibrate": ["calibrate", "resnet-digits", "--dry-run"],
    "report": ["report", "--help"],
    "verify": ["verify", "--help"],
    "rerun": ["rerun", "--help"],
    "publish": ["publish", "--help"],
    "results": ["results", "verify", "results"],
    "new": ["new", "submission", "--help"],
    "check": ["check", "--help"],
    "list": ["list"],
    "show": ["show", "wsd"],
    "rulesets": ["rulesets"],
    "data": ["data", "list"],
    "hardware": ["hardware"],
    "plugins": ["plugins"],
    "completion": ["completion", "zsh"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warm.start()
    path = tmp_path_factory.mktemp("bench")
    for name in ("alpha", "beta"):
        published.write(path / "results", name, 0, 1, 2)
    return path


@pytest.fixture(scope="module")
def usual(folder: Path) -> warm.Outcome:
    """The outcome of `bench runs` with good streams."""
    return warm.call(["runs"], folder)


def complaints(err: str) -> list[str]:
    assert "Traceback" not in err
    assert "internal error" not in err
    return [line for line in err.splitlines() if line.startswith("bench: ")]


def test_every_command_is_called() -> None:
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("name", CALLS)
def test_lost_output_is_one_line_and_exit_code_1_and_lost_messages_are_nothing(name: str, folder: Path) -> None:
    lost = warm.call(CALLS[name], folder, streams={1: "full"})
    assert lost.code == 1, lost.err
    (line,) = complaints(lost.err)
    assert line.startswith("bench: cannot write to standard output: No space left on device (")
    silent = warm.call(CALLS[name], folder, streams={2: "full"}, encoding="cp1252")
    assert silent.code == 0
    assert silent.out


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ({0: "closed"}, 0),
        ({1: "closed"}, 1),
        ({2: "closed"}, 0),
        ({1: "closed", 2: "closed"}, 1),
        ({0: "closed", 1: "closed", 2: "closed"}, 1),
        ({0: "closed", 1: "full", 2: "full"}, 1),
        ({1: "full", 2: "closed"}, 1),
    ],
    ids=str,
)
def test_any_streams_may_be_missing(streams: dict[int, str], code: int, folder: Path, usual: warm.Outcome) -> None:
    odd = warm.call(["runs"], folder, streams=streams)
    assert odd.code == code
    if 1 not in streams:
        assert odd.out == usual.out
    if code and 2 not in streams:
        (line,) = complaints(odd.err)
        assert "standard output" in line
    mistake = warm.call(["fly"], folder, streams=streams)
    assert mistake.code == 2, "a mistake is worse than lost output"
    assert not mistake.out, "no message is on stdout"


def test_the_code_of_a_failure_outlives_a_reader_that_stops(folder: Path) -> None:
    for arguments, code in ((["runs"], 0), (["results", "verify", "results"], 0), (["fly"], 2)):
        stopped = warm.call(arguments, folder, streams={1: "unread"})
        assert (stopped.code, complaints(stopped.err)[1:]) == (code, [])
        assert "standard output" not in stopped.err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
def test_characters_that_an_encoding_lacks_are_replaced(encoding: str, folder: Path) -> None:
    usual = json.loads(warm.call(["list", "--json"], folder).out)
    odd = warm.call(["list", "--json"], folder, encoding=encoding)
    assert odd.code == 0, odd.err
    assert json.loads(odd.out) == usual, "JSON loses nothing"
    drawn = warm.call(["show", "wsd"], folder, encoding=encoding)
    assert drawn.code == 0, drawn.err
    assert "?" not in drawn.out


def test_a_deleted_folder_is_one_line(tmp_path: Path) -> None:
    for arguments, code in ((["runs"], 1), (["run", "-s", "wsd", "-w", "lm-tiny"], 1), (["--help"], 0)):
        (tmp_path / "gone").mkdir()
        lost = warm.call(arguments, tmp_path / "gone", keep_folder=False)
        assert lost.code == code
        assert len(complaints(lost.err)) == code
        assert ("the current folder cannot be used" in lost.err) == bool(code)


# --- in this process --------------------------------------------------------------------------------------------------


class Blocked:
    """Paths that cannot be written, also for the user `root`: a file is in the place of their folder."""

    def __init__(self, folder: Path) -> None:
        (folder / "file").write_text("in the way")
        self.path = str(folder / "file" / "x")


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blocked:
    monkeypatch.chdir(tmp_path)
    for name in ("alpha", "beta"):
        published.write(tmp_path / "results", name, 0)
    return Blocked(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "-s", "wsd", "-w", "resnet-digits", "--smoke", "--fresh-workers", "--runs", "{}"],
        ["report", "{}.html"],
        ["calibrate", "resnet-digits", "--out", "{}", "--runs", "{}"],
        ["gate", "wsd", "--against", "adamw-cosine", "-w", "resnet-digits", "--max-pairs", "1", "--runs", "{}"],
        ["tune", "wsd", "-w", "resnet-digits", "--only", "lr", "--budget", "gate", "--runs", "{}"],
        ["cost", "wsd,adamw-cosine", "-w", "resnet-digits", "--runs", "{}"],
        ["data", "get", "mnist", "--from", "results"],
        ["show", "wsd", "--plot", "{}.svg"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_target_that_cannot_be_written_is_one_line(
    arguments: list[str], blocked: Blocked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_DATA", blocked.path)
    code = cli.invoke([argument.format(blocked.path) for argument in arguments])
    (line,) = complaints(capsys.readouterr().err)
    assert code in (1, 2), line
    assert "file" in line


def test_a_cache_that_cannot_be_written_changes_nothing(
    blocked: Blocked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE", blocked.path)
    assert cli.invoke(["plugins"]) == 0
    assert not complaints(capsys.readouterr().err)


@pytest.mark.parametrize("name", CALLS)
def test_a_zero_byte_is_a_mistake(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([name, "a\0b"]) == 2
    (line,) = complaints(capsys.readouterr().err)
    assert "zero byte" in line


@pytest.mark.parametrize("file", ["bench.yaml", "sweep.yaml"])
def test_a_zero_byte_in_a_file_is_a_mistake(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file).write_text('runs: "a\\0b"\n')
    assert cli.invoke(["runs"] if file == "bench.yaml" else ["run", file]) == 2
    (line,) = complaints(capsys.readouterr().err)
    assert "zero byte" in line
    assert file in line


def test_a_name_that_is_not_text_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of the folder is in a message to the worker, which is text in UTF-8."""
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "-s", "wsd", "-w", "resnet-digits", "--smoke", "--in-process", "--runs", "a\udcff"]
    monkeypatch.setattr("harness.cli.app.config.read_default_map", lambda: "a\udcff".encode())
    assert cli.invoke(arguments) == 2
    (line,) = complaints(capsys.readouterr().err)
    assert r"a\udcff' is not text in UTF-8" in line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "runs/a"), "cannot access runs/a: Permission denied ("),
        (OSError(24, "Too many open files"), "the system has reached a limit: Too many open files ("),
        (BrokenPipeError(32, "Broken pipe"), "internal error: BrokenPipeError"),
    ],
    ids=str,
)
def test_an_error_of_the_system_is_one_line(
    error: OSError, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken pipe that is not standard output is an error."""

    def refuse() -> None:
        raise error

    monkeypatch.setattr("harness.cli.app.config.read_default_map", refuse)
    assert cli.invoke(["runs"]) == (3 if "internal" in words else 1)
    assert words in capsys.readouterr().err
