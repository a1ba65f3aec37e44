"""What a driver elsewhere writes down, and what is shown of it here."""

import io

from rich.console import Console

from spti_ray.observability import progress as module
from spti_ray.observability.journal import Journal, Relay


def test_a_journal_keeps_the_lines_that_stay_and_how_far_the_run_is():
    journal = Journal()
    journal.generations(3)
    journal.stage("votes", 1)
    journal.expect(10)
    journal.advance(4)
    journal.spent(0.5, 1.0)
    journal.note("a line that stays")
    reading = journal.reading()
    assert journal.notes == ["a line that stays"]
    assert (reading.where, reading.done, reading.total, reading.epsilon) == ("generation 2/3: votes", 4, 10, (0.5, 1.0))


def test_a_relay_shows_each_stage_once_and_the_figures_of_the_other_process(monkeypatch):
    out = io.StringIO()
    relay = Relay(Console(file=out, width=200))
    monkeypatch.setattr(relay, "_printed", float("inf"))  # no line for the time alone
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    for done in (2, 4):
        relay.take(module.Reading("votes", 0, 2, done=done, total=8, rate=2.0, elapsed_s=61, epsilon=(0.5, 1.0)))
    relay.take(module.Reading("votes", 1, 2, done=6, total=8, rate=2.0, elapsed_s=75, epsilon=(1.0, 1.0)))
    assert out.getvalue().splitlines() == [
        "01:01 generation 1/2: votes | 2/8 texts and images, 2.0/s, ETA 00:03, epsilon 0.5 of 1 spent",
        "01:15 generation 2/2: votes | 6/8 texts and images, 2.0/s, ETA 00:01, epsilon 1 of 1 spent",
    ]
