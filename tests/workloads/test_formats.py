"""Loaders: good files, and each kind of bad file by its name and what was expected."""

from __future__ import annotations

import gzip
import os
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.entries import DatasetEntry
from harness.datasets import manage
from harness.errors import DataError
from harness.plugins.validation import validate_entry
from tests.web import Site, serve
from workloads import datasets
from workloads.formats import cifar, idx, imagefolder, shards, text

SOURCE = os.environ.get("BENCH_DATA_SOURCE")
needs_source = pytest.mark.skipif(not SOURCE, reason="BENCH_DATA_SOURCE is not set: no real data files")


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# --- idx ----------------------------------------------------------------------------------------

IMAGES = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
LABELS = np.array([0, 9, 3, 3, 1], np.uint8)


def as_idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def spoilt(packed: bytes) -> bytes:
    """A gzip file whose checksum is not that of what it unpacks to."""
    return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_is_read_plain_or_packed_whatever_its_name(tmp_path: Path, pack: object) -> None:
    images = put(tmp_path / "images", pack(as_idx(IMAGES)))  # type: ignore[operator]
    labels = put(tmp_path / "labels.gz", pack(as_idx(LABELS)))  # type: ignore[operator]
    x_NHW, y_N = idx.read_pair(images, labels)
    assert np.array_equal(x_NHW, IMAGES)
    assert np.array_equal(y_N, LABELS)
    idx.check(images)
    idx.check(labels)


def test_idx_knows_big_endian_types(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0]], ">f4")
    assert np.array_equal(idx.read(put(tmp_path / "f", as_idx(values, 0x0D))), values)


