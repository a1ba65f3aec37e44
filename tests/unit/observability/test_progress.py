"""The progress display of a run."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from spti_ray.observability import progress as module
from spti_ray.observability.progress import Progress


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
    assert "epsilon 0.500 of 2 spent" in out.getvalue().splitlines()[-1]


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
        console.print(progress._line())
    assert shown.get().strip().count("\n") == 0
    assert "55555/99999" in shown.get() and ("ε 1.25/2" in shown.get() or "epsilon 1.250 of 2" in shown.get())
