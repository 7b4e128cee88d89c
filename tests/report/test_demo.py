"""The report that `make demo` wrote, opened in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.report.browser import chromium, complaints, requests
from tests.report.test_browser import rows

pytestmark = pytest.mark.slow


def test_the_demos_own_report_opens_and_asks_for_nothing(tmp_path: Path) -> None:
    if "BENCH_DEMO_REPORT" not in os.environ:
        pytest.skip("BENCH_DEMO_REPORT names no report of a demo (.ci/run makes one)")
    report = Path(os.environ["BENCH_DEMO_REPORT"])
    with chromium(tmp_path) as browser:
        browser.open(report.as_uri(), "document.body.dataset.drawn >= 1")
        shown = " ".join(rows(browser))
        assert "wsd" in shown
        assert "adamw-cosine" in shown
        assert complaints(browser) == []
        urls = requests(browser)
        assert urls
        assert [url for url in urls if not url.startswith(("data:", "blob:", "about:", report.as_uri()))] == []
