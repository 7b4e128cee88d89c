"""Chromium for tests: found or named as missing, started without a profile and without a network."""

from __future__ import annotations

import importlib.resources
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest


def find(*names: str) -> str:
    """The first of these programs on the path; a missing browser fails in CI and skips elsewhere."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        report_missing(
            f"no {names[0]}: the report was not opened in a browser (apt-get install chromium chromium-driver)"
        )
    return path


def report_missing(message: str) -> NoReturn:
    """Fail in CI, and skip the test elsewhere, because a program of the test is not installed."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)


def accessibility_problems(browser: Any, impacts: Collection[str]) -> list[str]:
    """The rules of axe-core that the open page breaks, each with its first element.

    Source: axe-core (https://github.com/dequelabs/axe-core), from the package axe-core-python.

    Args:
        browser: the browser with the page.
        impacts: which findings count: `minor`, `moderate`, `serious`, `critical`.
    """
    if importlib.util.find_spec("axe_core_python") is None:
        report_missing('no axe-core: the page was not checked (pip install -c constraints.txt -e ".[dev]")')
    script = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    browser.execute_script(script)
    result = browser.execute_async_script(
        "const done = arguments[0]; axe.run(document).then(done, (e) => done({error: String(e)}))"
    )
    assert "error" not in result, result["error"]
    assert result["passes"], "axe-core checked something"
    return [
        f"{rule['impact']} {rule['id']}: {rule['nodes'][0]['html']}: {rule['nodes'][0]['failureSummary']}"
        for rule in result["violations"]
        if rule["impact"] in impacts
    ]


class Browser:
    """A headless Chromium that writes down its console and every request. Other attributes are those of the driver.

    On a busy machine, a renderer sometimes stops answering, and chromedriver reports a `TimeoutException`. `open` then
    starts a new browser. A page that itself stops the renderer does so in every browser, and fails.

    Args:
        profile: folder for the profiles, one per started browser.
        width: width of the screen in CSS pixels.
        height: height of the screen in CSS pixels.
        dark: whether the page is asked for its dark colours.
        timeout: longest time for loading a page or for a script, in seconds.
    """

    #: Number of browsers that `open` tries.
    STARTS = 3

    def __init__(self, profile: Path, *, width: int, height: int, dark: bool, timeout: float) -> None:
        self.starts = 0
        self._profile, self._width, self._height, self._dark, self._timeout = profile, width, height, dark, timeout
        self.driver = self._start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.driver, name)

    def open(self, url: str, until: str = "") -> None:
        """Load a page, and wait until a JavaScript expression is true.

        Raises:
            selenium.common.exceptions.TimeoutException: the renderer of no browser answered.
        """
        from selenium.common.exceptions import TimeoutException

        for last in [False] * (self.STARTS - 1) + [True]:
            try:
                self.driver.get("about:blank")  # Without it, an address that differs in its hash loads nothing.
                self.driver.get(url)
                if until:
                    wait(self.driver, until)
                return
            except TimeoutException:
                if last:
                    raise
                self.close()
                self.driver = self._start()

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()

    def _start(self) -> Any:
        binary, driver = find("chromium", "chromium-browser", "google-chrome"), find("chromedriver")
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        self.starts += 1
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (
            "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run",
            "disable-background-networking", "disable-component-update", "disable-sync", "force-device-scale-factor=1",
            f"user-data-dir={self._profile / str(self.starts)}", f"window-size={self._width},{self._height}",
        ):  # fmt: skip
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        started = webdriver.Chrome(options=options, service=Service(driver))
        try:
            self._prepare(started)
        except BaseException:
            started.quit()
            raise
        return started

    def _prepare(self, started: Any) -> None:
        """Set the limits of time, the screen and the colours of a new browser."""
        started.set_page_load_timeout(self._timeout)
        started.set_script_timeout(self._timeout)
        # A window has a least width; the emulated screen has not.
        metrics = {"width": self._width, "height": self._height, "deviceScaleFactor": 1, "mobile": self._width < 600}
        started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        started.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


@contextmanager
def chromium(
    profile: Path, *, width: int = 1280, height: int = 900, dark: bool = False, timeout: float = 30.0
) -> Iterator[Browser]:
    """Start a browser, see `Browser`, and end it."""
    browser = Browser(profile, width=width, height=height, dark=dark, timeout=timeout)
    try:
        yield browser
    finally:
        browser.close()


def wait(browser: Any, script: str, seconds: float = 20.0) -> Any:
    """Return what a JavaScript expression is once it is true.

    Raises:
        AssertionError: it is not true after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = browser.execute_script(f"return {script}")
        if value:
            return value
        assert time.monotonic() < deadline, f"never true: {script}"
        time.sleep(0.05)


#: What the browser shows of its own accord; its start page may still be loading its parts when a test begins.
OWN = ("chrome:", "chrome-untrusted:")


def requests(browser: Any) -> list[str]:
    """Addresses asked for since this was last read, by pages other than the browser's own."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [one["request"]["url"] for one in asked if not one["documentURL"].startswith(OWN)]


def complaints(browser: Any) -> list[str]:
    """Warnings and errors on the console since this was last read, but for those of the browser's own pages."""
    entries = [entry for entry in browser.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")]
    return [entry["message"] for entry in entries if not entry["message"].startswith(OWN)]
