"""Chromium, headless, through its own chromedriver: a page as a person sees it, and what its console says.

W3C WebDriver is JSON over HTTP; the few commands that are needed here need no library.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import urllib.request
from typing import TYPE_CHECKING, Any

from programs import PATIENCE, Program, find, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Driver(Program):
    """chromedriver on a free loopback port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        super().__init__([find("chromedriver"), f"--port={self.port}"], directory)

    def start(self) -> None:
        super().start()
        self.wait_listening(self.port)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if method in {"GET", "DELETE"} else json.dumps(body or {}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
            return json.load(answer)["value"]


class Page:
    """One browser window."""

    def __init__(self, driver: Driver, session: str) -> None:
        self._driver = driver
        self._session = f"/session/{session}"

    def open(self, url: str) -> None:
        self._driver.ask("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *args: object) -> Any:
        """Return what the script returns."""
        return self._driver.ask(
            "POST", f"{self._session}/execute/sync", {"script": script, "args": list(args)}
        )

    def text(self, selector: str) -> str:
        """The text of an element as it is shown."""
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def devtools(self, command: str, **params: object) -> None:
        """One of Chromium's own commands."""
        self._driver.ask("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": params})

    def size(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def dark(self, *, on: bool) -> None:
        value = "dark" if on else "light"
        self.devtools(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}]
        )

    def picture(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self._driver.ask("GET", f"{self._session}/screenshot"))

    def console(self) -> list[str]:
        """What the console says since the last time."""
        said = self._driver.ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [f"{line['level']}: {line['message']}" for line in said]


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Page]:
    """A browser, ended with the block."""
    options = {
        "binary": find("chromium"),
        "args": [
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={directory / 'profile'}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium will not have it otherwise
        ],
    }
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    with started(Driver(directory)) as driver:
        session = driver.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        try:
            yield Page(driver, session)
        finally:
            driver.ask("DELETE", f"/session/{session}")
