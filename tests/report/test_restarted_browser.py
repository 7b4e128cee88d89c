"""The browser of the tests replaces a renderer that stops answering."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.report.browser import Browser, chromium, requests

pytestmark = pytest.mark.slow

#: Longest time for loading a page, in seconds. The page that answers is tiny.
TIMEOUT = 15.0


class Site(ThreadingHTTPServer):
    """Serves a page that stops the renderer as often as `hangs` says, and then a page that answers."""

    hangs = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/page"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        script = "document.title = 'answers'"
        if self.path == "/page" and self.server.hangs:
            self.server.hangs -= 1
            script = "while (true) {}"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<!doctype html><script>{script}</script>".encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path, timeout=TIMEOUT) as one:
        yield one


def test_a_renderer_that_hangs_once_is_replaced(browser: Browser, site: Site) -> None:
    site.hangs = 1
    browser.open(site.address, "document.title == 'answers'")
    assert browser.starts >= 2
    assert site.hangs == 0
    assert site.address in requests(browser)


class Hanging:
    """A driver whose renderer never answers."""

    def __init__(self) -> None:
        self.ended = False

    def get(self, url: str) -> None:
        from selenium.common.exceptions import TimeoutException

        raise TimeoutException(url)

    def quit(self) -> None:
        self.ended = True


def test_a_page_that_always_hangs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selenium.common.exceptions import TimeoutException

    drivers: list[Hanging] = []

    def start(self: Browser) -> Hanging:
        drivers.append(Hanging())
        return drivers[-1]

    monkeypatch.setattr(Browser, "_start", start)
    with pytest.raises(TimeoutException), chromium(tmp_path) as browser:
        browser.open("http://127.0.0.1/page")
    assert [driver.ended for driver in drivers] == [True] * Browser.STARTS
