"""The sandbox: what the kernel then forbids, and what holds where it offers less."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.contract.sandbox import SandboxOffer, SandboxRequest, weaker_sandbox
from harness.errors import UsageError
from harness.execution import confinement
from harness.execution.confinement import exclude_hidden
from harness.system import landlock, python_process, sandbox
from tests.helpers import spec_of, submission
from tests.system import escape

PERMITTED = (
    "write own", "rename own", "read own", "read source", "read system", "read machine", "read itself",
    "write device", "run program",
)  # fmt: skip
FORBIDDEN_FILES = (
    "read other",
    "write other",
    "write outside",
    "write source",
    "read shared memory",
    "read environment",
)


@functools.cache
def kernel_offer() -> SandboxOffer:
    """What the kernel offers here; asked once, and with the test's own folder as a place to write to."""
    return sandbox.ask_kernel(Path("/tmp")) if sys.platform == "linux" else SandboxOffer()


def outcomes_in(offer: SandboxOffer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a process can do in the sandbox of a trial, with these mechanisms."""
    if offer.landlock > kernel_offer().landlock or offer.namespaces > kernel_offer().namespaces:
        pytest.skip(f"this kernel does not offer {offer.name}")
    own, other = folder / "runs" / "own", folder / "runs" / "other"
    own.mkdir(parents=True)
    other.mkdir()
    (other / "weights").write_text("trained")
    monkeypatch.setattr(sandbox, "find_offer", lambda folder: offer)
    monkeypatch.setenv("BENCH_DATA", str(folder / "data"))
    request = confinement.sandbox_request(spec_of(submission("tests.submissions_for_tests:Base")), own, own.parent)
    # The repository is on the import path of the test, and may contain the temporary folder.
    shared = Path(escape.SHARED.format(os.getpid()))
    with socket.socket() as server, socket.socket(socket.AF_UNIX) as abstract:
        server.bind(("127.0.0.1", 0))
        server.listen()
        abstract.bind(escape.ABSTRACT.format(os.getpid()))
        abstract.listen()
        shared.write_text("trained")
        arguments = (msgspec.json.encode(request).decode(), str(own), str(other), str(server.getsockname()[1]))
        try:
            result = subprocess.run(
                python_process.command("tests.system.escape", *arguments, str(os.getpid())),
                env=python_process.environment(), capture_output=True, text=True, check=False,
            )  # fmt: skip
        finally:
            shared.unlink()
    assert result.returncode == 0, result.stderr
    outcomes: dict[str, str] = json.loads(result.stdout)
    return outcomes


OFFERS = [
    SandboxOffer(landlock=landlock.NEWEST_ABI, namespaces=True),
    SandboxOffer(landlock=landlock.NEWEST_ABI),
    SandboxOffer(landlock=1),
    SandboxOffer(namespaces=True),
]


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.name)
def test_a_process_in_a_sandbox_can_do_its_work_and_nothing_else(
    offer: SandboxOffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = outcomes_in(offer, tmp_path, monkeypatch)
    assert outcomes["name"] == offer.name
    assert {name: outcomes[name] for name in PERMITTED} == dict.fromkeys(PERMITTED, "done")
    assert [name for name in FORBIDDEN_FILES if outcomes[name] == "done"] == []
    # The network is closed from version 4 of Landlock on, and abstract sockets and signals from version 6 on.
    assert (outcomes["connect"] == "done") is (offer.landlock < 4 and not offer.namespaces)
    assert (outcomes["connect abstract"] == "done") is (offer.landlock < 6 and not offer.namespaces)
    if offer.landlock >= 6:
        assert outcomes["signal parent"] == "PermissionError"
    # Locks live in /dev/shm, which is private in namespaces and forbidden otherwise.
    assert (outcomes["make lock"] == "done") is offer.namespaces
    assert (tmp_path / "runs" / "other" / "weights").read_text() == "trained"
    assert (tmp_path / "runs" / "own" / "renamed").read_text() == "x"


# --- what is asked of the kernel ----------------------------------------------------------------


def test_the_variable_turns_the_sandbox_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sandbox.VARIABLE, "none")
    assert sandbox.find_offer(tmp_path) == SandboxOffer()
    monkeypatch.setenv(sandbox.VARIABLE, "full")
    with pytest.raises(UsageError, match=r"BENCH_SANDBOX is 'full' \(set it to none, or to auto"):
        sandbox.find_offer(tmp_path)


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('no JSON')"])
def test_a_kernel_that_cannot_be_asked_offers_nothing(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_process, "command", lambda *arguments: [sys.executable, "-c", code])
    assert sandbox.ask_kernel(tmp_path) == SandboxOffer()


def test_the_strongest_mechanisms_that_hold_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "supported_abi", lambda: 3)
    for holding in ("landlock-abi3+namespaces", "landlock-abi3", "namespaces", "none"):
        monkeypatch.setattr(sandbox, "_holds", lambda offer, folder, holding=holding: offer.name == holding)
        assert sandbox.try_mechanisms("").name == holding


def test_a_trial_on_a_gpu_has_no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "find_offer", lambda folder: SandboxOffer(landlock=7))
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    gpu = msgspec.structs.replace(spec, device="cuda")
    assert confinement.sandbox_request(spec, tmp_path, tmp_path.parent).name == "landlock-abi7"
    assert confinement.sandbox_request(gpu, tmp_path, tmp_path.parent).name == "none"
    ranks = msgspec.structs.replace(spec, ranks=2)
    assert confinement.sandbox_request(ranks, tmp_path, tmp_path.parent).name == "landlock-abi7 (network open)"


# --- names --------------------------------------------------------------------------------------


def test_sandboxes_are_ordered_by_strength() -> None:
    names = ["", "none", "namespaces", "landlock-abi3", "landlock-abi7 (network open)", "landlock-abi7"]
    names.append("landlock-abi7+namespaces")
    for index, name in enumerate(names):
        assert [weaker_sandbox(name, other) for other in names[index:]] == [name] * (len(names) - index)
    assert SandboxRequest(offer=SandboxOffer(), network=True).name == "none"


# --- which files --------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with the folder of the runs in it, and with a link to that folder."""
    for name in ("package", "runs/run-1", "runs/run-2", "other/deep"):
        (tmp_path / "project" / name).mkdir(parents=True)
    (tmp_path / "project" / "file").touch()
    (tmp_path / "project" / "link").symlink_to(tmp_path / "project" / "runs")
    return tmp_path / "project"


def test_a_folder_around_the_runs_is_replaced_by_its_other_content(tree: Path) -> None:
    readable, listable = exclude_hidden([tree.parent, Path("/usr")], tree / "runs")
    assert readable == tuple(sorted(("/usr", *(str(tree / name) for name in ("file", "other", "package")))))
    assert listable == tuple(sorted((str(tree), str(tree.parent))))


def test_the_runs_are_never_readable(tree: Path) -> None:
    assert exclude_hidden([tree / "runs", tree / "runs" / "run-1"], tree / "runs") == ((), ())
