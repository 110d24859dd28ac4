"""Headless Chromium through Selenium, and what must be known of a page: its console and its requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def browser(width_px: int = 1280, height_px: int = 900, javascript: bool = True) -> Iterator[webdriver.Chrome]:
    """A browser window of the given size."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if not javascript:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        # A window cannot be as narrow as a telephone; its metrics can.
        metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": width_px < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield driver
    finally:
        driver.quit()


def open_page(driver: webdriver.Chrome, page: Path) -> None:
    """Open a file and wait until its script has set it up."""
    driver.get(page.resolve().as_uri())
    wait(driver, "return document.documentElement.dataset.ready === 'yes'")


def wait(driver: webdriver.Chrome, script: str, seconds: float = 30) -> object:
    """Wait until a script returns something true; returns it."""
    return WebDriverWait(driver, seconds, 0.05).until(lambda _: driver.execute_script(script))


def console(driver: webdriver.Chrome) -> list[str]:
    """What the page wrote to its console since last asked."""
    return [f"{entry['level']}: {entry['message']}" for entry in driver.get_log("browser")]


def requests(driver: webdriver.Chrome) -> list[str]:
    """Every address asked for since last asked, except what lies in the page itself (data: and blob:)."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    sent = (message["params"] for message in messages if message["method"] == "Network.requestWillBeSent")
    return [params["request"]["url"] for params in sent if not params["request"]["url"].startswith(("data:", "blob:"))]
