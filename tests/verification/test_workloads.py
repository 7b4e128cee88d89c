"""The workload of a record is looked up among the installed ones: a record never chooses the code that runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import harness
from harness import cli
from harness.contract.judging import JudgeAnswer, JudgeRequest
from harness.contract.record import Record
from harness.contract.run import Nonce
from harness.errors import UsageError
from harness.planning.rulesets import rulesets
from harness.planning.trials import with_horizon
from harness.plugins.code_reading import workload_from_path
from harness.storage.records import StoredRecord
from harness.verification.checks import VerificationOptions, verify_records
from harness.verification.findings import Finding
from harness.verification.workloads import check_workload, index_workloads, with_installed_workload
from tests.verification.forging import (
    NO_JUDGE,
    change,
    failure,
    honest,
    published,
    registry,
    stored,
    with_spec,
    workloads,
)


def with_workload(record: Record, **changes: Any) -> Record:
    return with_spec(record, workload=change(record.spec.workload, **changes))


def with_weights(record: Record, folder: Path) -> StoredRecord:
    """The stored record of a run that left a file of weights beside it."""
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    item = stored(change(record, final_weights=digest, crossing_weights=digest))
    run = folder / item.path.stem
    run.mkdir(parents=True)
    (run / "final.safetensors").write_bytes(content)
    (run / "record.json").write_bytes(item.content)
    return item._replace(path=run / "record.json")


def runs_command(record: Record, marker: Path) -> Record:
    """A record whose workload is a function of the operating system."""
    return with_workload(record, load="os:system", arguments={"command": f"touch {marker}"})


def findings(item: StoredRecord, options: VerificationOptions) -> tuple[Finding, Finding]:
    """The findings `workload` and `weights`."""
    [record] = verify_records([item], options)
    workload, weights = record.finding("workload"), record.finding("weights")
    assert workload is not None
    assert weights is not None
    return workload, weights


def forbidden(request: JudgeRequest) -> JudgeAnswer:
    raise AssertionError(f"{request.spec.workload.load} was imported")


def test_no_command_runs_a_function_that_a_record_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker, runs = tmp_path / "marker", tmp_path / "runs"
    item = with_weights(runs_command(honest(), marker), runs)
    folders = ["--runs", str(runs), "--results", str(tmp_path / "results")]
    assert cli.invoke(["verify", str(item.path), *folders]) == 1
    assert "workload: its workload has the import path 'os:system', but" in capsys.readouterr().out
    assert cli.invoke(["publish", str(item.path), *folders]) == 1
    assert "its workload has the import path 'os:system'" in capsys.readouterr().out
    assert cli.invoke(["rerun", str(item.path), *folders]) == 2
    assert not marker.exists()


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (lambda record: with_workload(record, load="elsewhere:W"), "its workload has the import path 'elsewhere:W'"),
        (lambda record: with_workload(record, load="evil/w.py:W"), "its workload has the import path 'evil/w.py:W'"),
        (lambda record: with_workload(record, load="no path"), "its workload has the import path 'no path'"),
        (lambda record: with_workload(record, arguments={"scale": 2}), "other arguments"),
        (
            lambda record: with_spec(record, submission=change(record.spec.submission, model_options={"width": 10**9})),
            "has no model option 'width'",
        ),
    ],
)
def test_another_workload_than_the_installed_one_is_caught(
    forge: Callable[[Record], Record], problem: str, tmp_path: Path
) -> None:
    workload, weights = findings(with_weights(forge(honest()), tmp_path), replace(NO_JUDGE, judge=forbidden))
    assert (workload.outcome, problem in workload.detail) == ("failed", True), workload
    assert weights.outcome == "unchecked"


def test_a_workload_that_is_not_installed_is_not_imported(tmp_path: Path) -> None:
    item = with_weights(honest(), tmp_path)
    workload, weights = findings(item, VerificationOptions(judge=forbidden))
    assert workload.outcome == weights.outcome == "unchecked"
    facts = honest().spec.workload.facts
    older = with_workload(honest(), facts=change(facts, version="0"))
    workload, _ = findings(stored(older), NO_JUDGE)
    assert (workload.outcome, f"at hand: {facts.id}" in workload.detail) == ("unchecked", True)


def test_a_workload_that_is_offered_twice_is_not_chosen() -> None:
    entry = workloads()[honest().spec.workload.facts.id]
    assert entry.facts.id not in index_workloads([entry, change(entry, load="other:W", distribution="other")])


def test_a_file_is_imported_only_if_the_user_names_it(tmp_path: Path) -> None:
    marker, file = tmp_path / "marker", tmp_path / "w.py"
    file.write_text(
        "from pathlib import Path\nfrom tests import micro\n"
        f"Path({str(marker)!r}).touch()\nclass W(micro.Micro):\n    pass\n"
    )
    entry = workload_from_path(str(file))
    marker.unlink()
    record = with_workload(honest(), facts=entry.facts, load=entry.load)
    item = with_weights(record, tmp_path)
    workload, weights = findings(item, replace(NO_JUDGE, judge=forbidden))
    assert (workload.outcome, "--workload-file" in workload.detail) == ("unchecked", True)
    assert (weights.outcome, marker.exists()) == ("unchecked", False)

    moved = with_workload(honest(), facts=entry.facts, load="/elsewhere/w.py:W")
    spec = with_installed_workload(moved.spec, index_workloads([entry]))
    assert spec.workload.load == entry.load
    assert findings(stored(moved), replace(NO_JUDGE, workloads=index_workloads([entry])))[0].outcome == "passed"
    with pytest.raises(UsageError, match="only the user may name"):
        with_installed_workload(moved.spec, workloads())


# --- facts ----------------------------------------------------------------------------------------


def with_facts(record: Record, **changes: Any) -> Record:
    return with_workload(record, facts=change(record.spec.workload.facts, **changes))


def test_eased_facts_are_caught() -> None:
    """An easier target, a workload that does not call itself coarse, and a larger budget."""
    facts = honest().spec.workload.facts
    (target, *others) = facts.targets
    eased = msgspec.structs.replace(target, value=target.value * (2 if target.goal == "min" else 0.5))
    stream = honest("stream").spec.workload.facts
    stages = tuple(change(stage, max_examples=2 * stage.max_examples) for stage in stream.stages)
    forged = {
        "targets": with_facts(honest(), targets=(eased, *others)),
        "coarse": with_facts(honest(), coarse=not facts.coarse),
        "resolution": with_facts(honest(), resolution=1e-9),
        "levels": with_facts(honest(), levels={"hard": (eased,)}),
        "budget": with_facts(honest(), budget=change(facts.budget, seconds={"default": 1e9})),
        "stages": with_facts(honest("stream"), stages=stages),
        "eval_every": with_facts(honest(), eval_every=1),
    }
    for field, record in forged.items():
        assert f"{field} in its facts differs from" in failure(record, "workload"), field


def test_a_budget_that_its_ruleset_does_not_give_is_caught() -> None:
    record = honest()
    assert record.spec.purpose == "score"
    halved = with_horizon(record.spec.workload.facts, record.spec.workload.facts.budget.horizon // 2)
    forged = with_workload(record, facts=halved)
    assert "budget in its facts differs from" in failure(forged, "workload")
    # The runs of an envelope and of a gate may have any horizon, but the other budgets follow from it.
    assert not failure(with_spec(forged, purpose="envelope"), "workload")
    budget = change(halved.budget, gradient_examples=10 * halved.budget.gradient_examples)
    larger = with_spec(with_facts(forged, budget=budget), purpose="envelope")
    assert "budget in its facts differs from" in failure(larger, "workload")


@pytest.mark.parametrize("name", sorted(rulesets()))
@pytest.mark.parametrize("options", [{}, {"smoke": True}, {"nonce": Nonce(value="ab" * 32, source="local")}])
def test_what_is_planned_passes(name: str, options: dict[str, Any]) -> None:
    specs = harness.plan(
        "wsd", "resnet-digits,continual-digits", ruleset=name, registry=registry(), require_machine=False, **options
    )
    assert len(specs)
    for spec in specs:
        assert check_workload(spec, workloads()).outcome == "passed", spec


def test_the_targets_of_the_runs_that_gave_the_targets_may_differ() -> None:
    record = with_spec(with_facts(honest(), targets=(), levels={}, resolution=None), purpose="target")
    assert not failure(record, "workload")
    assert "targets" in failure(with_spec(record, purpose="score"), "workload")


def test_a_record_with_an_eased_target_is_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = next(r for r in published() if r.spec.ruleset.name == "quick" and r.spec.purpose == "score")
    (target, *others) = record.spec.workload.facts.targets
    forged = with_facts(record, targets=(change(target, unit="bananas"), *others))
    item = stored(forged)
    run = tmp_path / "runs" / item.path.stem
    run.mkdir(parents=True)
    (run / "record.json").write_bytes(item.content)
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), "--no-weights"]
    assert cli.invoke(["publish", str(run), *folders]) == 1
    assert "targets in its facts differs from" in capsys.readouterr().out
