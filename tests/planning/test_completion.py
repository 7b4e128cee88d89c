"""An entry takes from the code that it loads what it leaves out; what disagrees or cannot be called is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.entries import PartEntry, SubmissionEntry
from harness.errors import PluginError, UsageError
from harness.planning.completion import check_arguments, check_workload, complete_submission
from harness.planning.compose import compose
from harness.planning.resolve import resolve_submission, resolve_workloads, tagged_submissions
from harness.plugins import child, code_reading
from harness.plugins.code_reading import DeclaredSubmission
from harness.plugins.contents import PluginContents, ReadRequest
from harness.plugins.registry import Plugin, Registry
from tests import micro
from tests.planning import declared

COSINE = PartEntry(kind="schedule", name="cosine", load="m:f", summary="s", needs=frozenset({"horizon"}))
CONSTANT = PartEntry(kind="schedule", name="constant", load="m:f", summary="s")
SORTED = PartEntry(kind="order", name="sorted", load="m:f", summary="s")


@pytest.fixture(autouse=True)
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read what entries load in this process, which has torch already."""

    def read(request: ReadRequest, files: Sequence[Path], key_path: str = "") -> PluginContents:
        assert files, "the cached answer would never be renewed"
        return child.read(request)

    monkeypatch.setattr(code_reading, "_read", read)


def registry(*entries: Any) -> Registry:
    named = [msgspec.structs.replace(entry, distribution="bench-mine") for entry in entries]
    plugin = Plugin(
        distribution="bench-mine", version="1", name="mine", module="m", entries=(COSINE, CONSTANT, SORTED, *named)
    )
    return Registry([plugin])


def entry_of(name: str, **fields: Any) -> SubmissionEntry:
    return SubmissionEntry(name="mine", summary="s", load=f"{declared.__name__}:{name}", **fields)


def complete(name: str, **fields: Any) -> SubmissionEntry:
    return complete_submission(entry_of(name, **fields), registry())


def test_an_entry_with_nothing_but_a_path_has_the_fields_of_the_recipe() -> None:
    entry = resolve_submission("mine", registry(entry_of("Mine")))
    assert (entry.parts, entry.needs, entry.checks) == (("schedule:cosine",), frozenset({"horizon"}), ("momentum < 1",))
    assert (entry.space, entry.model_options) == (declared.SPACE, {"dropout": 0.1})
    assert (entry.name, entry.summary, entry.distribution) == ("mine", "s", "bench-mine")
    assert "horizon_fraction" in compose(entry, registry()).space


def test_a_broken_submission_with_a_tag_breaks_no_other_plan() -> None:
    good, broken = (entry_of(name, tags=("family",)) for name in ("Mine", "WrongStep"))
    installed = registry(good, msgspec.structs.replace(broken, name="broken"))
    assert [entry.parts for entry in tagged_submissions(installed, "family")] == [("schedule:cosine",)]
    with pytest.raises(PluginError, match="'broken' is broken"):
        resolve_submission("broken", installed)


def test_a_recipe_is_the_same_in_a_package_as_in_a_file() -> None:
    file = Path(declared.__file__)
    in_a_file = code_reading.submission_from_path(f"{file}:Mine").entry
    fields = ("parts", "needs", "space", "checks", "model_options", "version", "sources", "tags")
    assert [getattr(in_a_file, field) for field in fields] == [getattr(complete("Mine"), field) for field in fields]


def test_a_class_and_an_optimizer_are_completed() -> None:
    by_hand = complete("ByHand")
    assert (by_hand.space, by_hand.needs, by_hand.version) == (
        declared.ByHand.search_space,
        frozenset({"feedback"}),
        "3",
    )
    adam = SubmissionEntry(name="adam", summary="s", load="torch.optim:Adam")
    assert "beta1" in complete_submission(adam, registry()).space
    narrow = msgspec.structs.replace(adam, space={"lr": declared.SPACE["lr"]})
    assert complete_submission(narrow, registry()).space == {"lr": declared.SPACE["lr"]}, "a space is not compared"


