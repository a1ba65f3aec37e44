"""The progress display of a run."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from spti_ray.observability import progress as module
from spti_ray.observability.pool_reading import PoolReading
from spti_ray.observability.progress import Progress
from tests.ray.waiting import until


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def _progress(monkeypatch) -> tuple[Progress, Clock, io.StringIO]:
    clock, out = Clock(), io.StringIO()
    monkeypatch.setattr(module, "time", clock)
    return Progress(Console(file=out, width=200), generations=5), clock, out


def test_without_a_terminal_stages_and_slow_steps_are_plain_lines(monkeypatch):
    progress, clock, out = _progress(monkeypatch)
    with progress:
        progress.stage("candidates", 1)
        progress.expect(100)
        for _ in range(20):
            clock.now += 1
            progress.advance(2)
    lines = out.getvalue().splitlines()
    assert lines[0] == "00:00 generation 2/5: candidates"
    assert len(lines) == 3, "a line every ten seconds, not every step"
    assert "\x1b" not in out.getvalue()


def test_rate_and_time_left_do_not_count_the_loading_of_models(monkeypatch):
    progress, clock, out = _progress(monkeypatch)
    progress.stage("candidates", 0)
    progress.expect(60)
    clock.now += 300
    progress.advance(10)
    clock.now += 10
    progress.advance(20)
    assert progress.rate == 2.0
    assert "30/60 texts and images, 2.0/s, ETA 00:15" in out.getvalue()


def test_more_steps_than_foreseen_do_not_break_the_display(monkeypatch):
    progress, clock, out = _progress(monkeypatch)
    progress.expect(10)
    progress.advance(5)
    clock.now += 20
    progress.advance(20)
    assert "25/25 texts and images, 1.0/s, ETA 00:00" in out.getvalue()


def test_the_odometer_stands_beside_the_figures(monkeypatch):
    progress, clock, out = _progress(monkeypatch)
    progress.expect(10)
    progress.advance(5)
    progress.spent(0.5, 2.0)
    clock.now += 20
    progress.advance(1)
    assert "epsilon 0.5 of 2 spent" in out.getvalue().splitlines()[-1]


@pytest.mark.parametrize("width", [80, 120, 160])
def test_the_live_line_is_one_line_in_a_terminal_of_any_usual_width(width, monkeypatch):
    monkeypatch.setattr(module, "time", Clock())
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    progress = Progress(console, generations=10)
    progress.expect(99_999)
    progress.advance(55_555)
    progress.spent(1.25, 2.0)
    progress.stage("candidates", 9)
    with console.capture() as shown:
        console.print(progress._lines())
    assert shown.get().strip().count("\n") == 0
    assert "55555/99999" in shown.get() and ("ε 1.25/2" in shown.get() or "epsilon 1.25 of 2" in shown.get())


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (PoolReading("writer", asked=2, loading_s=72), "writer loading for 01:12"),
        (PoolReading("writer", asked=2, loading_s=72, lost=1), "writer loading for 01:12, 1 lost"),
        (PoolReading("renderer", 8, 6, 6, waiting=3, lost=1), "renderer 6 of 8 up, 6 at work, 3 waiting, 1 lost"),
        (PoolReading("renderer", asked=1, up=1), "renderer 1 of 1 up, 0 at work"),
        (PoolReading("renderer"), ""),
    ],
)  # fmt: skip
def test_a_pool_says_what_its_engines_do_or_for_how_long_they_load(pool, words):
    assert pool.words == words


@pytest.mark.parametrize("width", [80, 160])
def test_in_a_terminal_the_engines_have_one_line_below(width, monkeypatch):
    monkeypatch.setattr(module, "time", Clock())
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    progress = Progress(console, generations=10)
    for role in ("writer", "renderer"):
        progress.watch_pool(role, lambda role=role: PoolReading(role, 1_000, 1_000, 2_000, 20_000, 300))
    with console.capture() as shown:
        console.print(progress._lines())
    _, engines = shown.get().rstrip("\n").split("\n")
    assert "writer 1000 of 1000 up, 2000 at work" in engines and len(engines) <= width


def test_without_a_terminal_a_line_tells_which_engines_load_and_which_were_lost(monkeypatch):
    progress, _, out = _progress(monkeypatch)
    progress.watch_pool("writer", lambda: PoolReading("writer", asked=1, loading_s=3))
    progress.watch_pool("renderer", lambda: PoolReading("renderer", asked=2, up=2, at_work=1))
    progress.stage("candidates", 0)
    assert out.getvalue() == "00:00 generation 1/5: candidates | writer loading for 00:03\n"
    progress.watch_pool("writer", lambda: PoolReading("writer", asked=1, up=1, lost=1))
    progress.stage("voting", 0)
    assert out.getvalue().splitlines()[1].endswith("voting | writer 1 of 1 up, 0 at work, 1 lost")


def test_a_wait_without_a_terminal_is_told_once_a_minute(monkeypatch):
    progress, clock, out = _progress(monkeypatch)
    progress.stage("loading the captioner")
    for _ in range(12):
        clock.now += 10
        progress._show()  # as the thread does
    assert [line[:5] for line in out.getvalue().splitlines()] == ["00:00", "01:00", "02:00"]


def test_how_far_a_stage_is_stands_behind_its_name_as_long_as_it_is_told(monkeypatch):
    progress, clock, out = _progress(monkeypatch)
    progress.stage("reading")
    with progress.telling(lambda: "1 of 2 are done"):
        clock.now += 60
        progress._show()
    progress.stage("writing")
    assert out.getvalue().splitlines() == ["00:00 reading", "01:00 reading, 1 of 2 are done", "01:00 writing"]


def test_the_thread_that_tells_of_waits_ends_with_the_display(monkeypatch):
    monkeypatch.setattr(module, "_PLAIN_EVERY_S", 0.01)
    monkeypatch.setattr(module, "_PLAIN_IDLE_S", 0.02)
    out = io.StringIO()
    with Progress(Console(file=out, width=200)) as progress:
        progress.stage("loading the captioner")
        until(lambda: out.getvalue().count("loading the captioner") > 2)
    until(lambda: all(thread.name != "progress" for thread in threading.enumerate()))
