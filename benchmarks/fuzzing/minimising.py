"""Make a failing case smaller, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzzing.case import FuzzCase

#: Maximum number of attempts for one case.
_ATTEMPTS = 40


def minimise(case: FuzzCase, still_fails: Callable[[FuzzCase], bool]) -> FuzzCase:
    """Return the smallest case found that fails in the same way.

    Args:
        case: a failing case.
        still_fails: function that runs a case and returns whether it fails in the same way as `case`.
    """
    attempts = 0
    progress = True
    while progress:
        progress = False
        for smaller in _smaller_cases(case):
            attempts += 1
            if attempts > _ATTEMPTS:
                return case
            if still_fails(smaller):
                case, progress = smaller, True
                break
    return case


def _smaller_cases(case: FuzzCase) -> Iterator[FuzzCase]:
    """Yield cases that lack one file, one variable, one argument or half of one file."""
    for index in range(len(case.files)):
        yield replace(case, files=case.files[:index] + case.files[index + 1 :])
    for name in case.environment:
        yield replace(case, environment={n: v for n, v in case.environment.items() if n != name})
    for index in range(1, len(case.arguments)):
        if case.arguments[index] != "--dry-run":
            yield replace(case, arguments=case.arguments[:index] + case.arguments[index + 1 :])
    for index, file in enumerate(case.files):
        half = len(file.content) // 2
        if half:
            for content in (file.content[:half], file.content[half:]):
                smaller = replace(file, content=content)
                yield replace(case, files=(*case.files[:index], smaller, *case.files[index + 1 :]))
