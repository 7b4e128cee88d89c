"""Datasets: fetched from a server that misbehaves, taken over from folders, verified."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import multiprocessing
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets import http, manage
from harness.datasets.provenance import lock_dataset
from harness.errors import DataError, PluginError, UsageError
from harness.plugins.validation import validate_entry
from tests.web import Site, serve

QUICK = manage.RetryPolicy(attempts=3, wait=0.0, timeout=5.0)
CONTENT = bytes(range(256)) * 4000


def right_format(path: Path) -> None:
    """The check of the datasets here: anything but text that says it is wrong."""
    if path.is_file() and path.read_bytes().startswith(b"wrong"):
        raise DataError(f"{path} is of the wrong format")
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"{path} is empty")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def dataset(*urls: str, known: bool = True, content: bytes = CONTENT, size: int | None = None) -> DatasetEntry:
    file = DatasetFile(
        name="a.bin",
        sha256=sha(content) if known else "",
        size=size if size is not None else len(content) if known else 0,
        urls=urls,
    )
    check = f"{__name__}:right_format"
    return DatasetEntry(name="toy", title="a toy", licence="CC0-1.0", files=(file,), check=check)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("BENCH_DATA_SOURCE", raising=False)
    # A proxy of the machine that runs the tests must not stand between them and their own server.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "data" / "toy"


def leftovers(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()} - {".lock", "provenance.json"}


def begin(home: Path, url: str, content: bytes, etag: str = '"one"') -> None:
    """What a call that was broken off leaves behind."""
    home.mkdir(parents=True)
    (home / "a.bin.part").write_bytes(content)
    (home / "a.bin.part.json").write_text(json.dumps({"url": url, "etag": etag}))


# --- over the network ---------------------------------------------------------------------------


def test_a_file_is_fetched_once_and_noted(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT})) as site:
        entry = dataset(f"{site.url}/a.bin")
        seen: list[tuple[str, int, int | None]] = []
        states = manage.get(entry, progress=lambda *told: seen.append(told), retry_policy=QUICK)
        assert manage.get(entry, retry_policy=QUICK) == states
    assert len(site.requests) == 1
    assert [(s.name, s.state, s.sha256) for s in states] == [("a.bin", "ok", sha(CONTENT))]
    assert (manage.dataset_path(entry) / "a.bin").read_bytes() == CONTENT
    assert leftovers(home) == {"a.bin"}
    assert seen[-1] == ("a.bin", len(CONTENT), len(CONTENT))
    note = json.loads((home / "provenance.json").read_text())["files"]["a.bin"]
    assert note["origin"].endswith("/a.bin")
    assert note["state"] == "ok"


@pytest.mark.parametrize("known", [True, False])
def test_a_dropped_connection_is_resumed(home: Path, known: bool) -> None:
    with serve(Site(files={"a.bin": CONTENT}, drop_after=[300_000, 300_000])) as site:
        manage.get(dataset(f"{site.url}/a.bin", known=known), retry_policy=QUICK)
    assert [range_ for _, range_ in site.requests] == ["", "bytes=300000-", "bytes=600000-"]
    assert (home / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_is_read_from_the_start(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT}, drop_after=[300_000], ranges=False)) as site:
        manage.get(dataset(f"{site.url}/a.bin", known=False), retry_policy=QUICK)
    assert len(site.requests) == 2
    assert (home / "a.bin").read_bytes() == CONTENT


def test_a_part_of_an_earlier_call_is_gone_on_with(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT}, drop_after=[400_000, 0, 0, 0])) as site:
        entry = dataset(f"{site.url}/a.bin", known=False)
        with pytest.raises(DataError, match=r"closed after 400,000 of 1,024,000 bytes, after 3 attempts"):
            manage.get(entry, retry_policy=QUICK)
        assert leftovers(home) == {"a.bin.part", "a.bin.part.json"}
        with pytest.raises(DataError, match="bench data get toy"):
            manage.dataset_path(entry)
        site.requests.clear()
        site.drop_after.clear()
        manage.get(entry, retry_policy=QUICK)
    assert [range_ for _, range_ in site.requests] == ["bytes=400000-"]
    assert (home / "a.bin").read_bytes() == CONTENT


def test_a_complete_part_needs_no_more_bytes(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT})) as site:
        begin(home, f"{site.url}/a.bin", CONTENT)
        manage.get(dataset(f"{site.url}/a.bin", known=False), retry_policy=QUICK)
    assert [range_ for _, range_ in site.requests] == [f"bytes={len(CONTENT)}-"]
    assert leftovers(home) == {"a.bin"}


def test_a_part_of_another_version_is_thrown_away(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT}, etag='"two"')) as site:
        begin(home, f"{site.url}/a.bin", b"old" * 1000)
        manage.get(dataset(f"{site.url}/a.bin", known=False), retry_policy=QUICK)
    assert (home / "a.bin").read_bytes() == CONTENT


def test_a_part_from_elsewhere_is_used_only_where_a_checksum_can_tell(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT})) as site:
        begin(home, "http://elsewhere.invalid/a.bin", CONTENT[:1000])
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
        (home / "a.bin").unlink()
        (home / "a.bin.part").write_bytes(CONTENT[:1000])
        manage.get(dataset(f"{site.url}/a.bin", known=False), retry_policy=QUICK)
    assert [range_ for _, range_ in site.requests] == ["bytes=1000-", ""]


def test_a_wrong_part_is_found_out_and_replaced(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT})) as site:
        begin(home, f"{site.url}/a.bin", b"x" * 1000)
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
    assert (home / "a.bin").read_bytes() == CONTENT
    assert leftovers(home) == {"a.bin", "a.bin.bad"}


def test_a_part_that_is_too_long_is_thrown_away(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT})) as site:
        begin(home, f"{site.url}/a.bin", CONTENT + b"more")
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
        assert (home / "a.bin").read_bytes() == CONTENT
        (home / "a.bin").unlink()
        (home / "a.bin.part").write_bytes(CONTENT + b"more")
        (home / "a.bin.part.json").write_text(json.dumps({"url": f"{site.url}/a.bin", "etag": ""}))
        (home / "provenance.json").unlink()
        manage.get(dataset(f"{site.url}/a.bin", known=False), retry_policy=QUICK)
    assert (home / "a.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_names_file_expected_and_got(home: Path) -> None:
    other = b"z" * len(CONTENT)
    with serve(Site(files={"a.bin": other})) as site, pytest.raises(DataError) as caught:
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
    message = str(caught.value)
    assert "a.bin" in message
    assert sha(other) in message
    assert f"expected {sha(CONTENT)}" in message
    assert leftovers(home) == {"a.bin.bad"}
    assert (home / "a.bin.bad").read_bytes() == other


def test_a_wrong_size_is_refused_before_it_is_fetched(home: Path) -> None:
    with serve(Site(files={"a.bin": b"short"})) as site, pytest.raises(DataError, match="has 5 bytes, expected 1,024"):
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)


BY_HAND = "get the file from another place and run bench data import toy FOLDER"
ACCEPT = "add --accept-checksum to accept a file of the right format that differs from the published one"


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        (b"z" * len(CONTENT), f"{ACCEPT}; or {BY_HAND}"),
        (b"short", f"{ACCEPT}; or {BY_HAND}"),
        (b"wrong".ljust(len(CONTENT)), BY_HAND),
        (None, BY_HAND),
    ],
    ids=["sum", "size", "format", "absent"],
)
def test_what_a_second_try_would_not_help_is_not_to_be_tried_again(home: Path, content: bytes | None, fix: str) -> None:
    with serve(Site(files={} if content is None else {"a.bin": content})) as site:
        with pytest.raises(DataError) as caught:
            manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
        assert caught.value.fix == fix
        if content is None or ACCEPT in fix:
            return
        with pytest.raises(DataError) as caught:
            manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK, accept_checksum=True)
    assert caught.value.fix == BY_HAND
    assert "a.bin: it is of the wrong format; renamed to a.bin.bad" in caught.value.what


def test_what_may_pass_is_to_be_tried_again(home: Path) -> None:
    with serve(Site(files={}, failures=[503] * 3)) as site, pytest.raises(DataError) as caught:
        manage.get(dataset(f"{site.url}/a.bin", f"{site.url}/none"), retry_policy=QUICK)
    assert caught.value.fix == f"try again; or {BY_HAND}"


def test_an_accepted_file_is_fetched_whatever_its_size(home: Path) -> None:
    with serve(Site(files={"a.bin": b"short"})) as site:
        (state,) = manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK, accept_checksum=True)
    assert state.state == "accepted"


# --- packed by somebody else --------------------------------------------------------------------

PUBLISHED = gzip.compress(CONTENT, mtime=0)


def zipped_dataset(*urls: str) -> DatasetEntry:
    file = DatasetFile(name="a.bin", sha256=sha(PUBLISHED), content_sha256=sha(CONTENT), size=len(PUBLISHED), urls=urls)
    return msgspec.structs.replace(dataset(), files=(file,))


@pytest.mark.parametrize("copy", [PUBLISHED, gzip.compress(CONTENT, compresslevel=1, mtime=7)], ids=["same", "other"])
def test_a_copy_with_the_published_content_is_as_good(home: Path, tmp_path: Path, copy: bytes) -> None:
    with serve(Site(files={"a.bin": copy})) as site:
        (state,) = manage.get(zipped_dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
    assert (state.state, state.detail, state.size) == ("ok", "", len(copy))
    assert [state.state for state in manage.verify(zipped_dataset())] == ["ok"]
    assert manage.dataset_path(zipped_dataset()) == home
    mine = folder_with(tmp_path, deep=copy)
    for take in (manage.import_folder, manage.get):
        (home / "a.bin").unlink()
        assert [state.state for state in take(zipped_dataset(), mine)] == ["ok"]
        assert (home / "a.bin").read_bytes() == copy


@pytest.mark.parametrize(
    "content",
    [gzip.compress(CONTENT[:-1] + b"?", mtime=0), PUBLISHED[:-20], CONTENT, b""],
    ids=["other", "cut", "plain", "none"],
)
def test_other_content_is_not_as_good(home: Path, tmp_path: Path, content: bytes) -> None:
    says = (
        rf"sha256 is {sha(content)} \({len(content):,} bytes\), expected {sha(PUBLISHED)} \({len(PUBLISHED):,} bytes\)"
    )
    with pytest.raises(DataError, match=says):
        manage.import_folder(zipped_dataset(), folder_with(tmp_path, deep=content))
    with serve(Site(files={"a.bin": content})) as site, pytest.raises(DataError, match=says):
        manage.get(zipped_dataset(f"{site.url}/a.bin"), retry_policy=QUICK)


def test_a_copy_that_the_user_placed_is_noted_by_get(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(gzip.compress(CONTENT, compresslevel=1))
    # It is not verified yet, and its size is not the published one.
    with pytest.raises(DataError, match=f"expected {len(PUBLISHED):,}"):
        manage.dataset_path(zipped_dataset())
    assert [state.state for state in manage.get(zipped_dataset())] == ["ok"]
    assert manage.dataset_path(zipped_dataset()) == home
    # A file that was replaced by the published one is good, though its note has another size.
    (home / "a.bin").write_bytes(PUBLISHED)
    assert manage.size_mismatches(zipped_dataset()) != {}
    manage.get(zipped_dataset())
    assert manage.size_mismatches(zipped_dataset()) == {}


def test_a_truncated_answer_without_a_length_is_resumed(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT}, length=False, drop_after=[9, 9, 9, 9])) as site:
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
    assert [start for _, start in site.requests] == ["", "bytes=9-", "bytes=18-", "bytes=27-", "bytes=36-"]
    assert (home / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "ranges", "requests", "problem"),
    [
        (CONTENT[:9], False, 3, "sent 9 bytes and no length, expected 1,024,000, after 3 attempts"),
        (CONTENT[:9], True, 2, "has 9 bytes, expected 1,024,000"),
        (CONTENT + b"more" * http.CHUNK, True, 1, "has more bytes than the expected 1,024,000"),
    ],
    ids=["unknown", "shorter", "longer"],
)
def test_an_answer_of_another_length_is_given_up(
    home: Path, content: bytes, ranges: bool, requests: int, problem: str
) -> None:
    with serve(Site(files={"a.bin": content}, length=False, ranges=ranges)) as site:
        with pytest.raises(DataError, match=problem):
            manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
        assert len(site.requests) == requests
    assert "a.bin" not in leftovers(home)


def test_mirrors_are_tried_in_order(home: Path) -> None:
    files = {"bad/a.bin": b"z" * len(CONTENT), "good/a.bin": CONTENT}
    with serve(Site(files=files)) as site:
        urls = [f"{site.url}/{place}/a.bin" for place in ("none", "bad", "good")]
        manage.get(dataset(*urls), retry_policy=QUICK)
    assert [path for path, _ in site.requests] == ["none/a.bin", "bad/a.bin", "good/a.bin"]
    assert (home / "a.bin").read_bytes() == CONTENT


def test_when_no_place_has_it_each_is_named(home: Path) -> None:
    with serve(Site(files={})) as site, pytest.raises(DataError) as caught:
        manage.get(dataset(f"{site.url}/x/a.bin", f"{site.url}/y/a.bin"), retry_policy=QUICK)
    assert "x/a.bin: HTTP 404" in str(caught.value)
    assert "y/a.bin: HTTP 404" in str(caught.value)
    assert len(site.requests) == 2


def test_a_busy_server_is_asked_again(home: Path) -> None:
    with serve(Site(files={"a.bin": CONTENT}, failures=[503, 429])) as site:
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
    assert len(site.requests) == 3


def test_a_server_that_is_not_there_is_given_up(home: Path) -> None:
    with serve(Site(files={})) as site:
        url = f"{site.url}/a.bin"
    with pytest.raises(DataError, match="after 3 attempts"):
        manage.get(dataset(url), retry_policy=QUICK)


def test_waits_double_and_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with serve(Site(files={}, failures=[500] * 9)) as site, pytest.raises(DataError):
        http.fetch(f"{site.url}/a", tmp_path / "a.part", retry_policy=manage.RetryPolicy(attempts=4, wait=1.0))
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://127.0.0.1/a.bin"])
def test_only_the_web_is_fetched_from(url: str) -> None:
    with pytest.raises(DataError, match="only http and https are supported"):
        manage.get(dataset(url), retry_policy=QUICK)


def test_a_full_disk_is_said_before_and_while_writing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Site(files={"a.bin": CONTENT})) as site:
        with monkeypatch.context() as patch:
            patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
            with pytest.raises(DataError, match="needs 1,024,000 more bytes"):
                manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(DataError, match=r"No space left on device.*resumes where it stopped"):
            manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)


def test_a_base_url_is_a_source(home: Path) -> None:
    with serve(Site(files={"mirror/a.bin": CONTENT})) as site:
        manage.get(dataset("http://elsewhere.invalid/a.bin"), f"{site.url}/mirror/", retry_policy=QUICK)
    assert [path for path, _ in site.requests] == ["mirror/toy/a.bin", "mirror/a.bin"]


def test_a_damaged_file_is_set_aside_and_fetched_anew(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(b"damaged")
    with serve(Site(files={"a.bin": CONTENT})) as site:
        manage.get(dataset(f"{site.url}/a.bin"), retry_policy=QUICK)
    assert (home / "a.bin").read_bytes() == CONTENT
    assert (home / "a.bin.bad").read_bytes() == b"damaged"


# --- archives -----------------------------------------------------------------------------------


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def packed_dataset(url: str) -> DatasetEntry:
    files = tuple(DatasetFile(name=n, size=len(CONTENT), urls=(url,), member=f"deep/{n}") for n in ("a.bin", "b.bin"))
    return DatasetEntry(name="toy", title="a toy", licence="CC0-1.0", files=files)


def test_files_come_out_of_one_archive_fetched_once(home: Path) -> None:
    archive = packed({"deep/a.bin": CONTENT, "deep/b.bin": CONTENT[::-1], "../evil": b"x"})
    with serve(Site(files={"all.tar.gz": archive}, drop_after=[500])) as site:
        states = manage.get(packed_dataset(f"{site.url}/all.tar.gz"), retry_policy=QUICK)
    assert [state.state for state in states] == ["unverified", "unverified"]
    assert len(site.requests) == 2
    assert leftovers(home) == {"a.bin", "b.bin"}
    assert (home / "b.bin").read_bytes() == CONTENT[::-1]


def test_a_folder_may_hold_the_archive(home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "all.tar.gz").write_bytes(packed({"deep/a.bin": CONTENT, "deep/b.bin": CONTENT}))
    manage.import_folder(packed_dataset("http://elsewhere.invalid/all.tar.gz"), tmp_path / "mine")
    assert leftovers(home) == {"a.bin", "b.bin"}


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (packed({"deep/a.bin": CONTENT})[:-400], "damaged archive"),
        (b"no archive at all", "damaged archive"),
        (packed({"other": b"x"}), "does not contain deep/a.bin"),
        (packed({"deep/a.bin": b"short"}), "it has 5 bytes, expected 1,024,000"),
    ],
    ids=["cut", "plain", "other", "size"],
)
def test_a_bad_archive_is_named_and_removed(home: Path, archive: bytes, says: str) -> None:
    with serve(Site(files={"all.tar.gz": archive})) as site, pytest.raises(DataError, match=says):
        manage.get(packed_dataset(f"{site.url}/all.tar.gz"), retry_policy=QUICK)
    assert not {"a.bin", "b.bin", "all.tar.gz.part"} & leftovers(home)


# --- folders ------------------------------------------------------------------------------------


def folder_with(tmp_path: Path, **files: bytes) -> Path:
    for place, content in files.items():
        path = tmp_path / "mine" / place / "a.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return tmp_path / "mine"


def test_a_folder_is_searched_and_copied_by_get(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA_SOURCE", str(folder_with(tmp_path, other=b"z", deep=CONTENT)))
    manage.get(dataset("http://elsewhere.invalid/a.bin"))
    assert (home / "a.bin").read_bytes() == CONTENT
    assert not (home / "a.bin").is_symlink()


def test_import_links_and_copies(home: Path, tmp_path: Path) -> None:
    mine = folder_with(tmp_path, deep=CONTENT)
    manage.import_folder(dataset(), mine)
    assert (home / "a.bin").is_symlink()
    assert [state.state for state in manage.verify(dataset())] == ["ok"]
    manage.import_folder(dataset(), mine, copy=True)
    assert not (home / "a.bin").is_symlink()
    # What is here already may be imported where it lies.
    manage.import_folder(dataset(), home)
    assert (home / "a.bin").read_bytes() == CONTENT


def test_a_link_whose_target_is_gone_counts_as_missing(home: Path, tmp_path: Path) -> None:
    mine = folder_with(tmp_path, deep=CONTENT)
    manage.import_folder(dataset(), mine)
    (mine / "deep" / "a.bin").unlink()
    assert manage.missing_names(dataset()) == ["a.bin"]
    (mine / "deep" / "a.bin").write_bytes(CONTENT)
    manage.get(dataset(), mine)
    assert manage.missing_names(dataset()) == []


def test_another_checksum_needs_to_be_accepted_and_is_remembered(home: Path, tmp_path: Path) -> None:
    mine = folder_with(tmp_path, deep=b"other pixels")
    with pytest.raises(DataError, match=f"expected {sha(CONTENT)}.*--accept-checksum"):
        manage.import_folder(dataset(), mine)
    assert leftovers(home) == set()
    states = manage.import_folder(dataset(), mine, accept_checksum=True)
    assert [state.state for state in states] == ["accepted"]
    assert [state.state for state in manage.verify(dataset())] == ["accepted"]
    assert [state.state for state in manage.get(dataset(), mine)] == ["accepted"]
    assert manage.dataset_path(dataset()) == home
    # Accepted is this content, not whatever comes to stand in its place.
    (home / "a.bin").unlink()
    (home / "a.bin").write_bytes(b"other pixelz")
    assert [state.state for state in manage.verify(dataset())] == ["damaged"]


def test_a_published_copy_goes_before_an_accepted_one(home: Path, tmp_path: Path) -> None:
    manage.import_folder(dataset(), folder_with(tmp_path, a=b"other", b=CONTENT), accept_checksum=True)
    assert (home / "a.bin").read_bytes() == CONTENT


def test_the_wrong_format_is_never_accepted(home: Path, tmp_path: Path) -> None:
    mine = folder_with(tmp_path, deep=b"wrong!")
    path = mine / "deep" / "a.bin"
    for entry in (dataset(), dataset(known=False)):
        with pytest.raises(DataError) as caught:
            manage.import_folder(entry, mine, accept_checksum=True)
        assert caught.value.what == f"dataset toy: {path}: it is of the wrong format"
        with pytest.raises(DataError, match="it is of the wrong format") as caught:
            manage.import_folder(entry, mine)
        # What would be refused with it is not offered.
        assert caught.value.fix == "name a folder with the published files"
        assert str(caught.value).count(str(path)) == 1
    assert manage.missing_names(dataset()) == ["a.bin"]


def test_files_of_equal_name_are_told_apart_by_folder_or_not_at_all(home: Path, tmp_path: Path) -> None:
    entry = dataset(known=False)
    mine = folder_with(tmp_path, one=b"one", two=b"two")
    with pytest.raises(DataError, match=r"is in .*one and in .*two"):
        manage.import_folder(entry, mine)
    folder_with(tmp_path, toy=b"mine")
    manage.import_folder(entry, mine)
    assert (home / "a.bin").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("places", "others"),
    [
        (("a",), ""),
        (("a", "b"), " (1 more file also refused)"),
        (("a", "b", "c"), " (2 more files also refused)"),
    ],
)
def test_other_files_of_that_name_are_counted(home: Path, tmp_path: Path, places: tuple[str, ...], others: str) -> None:
    mine = folder_with(tmp_path, **{place: b"other " + place.encode() for place in places})
    with pytest.raises(DataError) as caught:
        manage.import_folder(dataset(), mine)
    assert caught.value.what == (
        f"dataset toy: {mine / 'a' / 'a.bin'}: sha256 is {sha(b'other a')} (7 bytes), expected {sha(CONTENT)} "
        f"(1,024,000 bytes){others}"
    )
    assert caught.value.fix == ACCEPT


def test_files_of_equal_name_are_told_apart_by_size(home: Path, tmp_path: Path) -> None:
    manage.import_folder(dataset(known=False, size=3), folder_with(tmp_path, one=b"1", two=b"two"))
    assert (home / "a.bin").read_bytes() == b"two"


def test_a_folder_without_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there is no a\.bin below .*empty"):
        manage.import_folder(dataset(), tmp_path / "empty")
    with pytest.raises(DataError, match="is not a folder"):
        manage.get(dataset(), tmp_path / "nowhere")


@pytest.mark.parametrize("source", ["ftp://example.org/x", "file:///tmp"])
def test_a_source_of_another_scheme_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match=rf"cannot fetch from {source} .*http:// or https://"):
        manage.get(dataset(), source)


def test_a_tree_is_linked_and_never_downloaded(home: Path, tmp_path: Path) -> None:
    check = f"{__name__}:right_format"
    entry = DatasetEntry(name="toy", title="a tree", licence="ask for it", folders=("train", "val"), check=check)
    with pytest.raises(DataError, match=r"forbids redistribution: ask for it \(.*: bench data import toy FOLDER\)"):
        manage.get(entry)
    with pytest.raises(DataError, match="bench data import toy FOLDER"):
        manage.dataset_path(entry)
    mine = tmp_path / "mine"
    (mine / "train" / "cat").mkdir(parents=True)
    (mine / "val").mkdir()
    with pytest.raises(DataError, match="val is empty"):
        manage.import_folder(entry, mine)
    (mine / "val" / "cat").mkdir()
    for _ in range(2):
        states = manage.import_folder(entry, mine)
        assert [(s.name, s.state) for s in states] == [("train", "unverified"), ("val", "unverified")]
    assert (manage.dataset_path(entry) / "val" / "cat").is_dir()
    assert manage.get(entry) == []


# --- what is there ------------------------------------------------------------------------------


def test_missing_data_names_the_command_in_one_line(home: Path) -> None:
    with pytest.raises(DataError) as caught:
        manage.dataset_path(dataset("http://elsewhere.invalid/a.bin"))
    assert str(caught.value) == f"dataset toy: a.bin is not in {home} (bench data get toy)"


def test_a_file_of_another_size_is_refused_without_hashing(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"a\.bin has 5 bytes, expected 1,024,000"):
        manage.dataset_path(dataset())


def test_some_of_the_files_are_enough_for_who_asks_for_some(home: Path, tmp_path: Path) -> None:
    files = tuple(DatasetFile(name=f"s{k}.bin") for k in range(3))
    entry = DatasetEntry(name="toy", title="t", licence="l", files=files)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "s1.bin").write_bytes(b"1")
    manage.import_folder(entry, tmp_path / "mine", only=("s1*",))
    assert manage.dataset_path(entry, only=("s1.bin",)) == home
    assert manage.missing_names(entry) == ["s0.bin", "s2.bin"]
    with pytest.raises(DataError, match="2 of 3 files are not in"):
        manage.dataset_path(entry)
    with pytest.raises(UsageError, match="unknown file 't1"):
        manage.missing_names(entry, only=("t1*",))


def test_verify_tells_every_state(home: Path) -> None:
    assert [state.state for state in manage.verify(dataset())] == ["missing"]
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(CONTENT)
    assert [state.state for state in manage.verify(dataset())] == ["ok"]
    assert [state.state for state in manage.verify(dataset(known=False))] == ["unverified"]
    (home / "a.bin").write_bytes(b"z" + CONTENT[1:])
    (state,) = manage.verify(dataset())
    assert state.state == "damaged"
    assert f"expected {sha(CONTENT)}" in state.detail


def test_a_change_is_noticed_where_no_checksum_is_published(home: Path, tmp_path: Path) -> None:
    entry = dataset(known=False)
    manage.import_folder(entry, folder_with(tmp_path, deep=b"first"), copy=True)
    (home / "a.bin").write_bytes(b"later")
    (state,) = manage.verify(entry)
    assert state.state == "damaged"
    assert f"was {sha(b'first')} when it was installed" in state.detail


def test_damaged_notes_are_named(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(CONTENT)
    (home / "provenance.json").write_text("{")
    with pytest.raises(DataError, match=r"provenance\.json is damaged"):
        manage.dataset_path(dataset())


def _hold(home: str, held: object, done: object) -> None:
    import os

    os.environ["BENCH_DATA"] = home
    with lock_dataset(dataset()):
        held.set()  # type: ignore[attr-defined]
        done.wait(30)  # type: ignore[attr-defined]


def test_two_downloads_at_once_are_refused(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(home.parent), held, done))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(DataError, match=rf"fetched by another process \({other.pid}\)"):
            manage.get(dataset("http://elsewhere.invalid/a.bin"))
    finally:
        done.set()
        other.join()
    with lock_dataset(dataset()):
        pass


@pytest.mark.parametrize("name", ["../a", "a/b", ".lock", "", "provenance.json", "/etc/x"])
def test_an_entry_cannot_write_elsewhere(name: str) -> None:
    entry = DatasetEntry(name="toy", title="t", licence="l", files=(DatasetFile(name=name, urls=("http://x/a",)),))
    with pytest.raises(PluginError, match="not a plain file name"):
        manage.get(entry)


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot write"):
        manage.get(dataset("http://elsewhere.invalid/a.bin"))


def test_the_default_folder_is_the_platforms_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA")
    assert manage.data_folder().parts[-2:] == ("algorace", "data")


# --- entries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "To/y"}, "must be a file name"),
        ({"files": ()}, "must have a file or a folder"),
        ({"files": (DatasetFile(name="../a"),)}, "'../a' must be a file name"),
        ({"files": (DatasetFile(name="a"), DatasetFile(name="a"))}, "it has 'a' twice"),
        ({"files": (DatasetFile(name="a", sha256="ABC"),)}, "must be 64 hexadecimal digits"),
        (
            {"files": (DatasetFile(name="a", sha256="a" * 64, content_sha256="b"),)},
            "the content_sha256 of a must be 64",
        ),
        ({"files": (DatasetFile(name="a", content_sha256="b" * 64),)}, "a has a content_sha256 and must have a sha256"),
        ({"files": (DatasetFile(name="a", size=-1),)}, "must not be negative"),
        ({"files": (DatasetFile(name="a", urls=("file:///a",)),)}, "must begin with http"),
        ({"licence": ""}, "the licence must be one line"),
        ({"check": "no colon"}, "must be of the form package.module:function"),
    ],
)
def test_an_invalid_entry_is_refused_when_it_is_registered(change: dict[str, Any], says: str) -> None:
    assert validate_entry(dataset("http://elsewhere.invalid/a.bin")) == []
    problems = validate_entry(msgspec.structs.replace(dataset(), **change))
    assert any(says in problem for problem in problems), problems
