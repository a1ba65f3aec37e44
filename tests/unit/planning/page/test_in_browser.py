"""The page in headless Chromium, from file:// and with every connection refused. Skipped where there is none."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

from spti_ray.cli import app
from tests.browser import CHROMIUM, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def plan(*words):
    done = CliRunner().invoke(app, ["plan", *words])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "plan.html"
    prices = ["--price", "gpu=2", "--price", "A100=1.5"]
    engines = [
        "runtime.engines.renderer={kind: diffusers, model: stabilityai/sdxl-turbo, num_gpus: 1, max_replicas: 4}",
        "runtime.address=auto",
    ]
    sets = [word for engine in engines for word in ("--set", engine)]
    plan("bundled:stickers", "--private-records", "900", *prices, *sets, "--html", str(page))
    with opened(page, folder) as tab:
        yield tab


def put(tab, name, value):
    """Type a value into the number, or choose it from the list, of that id."""
    tab.value(
        f"(() => {{ const input = document.getElementById({name!r}); input.value = {json.dumps(value)}; "
        "input.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def shown(tab, name):
    return tab.value(f"document.getElementById({name!r}).textContent")


def reset(tab):
    tab.value("document.getElementById('reset').click()")


def test_the_page_is_whole_without_a_network(tab):
    assert all(url.startswith(("file:", "data:")) for url in tab.asked), tab.asked
    assert tab.complaints == []
    assert tab.value("document.querySelectorAll('svg').length") == 2
    pixels = tab.screenshot()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"epsilon": 0.9},  # where sigma to the nearest digit would be below the planner's
        {"epsilon": 0.7, "delta": "1e-7", "generations": 6, "votes": 2},
        {"candidates": 1500, "themes": 120, "levels": 2, "images": 400, "records": 20_000},
        {"kind-renderer": "A100", "replicas-renderer": 6, "replicas-writer": 2, "price-1": 3, "records": ""},
    ],
)
def test_what_is_shown_is_what_the_planner_says(tab, choice):
    reset(tab)
    for name, value in choice.items():
        put(tab, name, value)
    assert shown(tab, "problem") == ""
    program, command, *words = shlex.split(shown(tab, "command"))
    assert (program, command) == ("spti", "plan")
    planned = json.loads(plan(*words, "--json").output)
    told = tab.value("window.spti.now().plan")
    assert planned["sigma"] <= told["sigma"] <= 1.01 * planned["sigma"]
    assert planned["sigma"] <= float(shown(tab, "sigma")) <= 1.01 * planned["sigma"], "as it is rounded too"
    assert told["texts_to_write"] == planned["texts_to_write"]
    for pool, other in zip(told["costs"]["pools"], planned["costs"]["pools"], strict=True):
        assert pool["wall_h"] == pytest.approx(other["wall_h"]) and pool["dollars"] == pytest.approx(other["dollars"])
    assert {work["role"]: work["gpu_h"] for work in told["costs"]["roles"]} == pytest.approx(
        {role: work["gpu_h"] for role, work in planned["costs"]["roles"].items()}
    )
    if "signal" in planned:
        assert told["signal"] == pytest.approx(list(planned["signal"].values()), rel=0.01)
    else:
        assert shown(tab, "signal") == "–"
    # What is copied sets what was chosen.
    sets = shlex.split(shown(tab, "sets").replace("\\\n", " "), comments=True)
    assert [word for word in sets if word != "--set"] == words[len(words) - len(sets) // 2 * 2 + 1 :: 2]


def test_the_keyboard_moves_a_slider_and_all_figures_follow(tab):
    reset(tab)
    before = tab.value("[...document.querySelectorAll('.strip dd')].map(figure => figure.textContent)")
    tab.value("document.querySelector('#generations').parentElement.querySelector('input[type=range]').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    assert tab.value("document.getElementById('generations').value") == "5"
    after = tab.value("[...document.querySelectorAll('.strip dd')].map(figure => figure.textContent)")
    assert all(old != new for old, new in zip(before, after, strict=True)), (before, after)


def test_what_can_not_be_run_is_said_and_nothing_can_be_copied(tab):
    reset(tab)
    put(tab, "themes", 5000)
    assert "5000 themes" in shown(tab, "problem") and shown(tab, "sets") == shown(tab, "command") == ""
    put(tab, "themes", 80)
    put(tab, "epsilon", 99)
    assert "Epsilon: 0.05 to 50" in shown(tab, "problem")
    assert tab.value("document.getElementById('epsilon').getAttribute('aria-invalid')") == "true"
    reset(tab)
    assert shown(tab, "problem") == "" and shown(tab, "sets") == "# nothing is changed"


def test_a_pool_never_starts_with_more_than_it_may_grow_to(tab):
    reset(tab)
    put(tab, "replicas-renderer", 9)
    assert tab.value("document.getElementById('most-renderer').value") == "9"
    put(tab, "most-renderer", 3)
    assert tab.value("document.getElementById('replicas-renderer').value") == "3"
    assert shown(tab, "problem") == ""


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_sideways_on_a_screen_or_a_phone(tab, width):
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
    reset(tab)
    tab.value("window.dispatchEvent(new Event('resize'))")
    assert tab.value("document.documentElement.scrollWidth") <= width
    touched = "[...document.querySelectorAll('input:not([disabled]), select, button')]"
    small = f"{touched}.filter(one => one.offsetParent && one.offsetHeight < 20).length"
    assert tab.value(small) == 0, "what is touched is large enough to touch"
