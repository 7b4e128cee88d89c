"""The HTML pages in a real browser, checked by axe-core: a desktop and a phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import cli
from tests.report import synthetic
from tests.report.browser import Browser, accessibility_problems, chromium

pytestmark = pytest.mark.slow

SIZES = {"desktop": (1280, 900), "phone": (390, 800)}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report, a report of no runs, and the page of `bench leaderboard --format html`."""
    folder = tmp_path_factory.mktemp("pages")
    runs = synthetic.write(folder / "runs", synthetic.field())
    results = ["--results", str(folder / "none")]
    (folder / "none").mkdir()
    paths = {name: folder / f"{name}.html" for name in ("report", "empty", "table")}
    assert cli.invoke(["report", str(paths["report"]), "--runs", str(runs), *results, "--reference", "alpha"]) == 0
    assert cli.invoke(["report", str(paths["empty"]), "--runs", str(folder / "none"), *results]) == 0
    command = ["leaderboard", "--runs", str(runs), *results, "--reference", "alpha", "--format", "html"]
    with pytest.MonkeyPatch.context() as patch, paths["table"].open("w") as file:
        patch.setattr("sys.stdout", file)
        assert cli.invoke(command) == 0
    return paths


@pytest.fixture(scope="module", params=SIZES)
def browsers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Browser]]:
    """A browser with a light colour scheme and one with a dark one."""
    width, height = SIZES[request.param]
    with (
        chromium(tmp_path_factory.mktemp("light"), width=width, height=height) as light,
        chromium(tmp_path_factory.mktemp("dark"), width=width, height=height, dark=True) as dark,
    ):
        yield {False: light, True: dark}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", ["report", "empty", "table"])
def test_axe_has_no_serious_findings(
    browsers: dict[bool, Browser], pages: dict[str, Path], page: str, dark: bool
) -> None:
    browser = browsers[dark]
    browser.open(pages[page].as_uri(), "" if page == "table" else "document.body.dataset.drawn >= 1")
    # What is folded is not checked.
    browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    assert accessibility_problems(browser, ("serious", "critical")) == []


def test_a_finding_is_reported(browsers: dict[bool, Browser]) -> None:
    """The check itself works: pale text and a picture without a description are found."""
    browser = browsers[False]
    browser.open(
        "data:text/html,<html lang=en><title>t</title><main><h1 style='color:%23ccc'>pale</h1><img src='data:,'>"
    )
    problems = accessibility_problems(browser, ("serious", "critical"))
    assert {problem.split(":")[0] for problem in problems} == {"serious color-contrast", "critical image-alt"}
