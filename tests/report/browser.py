"""Chromium for tests: found or named as missing, started without a profile and without a network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def find(*names: str) -> str:
    """The first of these programs on the path; a missing browser fails in CI and skips elsewhere."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    message = f"no {names[0]}: the report was not opened in a browser (apt-get install chromium chromium-driver)"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def chromium(profile: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """A headless browser that writes down its console and every request."""
    binary, driver = find("chromium", "chromium-browser", "google-chrome"), find("chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync", "force-device-scale-factor=1",
        f"user-data-dir={profile}", f"window-size={width},{height}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.set_page_load_timeout(60)
        # A window has a least width; the emulated screen has not.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield browser
    finally:
        browser.quit()


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