def packed(content: bytes) -> bytes:
    """Gzip without a time stamp, so that the names of the tests are the same in every process."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not an idx file: it begins with nothing"),
        (b"\x89PNG\r\n\x1a\n", "is not an idx file: it begins with 89 50 4e 47, expected 00 00 08"),
        (b"\0\0\x07\x01\0\0\0\1\0", "is not an idx file"),
        (b"\0\0\x08\x03\0\0\0\5", "is truncated: expected 3 dimensions, found 1"),
        (as_idx(IMAGES)[:-7], "is truncated: its header says 5×3×4, 60 bytes, found 53"),
        (as_idx(IMAGES) + b"x", "is too long: its header says 5×3×4, 60 bytes, found more"),
        (packed(as_idx(IMAGES))[:-12], "is truncated"),
        (packed(as_idx(IMAGES)[:-7]), "is truncated: its header says 5×3×4, 60 bytes, found 53"),
        (packed(as_idx(IMAGES))[:10] + b"\xff" * 40, "is a damaged gzip file"),
        # What a damaged stream unpacks to may be longer than it was, or be anything else.
        (spoilt(packed(as_idx(IMAGES) + b"x")), "is a damaged gzip file: CRC check failed"),
        (spoilt(packed(b"anything else")), "is a damaged gzip file: CRC check failed"),
        (packed(as_idx(IMAGES) + b"x"), "is too long: its header says 5×3×4, 60 bytes, found more"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"xy", "bytes, found 2"),
    ],
)
def test_a_bad_idx_file_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = put(tmp_path / "bad.gz", content)
    with pytest.raises(DataError, match=f"bad.gz.*{re.escape(says)}"):
        idx.read(path)


def test_idx_of_another_kind_is_refused(tmp_path: Path) -> None:
    images, labels = put(tmp_path / "i", as_idx(IMAGES)), put(tmp_path / "l", as_idx(LABELS))
    with pytest.raises(DataError, match=r"l holds uint8 in 1 dimensions, expected images: uint8 in 3"):
        idx.read_images(labels)
    with pytest.raises(DataError, match=r"i holds uint8 in 3 dimensions, expected labels"):
        idx.read_labels(images)
    with pytest.raises(DataError, match="label 1 is 9, expected 0 to 8"):
        idx.read_labels(labels, classes=9)
    with pytest.raises(DataError, match=r"5 images and .* 4 labels"):
        idx.read_pair(images, put(tmp_path / "short", as_idx(LABELS[:4])))


# --- CIFAR --------------------------------------------------------------------------------------


def as_cifar(images: np.ndarray, labels: np.ndarray) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


def test_cifar_keeps_planes_and_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    labels = np.array([0, 9, 1, 2, 3, 4], np.uint8)
    one = put(tmp_path / "one.bin", as_cifar(images[:2], labels[:2]))
    two = put(tmp_path / "two.bin", as_cifar(images[2:], labels[2:]))
    x_NCHW, y_N = cifar.read_files([one, two])
    assert np.array_equal(x_NCHW, images)
    assert np.array_equal(y_N, labels)
    assert np.array_equal(x_NCHW[0, 0].ravel(), np.frombuffer(one.read_bytes()[1:1025], np.uint8))


def test_a_bad_cifar_file_is_named(tmp_path: Path) -> None:
    whole = as_cifar(np.zeros((2, 3, 32, 32), np.uint8), np.array([1, 2]))
    for content in (whole[:-1], b""):
        with pytest.raises(DataError, match=rf"short\.bin has {len(content):,} bytes, expected a multiple of 3,073"):
            cifar.read(put(tmp_path / "short.bin", content))
    with pytest.raises(DataError, match=r"few\.bin has 2 records, expected 10,000"):
        cifar.check(put(tmp_path / "few.bin", whole))
    with pytest.raises(DataError, match=r"label\.bin: the label of record 1 is 10, expected 0 to 9"):
        cifar.read(put(tmp_path / "label.bin", whole[:3073] + b"\x0a" + whole[3074:]))


# --- shards -------------------------------------------------------------------------------------


def test_a_shard_has_the_published_layout(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    assert shards.write_shard(path, [50256, 1, 65535]) == 3
    raw = path.read_bytes()
    assert struct.unpack("<4i", raw[:16]) == (20240520, 1, 3, 0)
    assert not any(raw[16:1024])
    assert raw[1024:] == struct.pack("<3H", 50256, 1, 65535)
    tokens = shards.open_shard(path)
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.uint16
    assert tokens.tolist() == [50256, 1, 65535]
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


def test_a_shard_is_written_piece_by_piece_and_only_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    assert shards.write_shard(path, iter([np.arange(3), np.arange(0), np.arange(2)])) == 5
    assert shards.open_shard(path).tolist() == [0, 1, 2, 0, 1]
    with pytest.raises(ValueError, match=r"must be in \[0, 65535\]"):
        shards.write_shard(tmp_path / "t.bin", iter([[1], [70000]]))
    with pytest.raises(ValueError, match="one-dimensional array of integers"):
        shards.write_shard(tmp_path / "t.bin", [0.5])
    assert [p.name for p in tmp_path.iterdir()] == ["s.bin"]
    assert shards.write_shard(path, []) == 0
    assert len(shards.open_shard(path)) == 0


def _shard(magic: int = 20240520, version: int = 1, tokens: int = 2, body: bytes = b"\1\0\2\0") -> bytes:
    return struct.pack("<3i", magic, version, tokens).ljust(1024, b"\0") + body


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\0" * 1000, "has 1,000 bytes, too few for a header of 1,024"),
        (_shard(magic=7), "is not a token shard, or has no header: its magic is 7, expected 20240520"),
        (_shard(magic=20240801, version=7), "is a Llama-3 shard of 32-bit tokens"),
        (_shard(version=2), "has version 2, expected 1"),
        (_shard(body=b"\1\0"), "has 1,026 bytes, expected 1,028 for the 2 tokens in its header"),
        (_shard(body=b"\1\0" * 3), "has 1,030 bytes, expected 1,028"),
        (_shard(tokens=-512, body=b""), "expected 0 for the -512 tokens"),
    ],
)
def test_a_bad_shard_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = put(tmp_path / "bad.bin", content)
    for read in (shards.read_header, shards.open_shard, shards.check, lambda p: shards.Shards([p])):
        with pytest.raises(DataError, match=f"bad.bin.*{re.escape(says)}"):
            read(path)


def test_a_token_outside_the_vocabulary_is_named(tmp_path: Path) -> None:
    one, two = tmp_path / "one.bin", tmp_path / "two.bin"
    shards.write_shard(one, [1, 2])
    shards.write_shard(two, [3, 50257, 4])
    says = r"two\.bin: token 1 is 50257, expected below the vocabulary size 50,257"
    with pytest.raises(DataError, match=says):
        shards.check(two)
    tokens = shards.Shards([one, two], vocabulary=50257)
    assert tokens[:3].tolist() == [1, 2, 3]
    with pytest.raises(DataError, match=says):
        tokens[1:5]
    assert shards.Shards([one, two])[3] == 50257


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5), cut=st.tuples(st.integers(-30, 30), st.integers(-30, 30))
)
def test_shards_read_like_one_array(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cut: tuple[int, int]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    whole = np.arange(sum(sizes), dtype=np.uint16)
    paths = [folder / f"{k}.bin" for k in range(len(sizes))]
    for path, piece in zip(paths, np.split(whole, np.cumsum(sizes)[:-1]), strict=True):
        shards.write_shard(path, piece)
    tokens = shards.Shards(paths, vocabulary=100)
    assert len(tokens) == len(whole)
    assert tokens.shape == whole.shape
    part = tokens[cut[0] : cut[1]]
    assert part.dtype == np.uint16
    assert np.array_equal(part, whole[cut[0] : cut[1]])
    for index in (cut[0], len(whole)):
        if -len(whole) <= index < len(whole):
            assert tokens[index] == whole[index]
        else:
            with pytest.raises(IndexError):
                tokens[index]


def test_a_slice_of_shards_goes_forward(tmp_path: Path) -> None:
    shards.write_shard(tmp_path / "s.bin", [1, 2, 3])
    tokens = shards.Shards([tmp_path / "s.bin"])
    with pytest.raises(ValueError, match="step 1"):
        tokens[::2]
    with pytest.raises(IndexError, match="tokens 2 to 4 are out of range for 3 tokens"):
        tokens.read(2, 4)


# --- text ---------------------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_text_survives_the_alphabet(sample: str) -> None:
    sample = "".join(c for c in sample if not 0xD800 <= ord(c) < 0xE000) or "a"
    alphabet = text.Alphabet(sample)
    ids = alphabet.encode(sample)
    assert ids.dtype == np.uint16
    assert alphabet.decode(ids) == sample
    assert len(alphabet) == len(set(sample))


def test_a_character_outside_the_alphabet_is_named() -> None:
    with pytest.raises(
        DataError, match=r"valid\.txt: character 'z' at position 2 is not one of the 3 characters of the alphabet"
    ):
        text.Alphabet("abc").encode("abz", where="valid.txt")


def test_a_bad_text_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bad\.txt is not UTF-8 text: byte 3 is 0xff"):
        text.read_text(put(tmp_path / "bad.txt", b"abc\xff"))
    with pytest.raises(DataError, match=r"empty\.txt is empty"):
        text.check(put(tmp_path / "empty.txt", b""))
    assert text.read_text(put(tmp_path / "good.txt", "a\r\né".encode())) == "a\r\né"


# --- image trees --------------------------------------------------------------------------------

JPEG = b"\xff\xd8\xff\xe0 not decoded here"


def tree(root: Path) -> Path:
    for place in ("dog/b.jpg", "dog/a.JPEG", "cat/c.png", "cat/.hidden.jpg", "cat/readme.txt", ".git/x.jpg"):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" if place.endswith("png") else JPEG)
    return root


def test_a_tree_is_listed_by_class_and_name(tmp_path: Path) -> None:
    classes, samples = imagefolder.scan(tree(tmp_path))
    assert classes == ("cat", "dog")
    assert [(path.relative_to(tmp_path).as_posix(), label) for path, label in samples] == [
        ("cat/c.png", 0),
        ("dog/a.JPEG", 1),
        ("dog/b.jpg", 1),
    ]
    imagefolder.check(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("b.jpg", b"", "it is empty"),
        ("b.jpg", b"<html>", "it begins with 3c 68 74 6d 6c 3e, expected ff d8 or 89 50 4e 47 0d 0a 1a 0a"),
        ("b.png", JPEG, "it begins with ff d8 ff e0 20 6e 6f 74, expected 89 50 4e 47 0d 0a 1a 0a"),
        ("b.webp", b"", "it is empty"),
    ],
)
def test_one_broken_image_in_a_tree_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    put(tree(tmp_path) / "dog" / name, content)
    with pytest.raises(DataError, match=rf"dog.{re.escape(name)} is a broken image: {says}$"):
        imagefolder.check(tmp_path)


def test_an_image_may_have_the_wrong_suffix_as_in_imagenet(tmp_path: Path) -> None:
    put(tree(tmp_path) / "dog" / "b.jpg", b"\x89PNG\r\n\x1a\n")
    imagefolder.check(tmp_path)


def test_two_trees_have_the_same_classes(tmp_path: Path) -> None:
    train, val = tree(tmp_path / "train"), tree(tmp_path / "val")
    imagefolder.check(val)
    (val / "dog").rename(val / "dogs")
    says = "val lacks dog and also has dogs; expected the class folders of .*train$"
    with pytest.raises(DataError, match=says):
        imagefolder.check(val)
    with pytest.raises(DataError, match=says):
        imagefolder.require_same_classes(val, like=train)
    # Alone, each is a tree; and train is what val is held against.
    imagefolder.check(train)
    for name in "edcba":
        (train / name).mkdir()
    (val / "dogs").rename(val / "dog")
    with pytest.raises(DataError, match=r"val lacks a, b, c and 2 more; expected"):
        imagefolder.require_same_classes(val, like=train)


def test_a_tree_of_another_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        imagefolder.scan(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has 0 class folders"):
        imagefolder.scan(tmp_path)
    with pytest.raises(DataError, match="has 2 class folders, expected 1,000"):
        imagefolder.scan(tree(tmp_path), classes=1000)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no image"):
        imagefolder.scan(tmp_path)


def test_without_pillow_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"needs Pillow \(pip install pillow\)"):
        imagefolder.read_part(put(tmp_path / "a.jpg", JPEG), whole, 5)


def whole(width: int, height: int) -> imagefolder.Box:
    return 0, 0, width, height


def test_images_are_decoded_and_broken_ones_named(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(imagefolder.read_part(tmp_path / "a.png", whole, 5), pixels)
    grey = imagefolder.read_part(tmp_path / "grey.png", whole, 5)
    assert np.array_equal(grey, np.repeat(pixels[..., :1], 3, axis=2))
    content = (tmp_path / "a.png").read_bytes()
    for broken in (content[: len(content) // 2], JPEG, b""):
        with pytest.raises(DataError, match=r"broken\.png is a broken image"):
            imagefolder.read_part(put(tmp_path / "broken.png", broken), whole, 5)
    with pytest.raises(FileNotFoundError):
        imagefolder.read_part(tmp_path / "none.png", whole, 5)


# --- the first-party datasets -------------------------------------------------------------------


def test_entries_are_whole() -> None:
    names = [entry.name for entry in datasets.DATASETS]
    assert names == ["mnist", "fashion-mnist", "cifar10", "tinyshakespeare", "fineweb-gpt2", "imagenet"]
    for entry in datasets.DATASETS:
        assert validate_entry(entry) == []
        assert entry.check
        assert bool(entry.files) != bool(entry.folders)
        for file in entry.files:
            assert file.urls
            assert file.sha256 == "" or re.fullmatch("[0-9a-f]{64}", file.sha256)
            # Where no checksum is known, the entry says so.
            assert file.sha256 or "no published checksum" in entry.note
            # Anybody may have packed these again, with another header and so another checksum.
            assert bool(file.content_sha256) == file.name.endswith(".gz")
    assert len(datasets.FINEWEB.files) == 104
    # A header of 1,024 bytes and 100,000,000 tokens of two; how many the last shard has is not on record.
    assert {file.size for file in datasets.FINEWEB.files[:-1]} == {200_001_024}
    assert datasets.FINEWEB.files[-1].size == 0


#: Under 2 kB each, so that they are written as they are.
_SHORT = [0, 1_000]


@pytest.mark.parametrize("tokens", _SHORT)
def test_a_short_shard_is_no_shard_of_fineweb(tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "home"))
    name = datasets.FINEWEB_TRAIN % 7
    (tmp_path / "mine").mkdir()
    shards.write_shard(tmp_path / "mine" / name, np.full(tokens, 50256))
    says = rf"{name}: it has {1024 + 2 * tokens:,} bytes, expected 200,001,024"
    for take in (manage.import_folder, manage.get):
        with pytest.raises(DataError, match=says):
            take(datasets.FINEWEB, tmp_path / "mine", only=(name,))
    assert manage.missing_names(datasets.FINEWEB, only=(name,)) == [name]
    shards.write_shard(tmp_path / "home" / datasets.FINEWEB.name / name, np.full(tokens, 50256))
    (state,) = manage.verify(datasets.FINEWEB, only=(name,))
    assert state.state == "damaged"
    assert state.detail == f"it has {1024 + 2 * tokens:,} bytes, expected 200,001,024"


@pytest.mark.slow
@needs_source
@pytest.mark.parametrize("entry", [datasets.MNIST, datasets.FASHION_MNIST], ids=lambda entry: entry.name)
def test_real_idx_files_are_taken_over_and_read(
    entry: DatasetEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    # The pixels of MNIST are there in another order; Fashion-MNIST is as published, though packed by somebody else.
    canonical = entry is datasets.FASHION_MNIST
    if not canonical:
        with pytest.raises(DataError, match=r"sha256 is .*expected .*--accept-checksum"):
            manage.import_folder(entry, Path(SOURCE or ""))
    states = manage.import_folder(entry, Path(SOURCE or ""), accept_checksum=not canonical)
    assert {state.state for state in states} == {"ok" if canonical else "accepted"}
    folder = manage.dataset_path(entry)
    for split, n in (("train", 60_000), ("t10k", 10_000)):
        x_NHW, y_N = idx.read_pair(folder / f"{split}-images-idx3-ubyte.gz", folder / f"{split}-labels-idx1-ubyte.gz")
        assert x_NHW.shape == (n, 28, 28)
        assert set(y_N.tolist()) == set(range(10))


@needs_source
def test_fashion_mnist_comes_from_a_server_with_another_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    small = datasets.FASHION_MNIST.files[3]
    content = (Path(SOURCE or "") / "fashion-mnist" / small.name).read_bytes()
    with serve(Site(files={small.name: content})) as site:
        (state,) = manage.get(datasets.FASHION_MNIST, site.url, only=(small.name,))
    assert state.state == "ok"
    assert manage.dataset_path(datasets.FASHION_MNIST, only=(small.name,)) == tmp_path / "fashion-mnist"


@needs_source
def test_the_real_text_is_taken_over_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    (state,) = manage.get(datasets.TINYSHAKESPEARE, SOURCE)
    assert state.state == "ok"
    whole = text.read_text(manage.dataset_path(datasets.TINYSHAKESPEARE) / "tinyshakespeare.txt")
    assert len(text.Alphabet(whole)) == 65
