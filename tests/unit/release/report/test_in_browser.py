"""The report in headless Chromium, from file:// and with every connection refused. Skipped where there is none."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from spti_ray.release.report.build import build_report
from tests.unit.release.report.test_report import make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
client = pytest.importorskip("websockets.sync.client")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --proxy-server=127.0.0.1:9 --window-size=1280,1600"
).split()


class Tab:
    """One page, by the DevTools protocol. What it asks for and complains of is kept."""

    def __init__(self, url: str) -> None:
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
        return heard

    def value(self, expression: str):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def open(self, url: str) -> None:
        for domain in ("Page", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        while self.value("document.readyState") != "complete" or self.value("location.protocol") != "file:":
            time.sleep(0.05)

    def screenshot(self) -> np.ndarray:
        png = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    report = build_report(make_run(folder / "run", labels=("cat", "dog"), images=8))
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
        opened = Tab(pages[0]["webSocketDebuggerUrl"])
        opened.open(report.as_uri())
        yield opened
    finally:
        browser.kill()
        browser.wait()


VISIBLE = "[...document.querySelectorAll('.tile')].filter(tile => tile.checkVisibility()).length"


def test_the_page_is_whole_without_a_network(tab):
    assert all(url.startswith(("file:", "data:")) for url in tab.asked), tab.asked
    assert tab.complaints == []
    images = "[...document.images].filter(image => image.closest('#gallery'))"
    tab.value(f"{images}.forEach(image => image.loading = 'eager')")
    assert tab.value(f"{images}.length") == 8
    for _ in range(200):
        if tab.value(f"{images}.every(image => image.complete && image.naturalWidth > 0)"):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("an image of the gallery is not drawn")
    assert tab.value("document.querySelectorAll('svg').length") >= 3
    assert tab.value("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out sideways"


def test_a_screenshot_shows_a_page_and_not_a_blank(tab):
    pixels = tab.screenshot()
    assert pixels.shape[1] == 1280 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_filters_by_label_and_generation_work_together_and_are_seen(tab):
    tab.value("document.querySelector('#gallery').scrollIntoView()")
    everything, before = tab.value(VISIBLE), tab.screenshot()
    tab.value("document.querySelector('label[for=label1]').click()")
    one_label = tab.value(VISIBLE)
    tab.value("document.querySelector('label[for=born1]').click()")
    both, after = tab.value(VISIBLE), tab.screenshot()
    assert everything == 8 > one_label > both > 0
    assert not np.array_equal(before, after)
    tab.value("document.querySelector('label[for=label0]').click(); document.querySelector('label[for=born0]').click()")
    assert tab.value(VISIBLE) == 8
