"""The limits of user input: the size of a submission, and the ranges of integers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import UsageError

#: Maximum size in bytes of the source and data files of a submission.
MAX_SUBMISSION_BYTES = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerRange:
    """A range of integers. Both ends are allowed."""

    low: int
    high: int


#: Maximum number of trials of a plan, over all submissions, workloads, settings and studies.
MAX_TRIALS = 100_000
#: Option -> its range. The upper ends catch typing errors, such as a plan of a billion trials.
RANGES: dict[str, IntegerRange] = {
    "jobs": IntegerRange(low=1, high=100_000),
    "ranks": IntegerRange(low=1, high=10_000),
    # Records store the root seed as an integer of 64 bits.
    "seed": IntegerRange(low=-(2**63), high=2**63 - 1),
    "studies": IntegerRange(low=1, high=MAX_TRIALS),
    "threads": IntegerRange(low=1, high=10_000),
    "tuning_studies": IntegerRange(low=0, high=MAX_TRIALS),
    # Each of the following options belongs to one command.
    "trials": IntegerRange(low=1, high=MAX_TRIALS),
    "rates": IntegerRange(low=1, high=10_000),
    "pairs": IntegerRange(low=2, high=100_000),
    "workloads": IntegerRange(low=1, high=10_000),
    "limit": IntegerRange(low=1, high=2**53),
    "intervals": IntegerRange(low=1, high=100_000),
    "tasks": IntegerRange(low=1, high=10_000),
    "horizon": IntegerRange(low=1, high=2**53),
}
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")


_DECIMAL_FLOAT = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE
)


def parse_number(text: str) -> float:
    """Return the value of a number in decimal notation.

    Unlike Python's `float`, it rejects `1_0`, `010` and digits of other scripts, which are typing errors in a setting.

    Raises:
        ValueError: the text is not a decimal number, `nan` or `inf`.

    >>> parse_number("3e-4")
    0.0003
    """
    if not _DECIMAL_FLOAT.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a decimal number")
    return float(text)


def check_integer(name: str, value: object, place: str = "") -> int:
    """Return the value of an option as an integer, after checking that it is in the option's range.

    Args:
        name: name of the option in `RANGES`.
        value: an integer, or a text with decimal digits.
        place: file that contains the value, for the message.

    Raises:
        UsageError: the value is not an integer, has a leading zero, or is outside the range.

    >>> check_integer("jobs", "4")
    4
    """
    limits = RANGES[name]
    what = f"{place}: {name}" if place else name
    allowed = f"a whole number from {limits.low} to {limits.high}"
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()) and len(value) <= 30:
        value = int(value)
    # In Python, True and False are integers, but a user who writes one of them does not mean a number.
    if isinstance(value, bool) or not isinstance(value, int):
        shown = repr(value)
        raise UsageError(f"{what} is {shown if len(shown) <= 80 else f'{shown[:79]}…'}", fix=f"give {allowed}")
    if not limits.low <= value <= limits.high:
        raise UsageError(f"{what} is out of range", fix=f"give {allowed}") from None
    return value


def check_integers(values: dict[str, object], place: str = "") -> None:
    """Check options by name. An option that is None is not set.

    Raises:
        UsageError: a value is not an integer or is outside its range.
    """
    for name, value in values.items():
        if value is not None:
            check_integer(name, value, place)


def check_number_of_trials(count: int) -> None:
    """Raise an error if a plan would have more than `MAX_TRIALS` trials.

    The number of trials is a product of several options. It may be too large although each option is in its range.

    Raises:
        UsageError: the plan would have too many trials.

    >>> check_number_of_trials(100_000)
    """
    if count > MAX_TRIALS:
        raise UsageError(
            f"the plan has {count:,} trials; at most {MAX_TRIALS:,} are allowed",
            fix="plan fewer studies, settings, submissions or workloads, or split the plan",
        )
