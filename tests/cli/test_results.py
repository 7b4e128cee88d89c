"""`bench results`, and that commands read packed and plain records alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Bench
from tests.storage.published import contents


def test_pack_verify_and_unpack(bench: Bench) -> None:
    before = contents(Path("results"))
    packed = bench("results", "pack", "results")
    assert packed.code == 0
    assert packed.out.splitlines() == [
        "packed 3 records of results/hills/alpha",
        "packed 3 records of results/hills/beta",
        "packed 6 records, 2 shards",
    ]
    assert bench("results", "pack", "results").out == "packed 0 records, 0 shards\n"
    assert bench("results", "verify", "results").out.endswith("verified 6 records, 2 shards\n")
    assert bench("results", "unpack", "results").code == 0
    assert contents(Path("results")) == before
    assert bench("results", "verify", "results").out.endswith("verified 6 records, 0 shards\n")


def test_json(bench: Bench) -> None:
    for command, records in (("pack", 6), ("verify", 6), ("unpack", 6)):
        output = bench("results", command, "results", "--json")
        shown = json.loads(output.out)
        assert (output.code, shown["schema"], shown["folder"], shown["records"]) == (0, 1, "results", records)
        assert [(f["folder"], f["records"], f["shards"], f["problems"]) for f in shown["folders"]] == [
            (f"results/hills/{name}", 3, ["records-0001.jsonl.xz"], []) for name in ("alpha", "beta")
        ]


def test_each_problem_is_a_line_and_the_exit_code_is_1(bench: Bench) -> None:
    bench("results", "pack", "results")
    shard = Path("results/hills/alpha/records-0001.jsonl.xz")
    shard.write_bytes(shard.read_bytes()[:-1])
    for command in ("verify", "unpack"):
        output = bench("results", command, "results")
        assert output.code == 1
        assert output.err.count("\n") == 1
        assert f"shard {shard} is damaged" in output.err
    output = bench("results", "verify", "results", "--json")
    assert output.code == 1
    assert len(json.loads(output.out)["folders"][0]["problems"]) == 1
    assert shard.exists()
    assert not shard.with_name("records-0001.index.json").with_suffix(".tmp").exists()


def test_a_folder_that_does_not_exist_is_a_usage_error(bench: Bench) -> None:
    output = bench("results", "verify", "nowhere")
    assert output.code == 2
    assert "nowhere" in output.err


@pytest.mark.parametrize(
    "arguments", [["leaderboard", "--json"], ["compare", "alpha", "beta", "--json"], ["best", "hills"]]
)
def test_commands_print_the_same_of_packed_records(bench: Bench, arguments: list[str]) -> None:
    plain = bench(*arguments)
    assert plain.code == 0, plain.err
    bench("results", "pack", "results/hills/alpha")
    assert bench(*arguments) == plain
    bench("results", "pack", "results")
    assert bench(*arguments) == plain


def test_a_packed_run_is_found_by_its_id_and_by_its_path(bench: Bench) -> None:
    first, second, _ = sorted(Path("results/hills/alpha").iterdir())
    by_path = bench("diff", str(first), str(second), "--json")
    assert by_path.code == 0, by_path.err
    bench("results", "pack", "results")
    assert bench("diff", str(first), str(second), "--json") == by_path
    assert bench("diff", first.stem, second.stem.removeprefix("run-"), "--json") == by_path


def test_a_damaged_shard_is_named_below_the_table(bench: Bench) -> None:
    bench("results", "pack", "results")
    shard = Path("results/hills/alpha/records-0001.jsonl.xz")
    shard.write_bytes(b"")
    output = bench("leaderboard", "--json")
    assert output.code == 0
    (board,) = json.loads(output.out)["boards"]
    assert [row["submission"].partition("@")[0] for row in board["rows"]] == ["beta"]
    assert f"shard {shard} is damaged" in output.err
