"""The rules that a submission may not break."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from harness.contract.workload import Precision
from harness.errors import RejectedError
from harness.worker import loop, weights
from harness.worker.clock import Clock
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.rule import Rule, RuleChecker
from harness.worker.rules import load_rule, load_rules, rule_docs, rule_names
from harness.worker.rules.harness_code import list_workload_modules
from tests import micro
from tests.helpers import run_here, spec_of, submission
from tests.worker.build import work_of

BASE = submission("tests.submissions_for_tests:Base")


def test_an_import_that_leaves_a_thread_is_rejected(tmp_path: Path) -> None:
    source = tmp_path / "leaves_a_thread.py"
    source.write_text(
        "import threading, time\n"
        "from tests.submissions_for_tests import Base\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True, name='left-behind').start()\n"
        "class LeavesThread(Base):\n    pass\n"
    )
    record = run_here(spec_of(submission(f"{source}:LeavesThread")), tmp_path)
    assert record.status == "rejected"
    assert "left-behind" in record.reason


def test_a_changed_model_is_rejected_by_name() -> None:
    model = torch.nn.Linear(2, 2)
    rules = load_rules(spec_of(BASE))
    rules.before_construction(model, SINGLE_PROCESS)
    rules.at_pause(model, SINGLE_PROCESS)
    model.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(RejectedError, match="extra"):
        rules.at_pause(model, SINGLE_PROCESS)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Greedy", "10000 examples were drawn"),
        ("Idle", "no forward pass"),
        ("Grows", "stash"),
        ("OtherPrecision", "float32 matmul precision"),
    ],
)
def test_rules_are_enforced(name: str, word: str, tmp_path: Path) -> None:
    try:
        record = run_here(spec_of(submission(f"tests.submissions_for_tests:{name}"), smoke=True), tmp_path)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert record.status == "rejected"
    assert word in record.reason


def test_indices_on_a_stream_are_rejected() -> None:
    workload = micro.MicroStream()
    work = work_of(spec_of(BASE, micro.STREAM_ENTRY), workload)
    with pytest.raises(RejectedError, match="stream"):
        work.draw(indices=torch.arange(3))


def test_a_batch_has_at_least_one_example() -> None:
    work = work_of(spec_of(BASE), micro.Micro())
    with pytest.raises(RejectedError, match=r"draw\(0\).*at least one example"):
        work.draw(0)
    with pytest.raises(RejectedError, match=r"draw\(-3\)"):
        work.draw(-3)
    assert work.examples == 0, "an example that is not drawn is not counted, nor taken off the count"


def test_a_setting_that_a_submission_changes_is_named() -> None:
    rule = load_rule("numeric_settings")(spec_of(BASE))
    model = nn.Linear(2, 2)
    rule.before_construction(model, SINGLE_PROCESS)
    rule.at_pause(model, SINGLE_PROCESS)
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(RejectedError, match=r"default dtype was changed from torch.float32 to torch.float64"):
            rule.at_pause(model, SINGLE_PROCESS)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("compiles", [False, True])
def test_flushed_denormal_numbers_are_noticed_unless_the_loss_is_compiled(compiles: bool) -> None:
    facts = msgspec.structs.replace(micro.FACTS, precision=Precision(compile=compiles))
    rule = load_rule("numeric_settings")(spec_of(BASE, msgspec.structs.replace(micro.ENTRY, facts=facts)))
    rule.on_pass()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        for check in (rule.on_pass, lambda: rule.at_pause(nn.Linear(2, 2), SINGLE_PROCESS)):
            with contextlib.nullcontext() if compiles else pytest.raises(RejectedError, match="denormal numbers"):
                check()
    finally:
        torch.set_flush_denormal(False)


def test_passes_in_float32_run_without_autocast() -> None:
    rule = load_rule("numeric_settings")(spec_of(BASE))
    rule.on_pass()
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(RejectedError, match="autocast was enabled within a pass"),
    ):
        rule.on_pass()


def test_autocast_within_a_pass_has_the_dtype_of_the_workload_and_the_device_of_the_run() -> None:
    facts = msgspec.structs.replace(micro.FACTS, precision=Precision(dtype="bfloat16"))
    rule = load_rule("numeric_settings")(spec_of(BASE, msgspec.structs.replace(micro.ENTRY, facts=facts)))
    rule.on_pass()
    with torch.autocast("cpu", torch.bfloat16):
        rule.on_pass()
        with torch.autocast("cpu", torch.float16), pytest.raises(RejectedError, match="autocast"):
            rule.on_pass()


@pytest.mark.parametrize("operation", ["matmul", "conv", "rnn"])
def test_a_precision_that_is_set_for_one_operation_is_named(operation: str) -> None:
    rule = load_rule("numeric_settings")(spec_of(BASE))
    owner = getattr(torch.backends.mkldnn, operation)
    before = owner.fp32_precision
    owner.fp32_precision = "bf16"
    try:
        with pytest.raises(RejectedError, match=f"mkldnn {operation} precision|float32 matmul precision"):
            rule.on_pass()
        with pytest.raises(RejectedError):
            rule.at_pause(nn.Linear(1, 1), SINGLE_PROCESS)
    finally:
        owner.fp32_precision = before
    rule.on_pass()


def test_every_element_of_the_weights_is_compared() -> None:
    rule = load_rule("uncounted_training")(spec_of(BASE))
    model = nn.Linear(64, 64)
    rule.at_evaluation(model)
    rule.at_evaluation(model)
    with torch.no_grad():
        model.weight[0, 1] += 1
    with pytest.raises(RejectedError, match="no forward or backward pass was counted in a step"):
        rule.at_evaluation(model)


def test_only_passes_in_steps_allow_other_weights() -> None:
    rule = load_rule("uncounted_training")(spec_of(BASE))
    model = nn.Linear(2, 2)
    rule.at_evaluation(model)
    rule.on_forward(16)
    rule.on_step_end(16, 16)
    nn.init.ones_(model.weight)
    rule.at_evaluation(model)
    rule.on_forward(16)  # in `eval_weights`, when the evaluation is over
    rule.at_pause(model, SINGLE_PROCESS)
    rule.on_step_end(16, 16)  # the harness's counter was raised
    nn.init.zeros_(model.weight)
    with pytest.raises(RejectedError, match="counted in a step"):
        rule.at_evaluation(model)


def test_a_long_import_is_rejected() -> None:
    rule = load_rule("import_time")(spec_of(BASE))
    rule.after_import(9.9)
    with pytest.raises(RejectedError, match=r"took 10.1 CPU seconds; the limit is 10 .*in the constructor"):
        rule.after_import(10.1)


class TwoRanks(ProcessGroup):
    """Rank 1 of two; rank 0 holds a given value of every tensor."""

    rank, count = 1, 2

    def __init__(self, value: float) -> None:
        self.value = value

    def broadcast_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.full_like(tensor, self.value)

    def all_gather_bytes(self, payload: bytes) -> list[bytes]:
        return [b"0.0 ", payload]


@pytest.mark.parametrize(
    ("ours", "theirs", "drift"),
    [(1.0, 1.0, ""), (1.0005, 1.0, ""), (1.01, 1.0, "0.01"), (float("nan"), 1.0, "inf"), (float("nan"),) * 2 + ("",)],
)
def test_weights_that_differ_between_ranks_are_rejected(ours: float, theirs: float, drift: str) -> None:
    """Rounding is not drift, and NaN everywhere is a divergence."""
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.fill_(theirs)
        model.bias.fill_(ours)
    rule = load_rule("equal_weights")(spec_of(BASE))
    if not drift:
        rule.at_pause(model, TwoRanks(theirs))
        return
    with pytest.raises(
        RejectedError, match=f"bias differs by {drift} of its root mean square between rank 0 and rank 1"
    ):
        rule.at_pause(model, TwoRanks(theirs))


def test_rules_are_checked_where_they_can_be_broken() -> None:
    """And a draw from a pool pays for two checks."""

    def names(checker: RuleChecker) -> list[str]:
        return [type(rule).__name__ for rule in checker._rules]

    pool, stream = load_rules(spec_of(BASE)), load_rules(spec_of(BASE, micro.STREAM_ENTRY))
    ranks = load_rules(spec_of(BASE, ranks=2))
    assert set(names(stream)) - set(names(pool)) == {"DrawByIndex"}
    assert set(names(ranks)) - set(names(pool)) == {"EqualWeights"}
    assert names(ranks)[-1] == "EqualWeights", "rules that communicate are checked last"
    assert (len(pool.draw_checks), len(stream.draw_checks), len(pool.step_checks)) == (2, 3, 3)
    assert len(pool.pass_checks) == 2


# --- the rule `harness_code` --------------------------------------------------------------------


def test_the_code_of_a_workload_includes_the_modules_that_it_uses() -> None:
    names = {module.__name__ for module in list_workload_modules("workloads.lm.tiny:LmTiny")}
    assert names >= {"workloads.lm.tiny", "workloads.lm.common", "workloads.lm.model", "workloads.lm.language"}
    assert all(name.startswith("workloads.") for name in names)


def test_a_file_may_extend_a_workload_of_a_package(tmp_path: Path) -> None:
    source = tmp_path / "extends.py"
    source.write_text("from tests.micro import Micro\nclass Extended(Micro):\n    pass\n")
    names = [module.__name__ for module in list_workload_modules(f"{source}:Extended")]
    assert names[0].startswith("bench_file_extends")
    assert "tests.micro" in names


def test_names_that_hide_nothing_may_be_added(code_rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "other_name", len, raising=False)
    monkeypatch.setattr(Clock, "other_value", 3, raising=False)
    _check_code(code_rule)
    monkeypatch.setattr(Clock, "__getattribute__", lambda clock, name: None)
    with pytest.raises(RejectedError, match=r"Clock\.__getattribute__ was replaced"):
        _check_code(code_rule)


def test_a_replaced_constant_or_default_value_is_named(code_rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SHARE", 0.5)
        with pytest.raises(RejectedError, match=r"loop\.CHECKPOINT_SHARE was replaced"):
            _check_code(code_rule)
    monkeypatch.setattr(micro.Micro.loss, "__defaults__", (True,))
    with pytest.raises(RejectedError, match=r"Micro\.loss was replaced"):
        _check_code(code_rule)


class _EqualsEverything:
    """A value that replaces a function and compares equal to it."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __call__(self) -> None: ...


