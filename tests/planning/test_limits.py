"""One range for each number of a user, in flags, environment variables, YAML files and Python."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness import cli
from harness.cli import config, sweep
from harness.contract.domains import LogUniform, Uniform
from harness.contract.limits import RANGES, check_integer, parse_number
from harness.contract.run import ExecutionOptions
from harness.errors import UsageError
from harness.planning import rulesets
from harness.planning.trials import PlanSettings
from harness.system.yaml_text import parse_yaml

OUTSIDE = [
    ("jobs", 0),
    ("threads", -3),
    ("ranks", 0),
    ("studies", 0),
    ("jobs", -1),
    ("studies", 10**9),
    ("seed", 2**63),
]
SWEEP = "submissions: wsd\nworkloads: resnet-digits\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
def test_every_entrance_refuses_what_is_outside(
    name: str, value: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sweep.yaml").write_text(f"{SWEEP}{name}: {value}\n")
    with pytest.raises(UsageError, match=rf"sweep\.yaml: {name} is out of range"):
        sweep.read(Path("sweep.yaml"))
    plan = ["run", "-s", "wsd", "-w", "resnet-digits", "--dry-run"]
    assert cli.invoke([*plan, f"--{name}", str(value)]) == 2
    assert f"{name} is out of range (give a whole number from" in capsys.readouterr().err
    if name != "ranks":
        monkeypatch.setenv(f"BENCH_{name.upper()}", str(value))
        assert cli.invoke(plan) == 2
        assert f"{name} is out of range" in capsys.readouterr().err
    if name in config.KEYS:
        Path("bench.yaml").write_text(f"{name}: {value}\n")
        with pytest.raises(UsageError, match=rf"bench\.yaml: {name} is out of range"):
            config.read_default_map()
    with pytest.raises(UsageError, match=f"{name} is out of range"):
        python_entrance(name, value)


@pytest.mark.parametrize(("name", "value"), [("jobs", True), ("studies", 2.0), ("seed", "x"), ("threads", 1.5)])
def test_other_types_are_refused_in_python(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{name} is "):
        python_entrance(name, value)


@pytest.mark.parametrize("text", ["1_0", "010", "\u0661", "0x10", "1e", "", "1 0", "tensor(1.0)"])
def test_only_decimal_notation_is_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="must be a number"):
        harness.plan("wsd", "resnet-digits", overrides={"lr": text})


@pytest.mark.parametrize("value", [10**400, -(10**400), 1 << 20_000], ids=["large", "negative", "huge"])
def test_an_integer_beyond_every_float_is_refused(value: int) -> None:
    with pytest.raises(UsageError, match="lr has a value that exceeds the range of a float"):
        harness.plan("wsd", "resnet-digits", overrides={"lr": value})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_the_numbers_of_a_domain_are_finite(number: float) -> None:
    """Entries are read from plugins as JSON, which writes such a number as null: a default would become another one."""
    for keywords in ({"default": number}, {"limits": (0.0, number)}):
        for domain in (LogUniform, Uniform):
            with pytest.raises(ValueError, match="is not a finite number"):
                domain(1e-4, 1e-2, **keywords)


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), (".5", 0.5), ("+2.", 2.0), (" 1E-03 ", 0.001)])
def test_every_decimal_notation_is_a_number(text: str, value: float) -> None:
    assert parse_number(text) == value


RULESET = {"summary": "mine", "trials": 2, "studies": 2, "tuning": "space"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("trials", 0), ("trials", 100_001), ("studies", 10**9), ("tuning_studies", -1), ("tuning_studies", 10**9)],
)
def test_the_counts_of_a_ruleset_have_ranges(field: str, value: int) -> None:
    Path("mine.yaml").write_text(json.dumps({**RULESET, field: value}))
    with pytest.raises(UsageError, match=rf"mine\.yaml: ruleset 'mine': {field} is out of range"):
        rulesets.ruleset("mine.yaml")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("quick", "quick is a ruleset of the benchmark"),
        ("external", "external is a ruleset of the benchmark"),
        ("../../x", "must have 1 to 100 characters: letters, digits, - and _"),
        ("a@1", "must have 1 to 100 characters"),
        ("", "must have 1 to 100 characters"),
        ("x" * 101, "must have 1 to 100 characters"),
    ],
)
def test_the_name_in_a_ruleset_file_is_checked(name: str, problem: str) -> None:
    """The field `name` overrides the name of the file, and tables show it."""
    Path("mine.yaml").write_text(json.dumps({**RULESET, "name": name}))
    with pytest.raises(UsageError) as caught:
        rulesets.ruleset("mine.yaml")
    assert problem in str(caught.value)


def test_a_ruleset_file_may_have_another_name_than_its_ruleset() -> None:
    Path("mine.v2.yaml").write_text(json.dumps({**RULESET, "name": "mine-2"}))
    assert rulesets.ruleset("mine.v2.yaml").name == "mine-2"
    Path("mine.v2.yaml").write_text(json.dumps(RULESET))
    with pytest.raises(UsageError, match="letters, digits"):
        rulesets.ruleset("mine.v2.yaml")


def test_a_ruleset_file_hides_only_needs() -> None:
    Path("mine.yaml").write_text(json.dumps({**RULESET, "hides": ["horizons"]}))
    with pytest.raises(UsageError, match="hides: unknown need 'horizons'; did you mean 'horizon'"):
        rulesets.ruleset("mine.yaml")


@pytest.mark.parametrize("value", ["0", "-1.5", ".nan", ".inf", "1.0e+300"])
def test_the_budget_factor_of_a_ruleset_has_a_range(value: str) -> None:
    Path("mine.yaml").write_text(f"trials: 2\nstudies: 2\nbudget_factor: {value}\n")
    with pytest.raises(UsageError, match="budget_factor must be above 0"):
        rulesets.ruleset("mine.yaml")


def test_a_plan_with_too_many_trials_is_refused_before_they_are_made() -> None:
    Path("mine.yaml").write_text(json.dumps({**RULESET, "trials": 100_000, "studies": 100_000}))
    with pytest.raises(UsageError, match="the plan has 10,000,000,000 trials; at most 100,000 are allowed"):
        harness.plan("wsd", "resnet-digits", ruleset="mine.yaml")
    with pytest.raises(UsageError, match="the plan has 200,000 trials"):
        harness.plan("wsd,adamw-cosine", "resnet-digits", studies=100_000)
    grid = {"lr": [1e-9 * k for k in range(1, 1001)], "beta1": [1e-4 * k for k in range(1, 1001)]}
    with pytest.raises(UsageError, match="the plan has 1,000,000 trials"):
        harness.plan("wsd", "resnet-digits", overrides=grid)


def python_entrance(name: str, value: Any) -> None:
    if name == "jobs":
        ExecutionOptions(jobs=value)
    else:
        harness.plan("wsd", "resnet-digits", **{name: value})


def test_values_inside_are_kept() -> None:
    Path("sweep.yaml").write_text(f"{SWEEP}jobs: 2\nthreads: 3\nranks: 1\nstudies: 4\nseed: -7\n")
    read = sweep.read(Path("sweep.yaml"))
    assert (read.jobs, read.threads, read.ranks, read.studies, read.seed) == (2, 3, 1, 4, -7)
    assert ExecutionOptions(jobs=None).jobs is None
    assert PlanSettings(ruleset=rulesets.ruleset("quick"), seed=-(2**63)).seed == -(2**63)


@given(st.sampled_from(sorted(RANGES)), st.integers())
def test_a_range_is_the_same_for_numbers_and_texts(name: str, value: int) -> None:
    limits = RANGES[name]
    for given_value in (value, str(value)):
        if limits.low <= value <= limits.high:
            assert check_integer(name, given_value) == value
        else:
            with pytest.raises(UsageError):
                check_integer(name, given_value)


@pytest.mark.parametrize("text", ["010", "-007", "0o17", "0x10", "0b11", "1_000", "1:30", "", "٣", "9" * 5000])
def test_flags_take_decimal_numbers_only(text: str) -> None:
    with pytest.raises(UsageError):
        check_integer("seed", text)


@pytest.mark.parametrize("text", ["010", "-007", "0x10", "0b11", "1:30", "1:30.5", "00"])
def test_a_yaml_number_in_another_base_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a decimal number \(line 2\)"):
        parse_yaml(f"a: 1\nseed: {text}\n")
    Path("sweep.yaml").write_text(f"{SWEEP}seed: {text}\n")
    with pytest.raises(UsageError, match=r"sweep\.yaml: .*is not a decimal number"):
        sweep.read(Path("sweep.yaml"))
    Path("mine.yaml").write_text(f"trials: 1\nstudies: {text}\n")
    with pytest.raises(UsageError, match=r"mine\.yaml: .*is not a decimal number"):
        rulesets.ruleset("mine.yaml")


def test_decimal_yaml_numbers_are_read() -> None:
    text = "[0, -0, 10, 1_000, 0.5, .5, 1., -2.5e+3, .inf, '010', 2024-01-02]"
    assert parse_yaml(text)[:10] == [0, 0, 10, 1000, 0.5, 0.5, 1.0, -2500.0, float("inf"), "010"]


def test_a_ruleset_file_is_read_strictly() -> None:
    Path("mine.yaml").write_text("trials: 1\nstudies: 0\n")
    with pytest.raises(UsageError, match="studies is out of range"):
        rulesets.ruleset("mine.yaml")
    Path("mine.yaml").write_text("trials: 1\nstudies: 1\nstudies: 2\n")
    with pytest.raises(UsageError, match="studies is given twice"):
        rulesets.ruleset("mine.yaml")
