"""`bench verify`, `bench rerun` and the trust level that other commands print."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import cli
from harness.contract.attestation import Attestation
from harness.contract.run import Nonce
from harness.storage.attestations import read_attestations, write_attestation
from harness.storage.records import decode, encode
from tests.verification.forging import change, honest, stored


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one published record, which is the current folder."""
    item = stored(honest())
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / item.path.name).write_bytes(item.content)
    monkeypatch.chdir(tmp_path)
    return folder


def attestation(**fields: str) -> Attestation:
    written = decode(stored(honest()).content, "the record")
    base = Attestation(
        record=written.content_hash, run_id=honest().run_id, method="fresh-seeds", outcome="accepted",
        nonce=Nonce(value="ab" * 32, source="beacon"), machine="0123abcd", date="2026-11-29T00:00:00+00:00",
    )  # fmt: skip
    changed: Attestation = change(base, **fields)
    return changed


def test_a_record_is_verified_packed_or_not(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = honest().run_id
    assert cli.invoke(["verify", str(results)]) == 0
    assert cli.invoke(["results", "pack", str(results)]) == 0
    capsys.readouterr()
    for arguments in ([str(results)], [name], [str(results / f"{name}.json"), str(results)]):
        assert cli.invoke(["verify", *arguments, "--json"]) == 0
        output = json.loads(capsys.readouterr().out)
        assert [record["run_id"] for record in output["records"]] == [name]
    assert {finding["outcome"] for finding in output["records"][0]["findings"]} == {"passed", "unchecked"}


def test_a_forged_record_gives_exit_code_1(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(results.iterdir())
    path.write_bytes(encode(change(honest(), hit=3)))
    assert cli.invoke(["verify", str(path)]) == 1
    assert "ending: the hit is point 3" in capsys.readouterr().out


def test_a_damaged_record_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(results.iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    assert cli.invoke(["verify", str(results)]) == 1
    assert f"{path.relative_to(results.parent)}" in capsys.readouterr().out


def test_attestations_give_the_trust_level(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def level() -> str:
        assert cli.invoke(["show", honest().run_id, "--json"]) == 0
        return str(json.loads(capsys.readouterr().out)["trust"])

    assert level() == "evaluated"
    path = write_attestation(results, attestation())
    write_attestation(results, attestation(record="0" * 64, outcome="refuted"))
    assert level() == "verified"
    assert cli.invoke(["show", honest().run_id]) == 0
    assert "verified; fresh-seeds accepted on 2026-11-29 by machine 0123abcd" in capsys.readouterr().out
    assert cli.invoke(["leaderboard", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert {row["trust"] for table in tables for row in table["rows"]} == {"verified"}
    write_attestation(results, attestation(outcome="refuted"))
    assert level() == "self-reported"
    # Attestations are not taken for records, and records are packed without them.
    assert cli.invoke(["results", "pack", str(results)]) == 0
    assert path.exists()
    assert len(read_attestations(results)[0]) == 3


def test_a_damaged_attestation_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_attestation(results, attestation()).write_text("{")
    assert cli.invoke(["show", honest().run_id]) == 0
    assert "attestation-" in capsys.readouterr().err


def test_errors_of_rerun_name_the_fix(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["rerun", "wsd"]) == 2
    assert "bench rerun wsd --workloads 3" in capsys.readouterr().err
    path = next(results.iterdir())
    forged = stored(change(honest(), spec=change(honest().spec, submission=change(
        honest().spec.submission, source_hash="0" * 64))))  # fmt: skip
    shutil.move(path, results / "old")
    (results / forged.path.name).write_bytes(forged.content)
    assert cli.invoke(["rerun", str(results / forged.path.name)]) == 2
    assert "check out the version that the record names" in capsys.readouterr().err
    assert not read_attestations(results)[0]


def test_a_damaged_record_does_not_end_a_rerun_of_a_submission(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (damaged := results / "run-00000000.json").write_text("{")
    assert cli.invoke(["rerun", "unknown", "--workloads", "1"]) == 2
    shown = capsys.readouterr().err
    assert f"skipped: record {damaged.relative_to(results.parent)} is damaged" in shown
    assert "submission among the results" in shown


def test_a_seed_and_a_nonce_exclude_each_other(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", "-s", "wsd", "-w", "resnet-digits", "--seed", "3", "--nonce", "local"]) == 2
    assert "leave out --seed" in capsys.readouterr().err


def test_a_folder_without_records_is_no_success(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A wrong path must not pass in continuous integration."""
    (tmp_path / "empty").mkdir()
    assert cli.invoke(["verify", str(tmp_path / "empty")]) == 1
    assert "no record was found in" in capsys.readouterr().err
