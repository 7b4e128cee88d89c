"""The workloads on token shards: the 124M model, real files in the real format, bad files, the generated corpus."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from harness.api import Batch, BenchError, DataError, Pool, Workload
from workloads.datasets import FINEWEB
from workloads.lm.corpus import Corpus, language, written
from workloads.lm.entries import ENTRIES
from workloads.lm.facts import LM_16M, LM_124M, LM_124M_SYNTHETIC
from workloads.lm.web import _16M, Lm16m, Lm124m, Lm124mSynthetic, LmWeb, Web
from workloads.lm.words import WordLanguage

#: Small enough to be written in a test: two training shards, one each for the splits.
FACTS = msgspec.structs.replace(LM_16M, tokens_per_example=64)
WEB = Web(train=2, reserved=3, tokens=4_000, sequences={"feedback": 2, "score": 3, "audit": 3})


def shard(path: Path, tokens: np.ndarray, *, magic: int = 20240520, version: int = 1) -> None:
    """A file as the speed runs have it: 256 int32 of header, then uint16, all little-endian."""
    header = struct.pack("<3i", magic, version, len(tokens)).ljust(1024, b"\0")
    path.write_bytes(header + tokens.astype("<u2").tobytes())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with small shards of FineWeb in it."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    # Without the size of the published shards, which are too large to be written here.
    files = tuple(msgspec.structs.replace(file, size=0) for file in FINEWEB.files)
    monkeypatch.setattr("workloads.lm.web.FINEWEB", msgspec.structs.replace(FINEWEB, files=files))
    folder = tmp_path / FINEWEB.name
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part in ("train", "feedback", "score", "audit"):
        for name in WEB.names(part):
            tokens = rng.integers(0, 50_257, 4_100)
            tokens[::100] = 50_256
            shard(folder / name, tokens)
    return folder


@pytest.fixture
def work() -> LmWeb:
    return LmWeb(FACTS, _16M, WEB)


@pytest.fixture(scope="module")
def big() -> nn.Module:
    return Lm124m().build_model(0)


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.slow
def test_the_big_model_has_the_parameters_of_gpt2_small(big: nn.Module) -> None:
    embedding = 50_304 * 768  # the head is the same tensor
    block = 4 * 768**2 + 2 * 4 * 768**2  # queries, keys, values and output; the two layers of the MLP
    norms = 2 * 768 + 2 * 128  # before each branch, and of queries and keys in each of 6 heads of 128
    assert size(big) == embedding + 12 * (block + norms) + 768 == 123_590_400
    kinds = Lm124m().parameter_kinds(big)
    assert list(kinds.values()).count("embedding") == 1
    assert "head" not in kinds.values()


def test_the_small_rung_has_sixteen_million(work: LmWeb) -> None:
    block = 12 * 256**2 + 2 * 256 + 2 * 64
    assert size(work.build_model(0)) == 50_304 * 256 + 4 * block + 256 == 16_026_368


@pytest.mark.parametrize("facts", [LM_16M, LM_124M, LM_124M_SYNTHETIC], ids=lambda f: f.name)
def test_facts_fit_together(facts: object) -> None:
    entry = next(e for e in ENTRIES if e.facts is facts)
    facts = entry.facts
    assert facts.tier == "gpu"
    assert facts.precision.dtype == "bfloat16"
    # A run that plans for three quarters of the budget has at least 50 evaluations before its end.
    assert 0.75 * facts.budget.horizon / facts.eval_every >= 50
    assert entry.sibling in {e.name for e in ENTRIES}


def test_the_score_is_on_the_tokens_of_the_speed_runs() -> None:
    work = Lm124m()
    assert isinstance(work, Workload)
    assert work._web.sequences["score"] * LM_124M.tokens_per_example == 10_485_760
    assert work._web.names("score") == ["fineweb_val_000000.bin"]
    assert LM_124M.batch_sizes[0] * LM_124M.tokens_per_example == 524_288
    assert work._web.train * work._web.tokens > LM_124M.budget.horizon * LM_124M.tokens_per_example


@pytest.mark.parametrize("web", [Lm124m()._web, Lm16m()._web, WEB], ids=["124m", "16m", "test"])
def test_no_shard_is_in_two_places(web: Web) -> None:
    names = [name for part in ("train", "feedback", "score", "audit") for name in web.names(part)]
    assert len(set(names)) == len(names) == web.train + 3
    assert set(names) <= {file.name for file in FINEWEB.files}


def test_examples_are_the_tokens_in_their_order(folder: Path, work: LmWeb) -> None:
    pool = work.train_data(0)
    assert isinstance(pool, Pool)
    files = [np.fromfile(folder / name, "<u2")[512:] for name in WEB.names("train")]
    every = np.concatenate(files).astype(np.int64)
    assert len(pool) == (len(every) - 1) // 64 == 128
    # Example 64 begins in the first file and ends in the second.
    tokens_BT = pool.gather(torch.tensor([127, 0, 64, 5]))["tokens_BT"]
    assert tokens_BT.dtype == torch.int64
    for row, index in zip(tokens_BT, (127, 0, 64, 5), strict=True):
        assert row.tolist() == every[index * 64 : (index + 1) * 64 + 1].tolist()


@pytest.mark.slow
def test_the_big_model_takes_two_steps(folder: Path, work: LmWeb, big: nn.Module) -> None:
    web = Lm124m()
    tokens_BT = work.train_data(0).gather(torch.arange(2))["tokens_BT"]
    batch = Batch(tokens_BT=tokens_BT[:, :33].contiguous())
    optimizer = torch.optim.AdamW(big.parameters(), lr=1e-3, fused=True)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = web.loss(big, batch)
        losses.append(loss.item())
        if len(losses) < 3:
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert losses[0] == pytest.approx(math.log(50_304), abs=0.3)
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.slow
def test_splits_are_evaluated_apart(folder: Path, work: LmWeb) -> None:
    model = work.build_model(0).eval()
    results = [work.evaluate(model, split) for split in ("feedback", "score", "audit")]
    assert len({r["loss"] for r in results}) == 3
    tokens = np.fromfile(folder / WEB.names("score")[0], "<u2")[512:].astype(np.int64)
    tokens_BT = torch.from_numpy(tokens[: 3 * 64 + 1]).unfold(0, 65, 64)
    with torch.no_grad():
        plain = work.loss(model, Batch(tokens_BT=tokens_BT)).item()
    assert results[1]["loss"] == pytest.approx(plain, abs=2e-3)
    with pytest.raises(BenchError, match="no model option 'depth'"):
        work.build_model(0, depth=2)


def test_bad_shards_are_named(folder: Path, work: LmWeb) -> None:
    second = folder / "fineweb_train_000002.bin"
    good = second.read_bytes()
    shard(second, np.zeros(4_100), magic=1234)
    with pytest.raises(
        DataError, match=r"train_000002\.bin is not a token shard.* its magic is 1234, expected 20240520"
    ):
        work.train_data(0)
    shard(second, np.zeros(900))
    with pytest.raises(DataError, match=r"train_000002\.bin has 900 tokens, expected 4,000"):
        work.train_data(0)
    second.write_bytes(good[:-2])
    with pytest.raises(DataError, match=r"train_000002\.bin has 9,222 bytes, expected 9,224 for the 4,100 tokens"):
        work.train_data(0)
    shard(second, np.full(4_100, 50_300))
    with pytest.raises(DataError, match=r"train_000002\.bin: token 4,028 is 50300, expected below"):
        work.train_data(0).gather(torch.tensor([127]))


def test_missing_shards_are_named(folder: Path, work: LmWeb) -> None:
    (folder / "fineweb_train_000002.bin").unlink()
    with pytest.raises(DataError, match=r"fineweb-gpt2: fineweb_train_000002\.bin is not in .*bench data get"):
        work.train_data(0)
    (folder / "fineweb_val_000000.bin").unlink()
    with pytest.raises(DataError, match=r"fineweb_val_000000\.bin is not in"):
        work.evaluate(work.build_model(0), "score")


# --- the word language ----------------------------------------------------------------------------

SMALL = WordLanguage(3, classes=4, per_class=5, length=6, mark=20)


def test_the_probabilities_of_words_sum_to_one() -> None:
    """Every document of a mark and two words, and what it costs."""
    words = WordLanguage(3, classes=4, per_class=5, length=3, mark=20)
    a, b = np.meshgrid(np.arange(20), np.arange(20))
    documents = np.stack([np.full(400, 20), a.ravel(), b.ravel()], axis=1)
    nats = words.nats(documents) * 3
    probabilities = np.exp(-nats)
    assert probabilities.sum() == pytest.approx(1.0)
    assert (probabilities * nats).sum() / 3 == pytest.approx(words.entropy)


def test_the_text_is_what_its_probabilities_say() -> None:
    tokens = np.concatenate(list(SMALL.documents(20_000, "x"))).reshape(-1, 6)
    nats = SMALL.nats(tokens)
    assert nats.mean() == pytest.approx(SMALL.entropy, abs=4 * nats.std() / 20_000**0.5)
    assert set(tokens[:, 0]) == {20}
    assert tokens[:, 1:].max() < 20


def test_more_documents_begin_with_the_same() -> None:
    few, many = (np.concatenate(list(SMALL.documents(n, "x"))) for n in (7, 1500))
    assert np.array_equal(few, many[: len(few)])
    assert not np.array_equal(few, np.concatenate(list(SMALL.documents(7, "y"))))


@pytest.mark.slow
def test_equal_seeds_give_these_words() -> None:
    """Pinned: the corpus must be the same on every machine."""
    tokens = next(WordLanguage(1).documents(1, "train"))
    assert tokens[:6].tolist() == PINNED


PINNED = [50256, 2762, 364, 40450, 975, 17712]


def test_what_is_no_document_is_refused() -> None:
    for row in ([1, 2, 3, 4, 5, 6], [20, 1, 2, 3, 4, 20], [20, 1, 2, 3, 4, 5, 6], [20, 1, 2]):
        with pytest.raises(ValueError, match="no documents of 6 tokens"):
            SMALL.nats(np.array([row]))
    with pytest.raises(ValueError, match="do not fit below the mark"):
        WordLanguage(1, classes=5, per_class=5, mark=20)
    with pytest.raises(ValueError, match="out of range"):
        WordLanguage(1, length=1)


def test_the_corpus_is_written_once_in_the_real_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setattr("workloads.lm.corpus._PIECES_PER_SHARD", 1)
    corpus = Corpus(length=8)
    tokens = written(corpus, "train", 1500)
    assert [path.name for path in tokens.paths] == ["train-1500_000001.bin", "train-1500_000002.bin"]
    assert len(tokens) == 1500 * 8 + 1
    assert np.array_equal(tokens[: 1500 * 8], np.concatenate(list(language(corpus).documents(1500, "train"))))
    times = [path.stat().st_mtime_ns for path in tokens.paths]
    assert written(corpus, "train", 1500).paths == tokens.paths
    assert [path.stat().st_mtime_ns for path in tokens.paths] == times
    tokens.paths[1].write_bytes(tokens.paths[1].read_bytes()[:-2])
    with pytest.raises(DataError, match=r"000002\.bin has .* bytes, expected"):
        written(corpus, "train", 1500)


@pytest.mark.slow
def test_the_synthetic_workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, big: nn.Module) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    work = Lm124mSynthetic(documents=5, held_out=1)
    assert isinstance(work, Workload)
    assert repr(work.build_model(0)) == repr(big)
    pool = work.train_data(0)
    assert len(pool) == 5
    batch = pool.gather(torch.tensor([4, 0]))
    assert batch["tokens_BT"].shape == (2, 1025)
    # A model that does not need minutes on a CPU.
    small = LmWeb(LM_16M, _16M | {"layers": 1, "width": 32, "heads": 1}, WEB).build_model(0).eval()
    metrics = work.evaluate(small, "score")
    assert metrics["loss"] == pytest.approx(metrics["excess"] + language(Corpus()).entropy)
    assert metrics["cross_entropy"] == pytest.approx(math.log(50_304), abs=0.3)
    assert work.evaluate(small, "audit") != metrics
    assert work.facts.targets[0].value > 1.02 * language(Corpus()).entropy


def test_the_corpus_needs_a_folder_it_can_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written to"):
        Lm124mSynthetic(documents=2).train_data(0)
