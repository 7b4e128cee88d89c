"""FineWeb from a server on this machine, in small shards as published: whole, cut short, changed, too few."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness import cli
from harness.contract.entries import DatasetEntry
from harness.datasets.local import dataset_path
from harness.datasets.selection import DataRequirement
from harness.errors import UsageError
from harness.plugins.registry import Registry
from tests.web import Site, serve
from workloads.datasets import FASHION_MNIST, FINEWEB
from workloads.formats import shards
from workloads.lm.entries import ENTRIES
from workloads.lm.web import Lm16m, Lm124m

TOKENS = 2_000
SIZE = 1_024 + 2 * TOKENS
#: FineWeb as published, but for the size of its shards.
SMALL = msgspec.structs.replace(
    FINEWEB, files=tuple(msgspec.structs.replace(file, size=SIZE if file.size else 0) for file in FINEWEB.files)
)


def content(name: str, *, magic: int = 20240520, announced: int = TOKENS, highest: int = 50_256) -> bytes:
    """A shard as published, with 2,000 tokens; its header may announce another number."""
    rng = np.random.default_rng(sum(name.encode()))
    tokens = rng.integers(0, 50_257, TOKENS).astype("<u2")
    tokens[0], tokens[-1] = 50_256, highest
    header = np.zeros(256, "<i4")
    header[:3] = magic, 1, announced
    return header.tobytes() + tokens.tobytes()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    published = Registry.dataset

    def dataset(registry: Registry, name: str) -> DatasetEntry:
        return SMALL if name == FINEWEB.name else published(registry, name)

    monkeypatch.setattr(Registry, "dataset", dataset)
    files = {f"{FINEWEB.name}/{file.name}": content(file.name) for file in FINEWEB.files}
    with serve(Site(files=files)) as running:
        monkeypatch.setenv("BENCH_DATA_SOURCE", running.url)
        yield running


def asked(site: Site) -> list[str]:
    return [path.partition("/")[2] for path, _ in site.requests]


HELD_OUT = ["fineweb_val_000000.bin", "fineweb_train_000042.bin", "fineweb_train_000043.bin"]


def train(*numbers: int) -> list[str]:
    return [f"fineweb_train_{k:06d}.bin" for k in numbers]


def test_so_many_tokens_are_the_first_shards_and_what_is_held_out(site: Site, tmp_path: Path) -> None:
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "150M"]) == 0
    assert sorted(asked(site)) == sorted([*HELD_OUT, *train(1, 2)])
    site.requests.clear()
    # More of it later: what is here is not fetched again.
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "0.4B"]) == 0
    assert asked(site) == train(3, 4)
    names = Lm16m()._web.names("train")
    folder = dataset_path(SMALL, only=names)
    assert len(shards.Shards([folder / name for name in names], vocabulary=shards.VOCABULARY)) == 4 * TOKENS
    site.requests.clear()
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "400M"]) == 0
    assert not site.requests


def test_the_checksum_of_the_first_download_is_kept(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No checksum is published: what came first is what later files are compared with."""
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "100M"]) == 0
    folder = tmp_path / "data" / "fineweb-gpt2"
    notes = json.loads((folder / "provenance.json").read_text())["files"]
    assert set(notes) == {*HELD_OUT, *train(1)}
    assert all(len(note["sha256"]) == 64 and note["state"] == "unverified" for note in notes.values())
    assert cli.invoke(["data", "verify", "fineweb-gpt2", "--only", train(1)[0]]) == 0
    # Another shard, right in every way but not the one that came.
    (folder / train(1)[0]).write_bytes(content("another"))
    capsys.readouterr()
    assert cli.invoke(["data", "verify", "fineweb-gpt2", "--only", train(1)[0]]) == 1
    assert "it has changed" in capsys.readouterr().out


