"""`bench list`: groups of names, a search, and JSON."""

from __future__ import annotations

import json

import pytest

from harness import cli
from harness.cli.grouping import group_parts, group_submissions, group_workloads
from harness.plugins.registry import load_registry

REGISTRY = load_registry()


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    assert cli.invoke(["list", *arguments]) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_without_arguments_only_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = listed(capsys)
    assert len(out.splitlines()) < 60, "the list fits a screen or two"
    words = set(out.replace("(", " ").replace(")", " ").replace(",", " ").split())
    # Variants are listed behind their workload, by what their name adds.
    assert words >= {entry.name for entry in REGISTRY.workloads() if not set(entry.name) & set("+:")}
    assert words >= {entry.name for entry in REGISTRY.submissions()} | {entry.name for entry in REGISTRY.parts()}
    assert "lm-tiny (+postnorm)" in out
    assert all(entry.summary not in out for entry in REGISTRY.submissions())


def test_every_entry_is_in_one_group() -> None:
    submissions = [name for names in group_submissions(REGISTRY.submissions(), REGISTRY).values() for name in names]
    assert sorted(submissions) == [entry.name for entry in REGISTRY.submissions()]
    parts = [f"{kind}:{name}" for kind, names in group_parts(REGISTRY.parts()).items() for name in names]
    assert sorted(parts) == sorted(part.id for part in REGISTRY.parts())
    tiers = group_workloads(REGISTRY.workloads())
    assert list(tiers) == ["cpu", "gpu", "cluster"]
    assert sum(1 + name.count("+") + name.count(":") for names in tiers.values() for name in names) == len(
        REGISTRY.workloads()
    )


def test_words_search_names_summaries_parts_and_papers(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = listed(capsys, "muon")
    assert "muon-wsd " in out
    assert "optimizer:muon " in out
    assert "workloads" not in out
    assert REGISTRY.submission("muon-wsd").summary in out
    assert "sam-sgd" in listed(capsys, "SHARPNESS")[0]
    by_paper = json.loads(listed(capsys, "--json", "2010.01412")[0])
    assert {entry["name"] for entry in by_paper["parts"]} == {"sam"}
    both = json.loads(listed(capsys, "--json", "schedule:wsd", "averaging")[0])
    assert {entry["name"] for entry in both["submissions"]} >= {"wsd-ema", "wsd-lawa"}
    assert "wsd" not in {entry["name"] for entry in both["submissions"]}, "every word must match"


def test_kinds_and_tiers_restrict_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = listed(capsys, "--kind", "schedule")
    assert "schedule:cosine" in out
    assert "optimizer:" not in out
    assert "submissions" not in out
    out, _ = listed(capsys, "--tier", "gpu")
    assert "lm-124m" in out
    assert "lm-tiny" not in out.split()
    assert "submissions" not in out
    for arguments in (("cifar", "--tier", "cpu"), ("muon", "--tier", "gpu")):
        out, err = listed(capsys, *arguments)
        assert not out, "words restrict the workloads of the tier"
        assert "nothing matches" in err
        assert "did you mean 'muon'" not in err, "no optimizer is in a tier"
    only = json.loads(listed(capsys, "--tier", "gpu", "--json")[0])
    assert only["workloads"]
    assert not only["submissions"]
    assert not only["parts"]
    assert cli.invoke(["list", "--tier", "gpu", "--kind", "schedule"]) == 2
    assert "leave out --tier or --kind" in capsys.readouterr().err
    everything, _ = listed(capsys, "--all")
    assert all(entry.summary in everything for entry in REGISTRY.workloads())


def test_nothing_found_is_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = listed(capsys, "muonn")
    assert not out
    assert "did you mean 'muon'?" in err
