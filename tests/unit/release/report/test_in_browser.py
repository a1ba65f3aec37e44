"""The report in headless Chromium, from file:// and with every connection refused. Skipped where there is none."""

from __future__ import annotations

import time

import numpy as np
import pytest

from spti_ray.release.report.build import build_report
from tests.browser import CHROMIUM, opened
from tests.unit.release.report.runs import make_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    with opened(build_report(make_run(folder / "run", labels=("cat", "dog"), images=8)), folder) as tab:
        yield tab


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