def test_a_cut_connection_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.drop_after.append(1_500)
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--only", HELD_OUT[0]]) == 0
    assert [range_ for _, range_ in site.requests] == ["", "bytes=1500-"]
    path = tmp_path / "data" / "fineweb-gpt2" / HELD_OUT[0]
    assert path.read_bytes() == content(HELD_OUT[0])


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"announced": 2_001}, "it has 5,024 bytes, expected 5,026 for the 2,001 tokens in its header"),
        ({"magic": 20240801}, "Llama-3"),
        ({"magic": 7}, "its magic is 7, expected 20240520"),
        ({"highest": 50_300}, "token 1,999 is 50300, expected below the vocabulary size 50,257"),
    ],
)
def test_what_is_no_shard_is_set_aside(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: dict[str, int], says: str
) -> None:
    (name,) = train(2)
    site.files[f"fineweb-gpt2/{name}"] = content(name, **bad)
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "200M"]) == 1
    err = capsys.readouterr().err
    assert name in err
    assert says in err
    folder = tmp_path / "data" / "fineweb-gpt2"
    assert not (folder / name).exists()
    assert (folder / f"{name}.bad").exists()
    # Those before it are kept.
    assert (folder / train(1)[0]).exists()


def test_a_short_shard_is_refused_before_it_is_fetched(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (name,) = train(2)
    site.files[f"fineweb-gpt2/{name}"] = content(name)[:-2]
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "200M"]) == 1
    assert f"{name} has 5,022 bytes, expected 5,024" in capsys.readouterr().err
    assert not (tmp_path / "data" / "fineweb-gpt2" / name).exists()


def test_a_shard_cut_short_later_is_seen_before_a_run(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "400M"]) == 0
    path = tmp_path / "data" / "fineweb-gpt2" / train(3)[0]
    path.write_bytes(path.read_bytes()[:-2])
    capsys.readouterr()
    assert cli.invoke(["run", "-s", "wsd", "-w", "lm-16m", "--allow-slow"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "fineweb_train_000003.bin has 5,022 bytes, expected 5,024" in line
    assert line.endswith("(bench data get fineweb-gpt2 --tokens 400M)")


def test_mistakes_are_one_line(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, says in (
        (["fineweb-gpt2", "--tokens", "many"], "'many' is not a number of tokens"),
        (["fineweb-gpt2", "--tokens", "0"], "'0' is not a number of tokens"),
        (["fineweb-gpt2", "--tokens", "11B"], "fewer than 11,000,000,000"),
        (["fineweb-gpt2", "--tokens", "1B", "--only", "*val*"], "--tokens and --only cannot be combined"),
        (["fineweb-gpt2", "fashion-mnist", "--tokens", "1B"], "fashion-mnist has no numbers of tokens"),
    ):
        assert cli.invoke(["data", "get", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
    assert not site.requests


def test_workloads_ask_for_what_they_use_and_no_more() -> None:
    for web, name in ((Lm124m()._web, "lm-124m"), (Lm16m()._web, "lm-16m")):
        used = {file for part in ("train", "feedback", "score", "audit") for file in web.names(part)}
        entry = next(entry for entry in ENTRIES if entry.name == name)
        (need,) = map(DataRequirement.parse, entry.needs_data)
        assert set(need.only(FINEWEB)) == used
    assert DataRequirement.parse("imagenet").only(FASHION_MNIST) == ()
    assert DataRequirement.parse("fashion-mnist/train*").fetch_command == "bench data get fashion-mnist --only 'train*'"
    with pytest.raises(UsageError, match="has no numbers of tokens"):
        DataRequirement.parse("fashion-mnist:1B").only(FASHION_MNIST)


def test_a_run_without_its_shards_names_the_command(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "300M"]) == 0
    capsys.readouterr()
    assert cli.invoke(["run", "-s", "wsd", "-w", "lm-16m", "--allow-slow"]) == 1
    assert "bench data get fineweb-gpt2 --tokens 400M" in capsys.readouterr().err
    assert cli.invoke(["data", "get", "fineweb-gpt2", "--tokens", "400M"]) == 0
    assert cli.invoke(["run", "-s", "wsd", "-w", "lm-16m", "--allow-slow", "--dry-run"]) == 0
