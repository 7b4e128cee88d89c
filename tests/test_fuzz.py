"""`benchmarks/fuzz.py`: its judge finds every kind of failure, and the commands withstand a few hundred cases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "fuzz.py"
#: Number of cases in the test. Their seed is fixed, so they are always the same.
CASES = 210


@pytest.fixture(scope="module")
def fuzzing() -> Iterator[dict[str, Any]]:
    path = list(sys.path)
    sys.path.insert(0, str(SCRIPT.parent))
    from fuzzing import case, command_cases, judging, minimising, process

    modules = {"case": case, "judging": judging, "minimising": minimising, "process": process}
    yield {**modules, "command_cases": command_cases}
    sys.path[:] = path


def problem_of(fuzzing: dict[str, Any], fields: dict[str, Any]) -> str | None:
    """Return the problem of an outcome. The fields are those of the case or of the outcome, or a reference's stdout."""
    judged = {name: fields[name] for name in ("expected", "absent", "present", "ignored") if name in fields}
    case = fuzzing["case"].FuzzCase(kind="x", number=0, arguments=("runs",), **judged)
    process, given = fuzzing["process"], {n: v for n, v in fields.items() if n not in (*judged, "reference")}
    outcome = {"exit_code": 1, "stdout": "", "stderr": "bench: no\n", "added_bytes": 0, "cpu_seconds": 0.0, **given}
    reference = process.CaseOutcome(**{**outcome, "stdout": fields["reference"]}) if "reference" in fields else None
    find_failure = fuzzing["judging"].find_failure
    problem: str | None = find_failure(case, process.CaseOutcome(**outcome), process.Limits(), reference)
    return problem


#: What a command prints that goes on to run a trial.
TRIAL = "bench: the fuzzer runs no trial (run the command itself)\n"


FAILURES: dict[str, dict[str, Any]] = {
    "traceback": {"stderr": "Traceback (most recent call last):\n  x\nValueError: no\n"},
    "internal error": {"stderr": "bench: internal error: KeyError: 'x'\n", "exit_code": 3},
    "hang": {"exit_code": -signal.SIGALRM},
    "death": {"exit_code": -signal.SIGSEGV},
    "memory": {"added_bytes": 2 << 30},
    "exit code": {"exit_code": 77},
    "long message": {"stderr": f"bench: {'x' * 1600}\n"},
    "control character": {"stdout": "name \x1b[31m\n"},
    "silence": {"stderr": ""},
    "accepted": {"exit_code": 0, "expected": "refused"},
    "wrong answer: run-1": {"exit_code": 0, "stdout": "run-1 reached\n", "absent": "run-1"},
    "wrong answer: trial_1": {"exit_code": 0, "stdout": "score 0.5\n", "present": "trial_1"},
    "wrong answer: no trial": {"exit_code": 0, "expected": "trial"},
    "wrong answer: record.json": {"stdout": "2 runs\n", "reference": "1 run\n", "ignored": "record.json"},
    "wrong exit code: 3": {"exit_code": 3, "expected": "usage"},
    "accepted:  (exit code 2)": {"exit_code": 2, "stderr": TRIAL, "expected": "usage"},
    "refused": {"exit_code": 2, "expected": "accepted"},
}


@pytest.mark.parametrize("kind", FAILURES)
def test_the_judge_finds(fuzzing: dict[str, Any], kind: str) -> None:
    problem = problem_of(fuzzing, FAILURES[kind])
    assert problem is not None
    assert problem.startswith(kind)


RIGHT: list[dict[str, Any]] = [
    {},
    {"exit_code": 0, "stdout": "a\tb\n"},
    {"exit_code": 2, "expected": "usage"},
    {"expected": "refused"},
    {"exit_code": 2, "stderr": TRIAL, "expected": "accepted"},
    {"exit_code": 2, "stderr": TRIAL, "expected": "trial"},
    {"exit_code": 0, "stdout": "skipped: trial_1\n", "present": "trial_1"},
    # The list of unreadable records is no result.
    {"stdout": '{"problems": ["x \\"]"], "a": 1}', "reference": '{"problems": [], "a": 1}', "ignored": "x"},
]


@pytest.mark.parametrize("fields", RIGHT)
def test_the_judge_accepts(fuzzing: dict[str, Any], fields: dict[str, Any]) -> None:
    assert problem_of(fuzzing, fields) is None


def test_every_command_has_a_valid_call(fuzzing: dict[str, Any]) -> None:
    """A new command needs a line in `VALID_CALLS`, so that its mistakes are distinguished from its valid calls."""
    command_cases = fuzzing["command_cases"]
    assert set(command_cases.VALID_CALLS) == set(command_cases.commands())


def test_a_case_survives_its_file_and_gets_smaller(fuzzing: dict[str, Any], tmp_path: Path) -> None:
    module = fuzzing["case"]
    files = (module.CaseFile(path="a\udcff", content=bytes(range(256)) * 8), module.CaseFile(path="b", type="fifo"))
    case = module.FuzzCase(kind="x", number=3, files=files, arguments=("runs", "--json", "\ud800"), change="c")
    module.save_case(case, tmp_path / "deep" / "x-3.json", "hang")
    assert module.load_case(tmp_path / "deep" / "x-3.json") == case
    smaller = fuzzing["minimising"].minimise(case, lambda c: any(b"\x07" in file.content for file in c.files))
    assert len(smaller.files) == 1
    assert smaller.arguments == ("runs",)
    assert len(smaller.files[0].content) < 256


@pytest.mark.slow
def test_the_commands_withstand_the_fuzzer(tmp_path: Path) -> None:
    # The limit of wall time is far above what a case needs. The limit of CPU time finds a command that does not end.
    command = [
        sys.executable,
        str(SCRIPT),
        "--cases",
        str(CASES),
        "--seed",
        "0",
        "--wall",
        "300",
        "--out",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    assert f"all            {CASES}" in done.stdout
    assert not list(tmp_path.iterdir())