def test_what_both_declare_alike_is_no_disagreement() -> None:
    fields: dict[str, Any] = {"parts": ("schedule:cosine",), "needs": frozenset({"horizon", "feedback"})}
    entry = complete("Mine", space=dict(declared.SPACE), checks=("momentum < 1",), **fields)
    assert entry.needs == {"horizon", "feedback"}, "an entry may need more"
    parts = ("schedule:constant", "order:sorted")
    assert complete("Ordered", parts=parts, needs=frozenset({"scores"})).needs == {"scores", "pool"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parts": ("schedule:constant",)}, "about parts: schedule:constant (only in the entry), schedule:cosine (not"),
        ({"space": {"lr": declared.SPACE["lr"]}}, "about space: momentum (not in the entry)"),
        ({"space": {**declared.SPACE, "lr": declared.SPACE["momentum"]}}, "about space: lr (differs)"),
        ({"checks": ("lr < 1",)}, "about checks: lr < 1 (only in the entry), momentum < 1 (not in the entry)"),
        ({"model_options": {"dropout": 0.2}}, "about model_options: dropout (differs)"),
        ({"needs": frozenset({"scores"})}, "needs horizon, which the entry of 'mine' does not declare"),
    ],
)
def test_an_entry_that_disagrees_is_refused_with_the_fix(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError) as caught:
        complete("Mine", **fields)
    assert message in caught.value.what
    assert "out of the entry" in str(caught.value.fix)


def test_versions_that_disagree_are_refused() -> None:
    with pytest.raises(PluginError, match="about version: 2 and 3"):
        complete("ByHand", version="2")


@pytest.mark.parametrize(
    ("name", "message", "fix"),
    [
        ("Nothing", "has no attribute 'Nothing'", "correct the import path"),
        ("sgd", "is not a submission: it is a function", "a Recipe, a class with step()"),
        ("NotCallable", "the optimizer of NotCallable is a int", "optimizer=…"),
        ("NoArguments", "has the wrong arguments: without_arguments()", "calls without_arguments(parameters, **hyper"),
        ("Gradient", "the gradient <lambda> of Gradient has the wrong arguments", "model, task"),
        ("Rate", "has the argument(s) rate, but there is no hyperparameter of this name", "add rate to the search_sp"),
        ("Reversed", "has the argument(s) parameters", "add parameters"),
        ("Unused", "has an argument for the hyperparameter(s) lr, momentum", "remove lr, momentum"),
        ("Horizon", "the schedule <lambda> of", "add horizon"),
        ("Needs", "unknown needs 'magic'", "correct the fields"),
        ("WithoutLoading", "WithoutLoading has no method load_state_dict()", "define load_state_dict(self, state)"),
        ("WrongStep", "WrongStep.step() has the wrong arguments: step(self)", "define step(self, work)"),
        ("WrongConstructor", "WrongConstructor(model)", "define __init__(self, model, task, hparams)"),
    ],
)
def test_code_that_the_harness_cannot_call_is_refused_before_it_runs(name: str, message: str, fix: str) -> None:
    with pytest.raises(PluginError) as caught:
        complete(name)
    assert message in caught.value.what
    assert fix in str(caught.value.fix)


def test_a_hyperparameter_may_not_have_the_name_of_a_passed_argument() -> None:
    read = code_reading.submission_from_path(f"{declared.__file__}:Mine")
    space = {**read.entry.space, "parameters": declared.SPACE["lr"]}
    clash = DeclaredSubmission(msgspec.structs.replace(read.entry, space=space), read.signatures)
    with pytest.raises(PluginError, match="takes parameters by position"):
        check_arguments(clash, registry())


def test_parts_that_cannot_be_composed_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown schedule"):
        complete_submission(entry_of("Mine"), Registry([]))


def test_facts_that_disagree_and_wrong_methods_are_refused() -> None:
    check_workload(micro.ENTRY)
    for name, message in {
        "OtherFacts": "disagree about name, access, targets, stages",
        "NoSplit": r"NoSplit\.evaluate\(\) has the wrong arguments: evaluate\(self, model\)",
        "NoOption": r"build_model\(self, seed\) \(define build_model\(self, seed, dropout=…\)\)",
        "sgd_": "has no attribute 'sgd_'",
    }.items():
        entry = msgspec.structs.replace(micro.ENTRY, load=f"{declared.__name__}:{name}")
        with pytest.raises(PluginError, match=message):
            resolve_workloads("micro", registry(entry))
    with_arguments = msgspec.structs.replace(micro.ENTRY, load="no.such:Class", arguments={"variant": "a"})
    check_workload(with_arguments)  # its facts depend on the arguments, which the worker passes


def test_a_workload_that_takes_too_long_to_read_is_left_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = PluginContents(error="it took longer than 20 s", is_transient=True)
    monkeypatch.setattr(code_reading, "_read", lambda *_, **__: answer)
    check_workload(micro.ENTRY)
    with pytest.raises(PluginError, match="the submission 'mine' is broken: it took longer"):
        complete("Mine")
