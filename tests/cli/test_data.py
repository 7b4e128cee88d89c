"""`bench data` as a user sees it: lines, JSON, exit codes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli
from harness.cli import data as command
from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets import generated
from harness.errors import unknown_name_error
from tests.web import Site, serve
from workloads.datasets import FASHION_MNIST

CONTENT = b"to be or not to be" * 1000


class FakeRegistry:
    """A registry of two datasets, one of them a tree."""

    plugins = ()

    def __init__(self, url: str) -> None:
        digest = hashlib.sha256(CONTENT).hexdigest()
        file = DatasetFile(name="a.txt", sha256=digest, size=len(CONTENT), urls=(f"{url}/a.txt",))
        self._entries = [
            DatasetEntry(name="toy", title="a toy", licence="CC0-1.0", files=(file,)),
            DatasetEntry(name="tree", title="a tree", licence="ask for it", folders=("train",)),
        ]

    def datasets(self) -> list[DatasetEntry]:
        return self._entries

    def dataset(self, name: str) -> DatasetEntry:
        found = {entry.name: entry for entry in self._entries}
        if name not in found:
            raise unknown_name_error("dataset", name, found)
        return found[name]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("BENCH_DATA_SOURCE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with serve(Site(files={"a.txt": CONTENT})) as running:
        monkeypatch.setattr(command, "_registry", lambda blocked: FakeRegistry(running.url))
        yield running


def test_get_list_and_verify(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["name", "installed", "size", "licence", "title"]
    assert out.splitlines()[1].split()[:5] == ["toy", "no", "18.0", "kB", "CC0-1.0"]
    assert cli.invoke(["data", "get", "toy"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["toy/a.txt", "ok", "18.0", "kB"]
    assert err == "fetching toy/a.txt (18.0 kB)\n"
    assert cli.invoke(["data", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["schema"] == 1
    assert [(d["name"], d["missing"]) for d in listed["datasets"]] == [("toy", []), ("tree", ["train"])]
    assert [d["damaged"] for d in listed["datasets"]] == [[], []]
    assert cli.invoke(["data", "verify", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert [(d["name"], [f["state"] for f in d["files"]]) for d in checked["datasets"]] == [("toy", ["ok"])]
    (tmp_path / "data" / "toy" / "a.txt").write_bytes(b"spoilt")
    assert cli.invoke(["data", "verify"]) == 1
    assert "damaged" in capsys.readouterr().out
    # A look at the size is enough to list it.
    assert cli.invoke(["data", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["toy", "damaged:", "a.txt"]
    assert cli.invoke(["data", "list", "--json"]) == 0
    assert [d["damaged"] for d in json.loads(capsys.readouterr().out)["datasets"]] == [["a.txt"], []]
    (tmp_path / "data" / "toy" / "provenance.json").write_text("{")
    assert cli.invoke(["data", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["toy", "damaged:", "provenance.json"]


def test_a_tier_skips_what_has_files_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / FASHION_MNIST.name
    folder.mkdir(parents=True)
    for file in FASHION_MNIST.files:
        with open(folder / file.name, "wb") as out:
            out.truncate(file.size - (file.name == "t10k-labels-idx1-ubyte.gz"))
    wrong = "dataset fashion-mnist: t10k-labels-idx1-ubyte.gz has 5,147 bytes, expected 5,148"
    says = f"{wrong} (bench data get fashion-mnist)"
    assert cli.invoke(["run", "-s", "wsd", "-w", "tier:cpu", "--dry-run"]) == 0
    skipped = [line for line in capsys.readouterr().err.splitlines() if "resnet-fashion" in line]
    assert skipped == [f"skipped: resnet-fashion needs data: {says}"]
    assert cli.invoke(["run", "-s", "wsd", "-w", "resnet-fashion"]) == 1
    assert capsys.readouterr().err == f"bench: resnet-fashion needs data: {says}\n"


def test_import_and_its_mistakes(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    (mine / "train").mkdir(parents=True)
    (mine / "a.txt").write_bytes(b"another edition")
    assert cli.invoke(["data", "import", "toy", str(mine)]) == 1
    assert "--accept-checksum" in capsys.readouterr().err
    assert cli.invoke(["data", "import", "toy", str(mine), "--accept-checksum"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["toy/a.txt", "accepted"]
    assert cli.invoke(["data", "import", "tree", str(mine)]) == 0
    assert cli.invoke(["data", "verify", "tree"]) == 0
    assert cli.invoke(["data", "import", "toy", str(tmp_path / "nowhere")]) == 2
    assert not site.requests


def test_mistakes_are_one_line(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["data", "get", "toi"]) == 2
    assert capsys.readouterr().err == "bench: unknown dataset 'toi'; did you mean 'toy'? (choose one of: toy, tree)\n"
    assert cli.invoke(["data", "get", "tree"]) == 1
    assert "bench data import tree FOLDER" in capsys.readouterr().err
    assert cli.invoke(["data", "verify", "toy"]) == 1
    assert "missing" in capsys.readouterr().out
    assert cli.invoke(["data", "verify"]) == 0
    assert "no dataset is installed in" in capsys.readouterr().err
    assert cli.invoke(["data", "get"]) == 2


def test_another_source_and_some_files(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["data", "get", "toy", "--only", "b*"]) == 2
    assert "unknown file 'b*'" in capsys.readouterr().err
    assert cli.invoke(["data", "get", "toy", "--from", "ftp://example.org/x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot fetch from ftp://example.org/x (give a folder, or a URL that begins with http://" in line
    assert cli.invoke(["data", "get", "toy", "--only", "a*", "--from", site.url]) == 0
    assert [path for path, _ in site.requests] == ["toy/a.txt", "a.txt"]


def test_a_bar_is_drawn_on_a_terminal(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli.invoke(["data", "get", "toy"]) == 0
    err = capsys.readouterr().err
    assert "\x1b[" in err
    assert "fetching" not in err


def test_generated_data_are_listed_and_cleared(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["data", "list"]) == 0
    assert "generated data" not in capsys.readouterr().err
    generated.cached_arrays("key", _make_arrays)
    assert cli.invoke(["data", "list"]) == 0
    err = capsys.readouterr().err
    assert "generated data: 1 entry of 8.4 kB" in err
    assert "bench data clear-generated" in err
    assert cli.invoke(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["generated"]["entries"] == 1
    assert cli.invoke(["data", "clear-generated"]) == 0
    assert capsys.readouterr().out.startswith("removed 1 entry of 8.4 kB from ")
    assert cli.invoke(["data", "clear-generated", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"]["entries"] == 0


def _make_arrays() -> dict[str, Any]:
    return {"x": np.zeros(1024)}
