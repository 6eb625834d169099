"""Debian's Chromium, driven by selenium; the console messages and requested hosts of its pages."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.needs import need

PATIENCE_S = 30.0
AXE = files("axe_core_python").joinpath("axe.min.js").read_text()
SERIOUS = {"serious", "critical"}
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One window. A wait whose condition is not met in time fails the test."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def resize(self, width: int, height: int = 1000) -> None:
        """Resizes the page, not the window: Chromium's windows are never as narrow as a telephone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # an element that still scrolls cannot be clicked
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The element's text, visible or not."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)).strip()

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, holds: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        return WebDriverWait(self.driver, patience_s, 0.1).until(lambda _: holds(), f"this did not happen: {what}")

    def rows(self, table: str) -> list[str]:
        """The text of each visible row of a table, without headers."""
        script = (
            "return [...document.querySelectorAll(`#${arguments[0]} > tbody > tr[data-key]`)]"
            ".filter((row) => !row.hidden).map((row) => row.innerText)"
        )
        return [str(text) for text in self.run(script, table)]

    def _log(self, name: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.driver.get_log(name)  # type: ignore[no-untyped-call]
        return [line for line in lines if "chrome://" not in line["message"]]

    def complaints(self) -> list[str]:
        """The console's messages since the last call."""
        return [f"{line['level']}: {line['message']}" for line in self._log("browser")]

    def hosts(self) -> set[str]:
        """The hosts that the pages requested since the last call."""
        hosts = set()
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme not in ("data", "about", "chrome"):
                    hosts.add(url.netloc)
        return hosts


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a new profile. Skips the test if Chromium is missing."""
    chromium, chromedriver = need("chromium"), need("chromium-driver", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1600,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        driver.set_script_timeout(PATIENCE_S)
        yield Browser(driver)
    finally:
        driver.quit()


def serious(page: Browser) -> list[tuple[str, str]]:
    page.run(AXE)
    found = page.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
    )
    return [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in SERIOUS]
