"""Texts in files that no program can use as a name, and keys that are given twice, are errors that name the place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.cli import config, sweep
from harness.errors import DataError, UsageError
from harness.planning.rulesets import ruleset
from harness.report.imported_logs import import_wandb
from harness.scoring.algoperf.target_files import read_targets
from harness.system.files import parse_json
from harness.system.yaml_text import parse_yaml


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('runs: "x\\0y"', "zero byte"),
        ('{"set": {"a": ["b\\u0000"]}}', "zero byte"),
        ('"\\0": 1', "zero byte"),
        ('runs: "\\ud800"', "surrogate"),
        ('- [a, "b\\udfffc"]', "surrogate"),
    ],
)
def test_a_text_of_yaml_that_cannot_be_a_name_is_refused(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=rf"{word}.*line 1"):
        parse_yaml(text)
    assert parse_yaml('a: "b\\tc\\u00e9"') == {"a": "b\tcé"}


def test_every_reader_of_yaml_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('submissions: [wsd]\nworkloads: [lm-tiny]\nruns: "x\\0y"\n')
    for read in (sweep.read, config.read_default_map, lambda path: ruleset(str(path))):
        with pytest.raises(UsageError, match=r"mine\.yaml: .*zero byte \(line 3\)"):
            read(path)


def test_merge_keys_of_yaml_are_read() -> None:
    text = "base: &base {lr: 0.1, seed: 3}\nother: {<<: *base, seed: 4}\nboth: {<<: [*base, {jobs: 2}]}\n"
    assert parse_yaml(text)["other"] == {"lr": 0.1, "seed": 4}
    assert parse_yaml(text)["both"] == {"lr": 0.1, "seed": 3, "jobs": 2}
    with pytest.raises(UsageError, match="seed is given twice"):
        parse_yaml("a: {<<: {lr: 1}, seed: 1, seed: 2}")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "c": 2, "a": 1}}]', '{"\\u0061": 1, "a": 2}'])
def test_a_key_that_is_given_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the key 'a' is given twice"):
        parse_json(text)


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\uDC00": 1}', '[["a\\udfffb"]]'])
def test_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="surrogate pair"):
        parse_json(text)


def test_json_of_other_programs_is_read() -> None:
    assert parse_json('{"a": "\\ud83d\\ude00", "b": [1, {"a": 2}], "c": "\\\\ud800"}') == {
        "a": "😀",
        "b": [1, {"a": 2}],
        "c": "\\ud800",
    }
    assert math.isnan(parse_json('{"a": NaN}')["a"])


@pytest.mark.parametrize(
    "content", ['[{"_step": 1, "_step": 2}]', '{"_step": 1, "\\ud800": 2}', '{"_step": 1' + "0" * 5000 + "}"]
)
def test_the_readers_of_logs_name_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "log.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"log\.json"):
        import_wandb(path, submission="a", workload="b")
    with pytest.raises(DataError, match=r"log\.json"):
        read_targets(path)
