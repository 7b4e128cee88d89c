"""The index of the decision records is up to date, and their links agree with it."""

from __future__ import annotations

import re

from tools import make_decisions


def test_the_page_is_not_stale() -> None:
    committed = make_decisions.PAGE.read_text(encoding="utf-8")
    assert committed == make_decisions.page(), "stale: run `make pages` and commit the page"


def test_every_record_has_a_row_and_its_own_number() -> None:
    page = make_decisions.page()
    names = [path.name for path in make_decisions.records()]
    assert names
    for number, name in enumerate(names, start=1):
        assert name.startswith(f"{number:04d}-")
        assert re.search(rf"^\| \[{number}\. .+\]\({re.escape(name)}\) \|", page, re.MULTILINE)


def test_an_amendment_names_another_record() -> None:
    names = {path.name for path in make_decisions.records()}
    for row in re.findall(r"^\| \[(\d+)\. .+\| ([^|]+) \|$", make_decisions.page(), re.MULTILINE):
        for name in re.findall(r"\]\(([^)]+)\)", row[1]):
            assert name in names
            assert int(name[:4]) != int(row[0])
