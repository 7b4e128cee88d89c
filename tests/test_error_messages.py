"""Every error says what was asked, what is wrong and what to do: those that the test session raised, and all others.

The errors of a session are recorded as they are constructed (tests/conftest.py), and these tests run last: in a run of
some tests they check the errors of those. Errors that no test raises are checked in the source.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.errors import UsageError
from tests.error_messages import (
    PUBLISHED,
    ROOT,
    ErrorRecorder,
    RaiseSite,
    error_classes,
    find_problems,
    find_raise_sites,
)

#: Classes whose errors need no fix, and why.
WITHOUT_FIX = {
    "Interrupted": "the user stopped the command; there is nothing to repair",
    "DownloadError": "caught where the next place is tried; the error that a user reads is constructed there",
    "UnreachableError": "as DownloadError",
    "WrongFileError": "as DownloadError",
}
#: Places whose messages quote the check of a plugin, once for every URL that was tried. The words of the plugin and the
#: length of several failures are not theirs; their own text is checked in the source (see below).
QUOTING = ("harness/datasets/installation.py", "harness/datasets/sources.py")
SITES = list(find_raise_sites(ROOT / "harness"))
#: The share of these places that a run of the whole suite reaches, at least.
REACHED = 0.5


def test_every_error_of_this_session_has_the_form(recorded_errors: ErrorRecorder) -> None:
    problems = {
        f"{error.place}: {error.kind}: {error.what!r}: {problem}"
        for error in recorded_errors.errors
        for problem in find_problems(error.what, error.fix or ("do this" if error.kind in WITHOUT_FIX else None))
        if error.folder not in PUBLISHED
        if not (error.place.startswith(QUOTING) and ("'is no'" in problem or " characters, more than " in problem))
    }
    assert not problems, "\n".join(["", *sorted(problems)])


def test_every_error_in_the_source_has_the_form() -> None:
    problems = []
    for site in SITES:
        # A value in the text names what was asked for; a text that is computed is checked when it is raised.
        text = site.text.replace("…", "a b c") or "a b c"
        fix = "do this" if site.has_fix or site.kind in WITHOUT_FIX else None
        problems += [f"{site.place}: {site.text!r}: {problem}" for problem in find_problems(text, fix)]
    assert not problems, "\n".join(["", *problems])


def test_the_session_has_raised_errors(recorded_errors: ErrorRecorder, is_whole_suite: bool) -> None:
    """So that the check above cannot pass because nothing was recorded."""
    if not is_whole_suite:
        pytest.skip("only some tests are run")
    kinds = {error.kind for error in recorded_errors.errors}
    assert kinds >= set(error_classes()) - {"BenchError"}
    places = {error.place for error in recorded_errors.errors}
    missed = [site.place for site in SITES if not any(_is_at(place, site) for place in places)]
    assert len(missed) <= (1 - REACHED) * len(SITES), f"{len(missed)} of {len(SITES)} are not reached: {missed}"


def _is_at(place: str, site: RaiseSite) -> bool:
    file, _, line = place.rpartition(":")
    site_file, _, first = site.place.rpartition(":")
    return file == site_file and int(first) <= int(line) <= site.last_line


def test_an_error_is_recorded_with_the_place_that_raised_it(recorded_errors: ErrorRecorder) -> None:
    from harness.contract.domains import LogUniform
    from harness.contract.hyperparameters import validate

    before = len(recorded_errors.errors)
    with pytest.raises(UsageError):
        validate("lr", -1.0, LogUniform(1e-4, 1e-2))
    UsageError("made by a test")
    (error,) = recorded_errors.errors[before:]
    assert (error.kind, error.what, error.fix) == ("UsageError", "lr=-1 is out of range", "allowed: above 0")
    assert re.fullmatch(r"harness/contract/hyperparameters\.py:\d+", error.place)
    assert any(_is_at(error.place, site) for site in SITES)


@pytest.mark.parametrize(
    ("what", "fix", "problem"),
    [
        ("lr=-1 is out of range", "allowed: above 0", None),
        ("there is no such file", "give the path of a Python file", None),
        ("x is no load string", "write it as package.module:Name", "what has 'is no'"),
        ("x is none: it is no Recipe", "expected a Recipe", "what has 'is none'"),
        ("two\nlines of text", "do this", "several lines"),
        ("it is out of range.", "do this", "full stop"),
        ("it is out of range", "do this.", "full stop"),
        ("it is out of range", None, "fix is missing"),
        ("it is out of range", "", "fix is missing"),
        ("x " * 200 + "x", "do this", "401 characters"),
        ("broken", "do this", "must name the thing"),
    ],
)
def test_the_form_is_checked(what: str, fix: str | None, problem: str | None) -> None:
    problems = find_problems(what, fix)
    assert (problems == []) if problem is None else any(problem in each for each in problems), problems


def test_sites_are_found_in_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.error_messages.ROOT", tmp_path)
    (tmp_path / "m.py").write_text(
        "class Lost(DataError): ...\nraise Lost(f'{x} is lost')\nraise UsageError('a b c', fix='d')\nraise Other('x')\n"
    )
    found = [(site.place, site.text, site.has_fix) for site in find_raise_sites(tmp_path)]
    assert found == [("m.py:2", "… is lost", False), ("m.py:3", "a b c", True)]
