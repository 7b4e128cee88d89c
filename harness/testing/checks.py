"""Runs a list of checks on one case: the object under test, with values that several checks use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, TypeVar

from harness.contract.checking import CheckResult, CheckStatus
from harness.errors import BenchError
from harness.plugins.loading import format_error

_CaseT = TypeVar("_CaseT")


class ContractError(BenchError):
    """A submission or workload does not do what the harness relies on.

    >>> print(ContractError("two models of one seed differ", fix="call torch.manual_seed(seed) in build_model"))
    two models of one seed differ (call torch.manual_seed(seed) in build_model)
    """


class NotApplicable(Exception):
    """A check does not apply to a submission or workload; the message is the reason."""


def run_checks(
    checks: Mapping[str, Callable[[_CaseT], None]], case: _CaseT, workload: str, report: Callable[[CheckResult], None]
) -> Iterator[CheckResult]:
    """Run checks one after the other, and yield their results. If the first check does not pass, run no others.

    Args:
        checks: the checks by name. A check raises an exception if it fails.
        case: the argument of the checks.
        workload: name of the workload.
        report: function that is called before each check, with a result that has the status `started`.
    """
    for position, (name, check) in enumerate(checks.items()):
        result = CheckResult(name=name, workload=workload, status="started")
        report(result)
        result = _run(check, case, result)
        yield result
        if position == 0 and result.status != "passed":
            return


def _run(check: Callable[[_CaseT], None], case: _CaseT, result: CheckResult) -> CheckResult:
    began = time.perf_counter()
    try:
        check(case)
    except NotApplicable as reason:
        return _end(result, "skipped", str(reason))
    except BenchError as error:
        return _end(result, "failed", error.what, error.fix or "", time.perf_counter() - began)
    # The code of a plugin may raise anything, such as SystemExit.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        fix = "correct the code at this place; BENCH_DEBUG=1 bench check … prints the traceback"
        return _end(result, "failed", format_error(error), fix, time.perf_counter() - began)
    return _end(result, "passed", seconds=time.perf_counter() - began)


def _end(
    result: CheckResult, status: CheckStatus, problem: str = "", fix: str = "", seconds: float = 0.0
) -> CheckResult:
    return CheckResult(
        name=result.name,
        workload=result.workload,
        status=status,
        problem=problem,
        fix=fix,
        seconds=round(seconds, 3),
    )


def raise_unless(condition: bool, what: str, fix: str) -> None:
    """Raise ContractError unless a condition holds."""
    if not condition:
        refuse(what, fix)


def refuse(what: str, fix: str) -> NoReturn:
    """Raise ContractError."""
    raise ContractError(what, fix=fix)