def _check_code(rule: Rule) -> None:
    rule.at_pause(torch.nn.Linear(1, 1), SINGLE_PROCESS)


@pytest.fixture
def code_rule() -> Rule:
    rule = load_rule("harness_code")(spec_of(BASE))
    rule.before_import()
    _check_code(rule)
    return rule


@pytest.mark.parametrize("value", [lambda: None, _EqualsEverything(), None])
def test_a_replaced_function_or_method_of_the_harness_is_named(
    value: object, code_rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((weights, "save_weights"), (Clock, "pause")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            with pytest.raises(RejectedError, match=rf"\.{name} was replaced"):
                _check_code(code_rule)
        _check_code(code_rule)


def test_a_removed_function_and_replaced_code_of_the_harness_are_named(
    code_rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(weights, "save_weights")
        with pytest.raises(RejectedError, match=r"harness\.worker\.weights\.save_weights was replaced"):
            _check_code(code_rule)
    other: Callable[..., None] = lambda model, path: None  # noqa: E731 - its code is needed
    monkeypatch.setattr(weights.save_weights, "__code__", other.__code__)
    with pytest.raises(RejectedError, match=r"harness\.worker\.weights\.save_weights was replaced"):
        _check_code(code_rule)


@pytest.mark.parametrize("name", ["all", "map", "KeyError", "isinstance", "operator"])
def test_a_name_added_to_the_rule_hides_no_replaced_function(
    name: str, code_rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[type(code_rule).__module__]
    monkeypatch.setattr(module, name, lambda *_: True, raising=False)
    monkeypatch.setattr(weights, "save_weights", None)
    with pytest.raises(RejectedError, match="was replaced"):
        _check_code(code_rule)


def test_every_file_in_the_folder_is_a_rule() -> None:
    assert set(rule_names()) >= {"model_architecture", "numeric_settings", "import_threads", "import_time", "draw_size"}
    assert set(rule_names()) >= {"draw_by_index", "idle_step", "equal_weights", "harness_code"}
    for name in rule_names():
        rule = load_rule(name)
        assert issubclass(rule, Rule)
        assert re.sub("(?<!^)(?=[A-Z])", "_", rule.__name__).lower() == name


@pytest.mark.parametrize(("name", "text"), list(rule_docs()), ids=rule_names())
def test_a_rule_says_what_is_forbidden_why_and_what_to_do_instead(name: str, text: str) -> None:
    first, *paragraphs = text.split("\n\n")
    assert first.endswith("."), name
    assert [paragraph.partition(":")[0] for paragraph in paragraphs] == ["Forbidden", "Why", "Instead"], name


def test_rules_are_listed_without_torch() -> None:
    program = (
        "import sys; from harness.worker.rules import rule_docs; list(rule_docs()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
