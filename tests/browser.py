"""Headless Chromium, by the DevTools protocol: pages from file://, with every connection refused."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --proxy-server=127.0.0.1:9 --window-size=1280,1600"
).split()


class Tab:
    """One page, by the DevTools protocol. What it asks for and complains of is kept."""

    def __init__(self, url: str) -> None:
        client = pytest.importorskip("websockets.sync.client")
        self._socket = client.connect(url, max_size=None, open_timeout=30, proxy=None)
        self._numbers = itertools.count(1)
        self.asked: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (heard := self.hear()).get("id") != number:
            pass
        assert "error" not in heard, heard
        return heard["result"]

    def hear(self):
        heard = json.loads(self._socket.recv(timeout=60))
        if heard.get("method") == "Network.requestWillBeSent":
            self.asked.append(heard["params"]["request"]["url"])
        elif heard.get("method") == "Log.entryAdded":
            self.complaints.append(heard["params"]["entry"]["text"])
        elif heard.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(heard["params"]["exceptionDetails"]))
        return heard

    def value(self, expression: str):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        while self.value("document.readyState") != "complete" or self.value("location.protocol") != "file:":
            time.sleep(0.05)

    def screenshot(self) -> np.ndarray:
        png = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@contextmanager
def opened(page: Path, folder: Path) -> Iterator[Tab]:
    """A page in a browser of its own, whose profile is in `folder`."""
    assert CHROMIUM is not None, "tests are skipped where there is none"
    browser = subprocess.Popen(
        [CHROMIUM, *QUIET, "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file = folder / "profile" / "DevToolsActivePort"
        while not port_file.exists() or not port_file.read_text().strip():
            assert browser.poll() is None, "Chromium ended before it listened"
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with directly.open(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        tab = Tab(pages[0]["webSocketDebuggerUrl"])
        tab.open(page.as_uri())
        yield tab
    finally:
        browser.kill()
        browser.wait()
