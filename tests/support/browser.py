"""Chromium without a window, which shows one page."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDTHS = {"desktop": (1280, 900), "tablet": (768, 1024), "phone": (390, 844), "small phone": (320, 640)}
# By WCAG 2.2: the contrast of each text with its background.
PALE = """
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
const behind = element => {
    for (; element; element = element.parentElement) {
        const colour = parts(getComputedStyle(element).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
};
return [...document.body.querySelectorAll('*')].filter(element =>
    [...element.childNodes].some(node => node.nodeType == 3 && node.textContent.trim())
    && !['title', 'STYLE'].includes(element.tagName) && element.getClientRects().length
).map(element => {
    const style = getComputedStyle(element), text = element.tagName == 'text';
    const [one, other] = [light(parts(text ? style.fill : style.color)), light(behind(element))];
    return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), element.textContent.trim()];
}).filter(([contrast]) => contrast < 4.5)
"""


class Browser:
    """Chromium with one page, shown in a given size, colour scheme and medium."""

    def __init__(self, driver: Any, file: Path) -> None:
        self._driver = driver
        self.file = file

    def show(self, width: int, height: int, scheme: str = "light", medium: str = "screen") -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})
        self._driver.get(self.file.as_uri())

    def ask(self, script: str, *given: Any) -> Any:
        return self._driver.execute_script(script, *given)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self._driver).send_keys(*keys).perform()

    def log(self, kind: str) -> list[dict[str, Any]]:
        return list(self._driver.get_log(kind))

    def printed(self) -> bytes:
        answer = self._driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
        return base64.b64decode(answer["data"])


@contextmanager
def browsing(file: Path) -> Iterator[Browser]:
    """Start the browser; it fails the test where there is none."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.fail(
            "these tests need Chromium and its driver: apt-get install chromium chromium-driver,"
            " or name the two programs in CHROMIUM and CHROMEDRIVER"
        )
    options = ChromeOptions()
    options.binary_location = chromium
    # Root has no sandbox, containers have a small /dev/shm, and no host name must resolve.
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    opened = Chrome(options=options, service=ChromeService(driver))
    try:
        yield Browser(opened, file)
    finally:
        opened.quit()
