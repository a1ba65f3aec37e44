"""`spti status --watch`."""

from __future__ import annotations

from types import SimpleNamespace

from spti_ray.cli.status import changes


def test_a_watch_tells_each_change_once_and_ends_with_the_run():
    states = [("running", 1), ("running", 1), ("running", 2), ("interrupted", 2), ("running", 3)]
    looks, slept = iter((SimpleNamespace(state=state), measured) for state, measured in states), []
    told = [(status.state, reading) for status, reading in changes(lambda: next(looks), slept.append)]
    assert told == [("running", 1), ("running", 2), ("interrupted", 2)]
    assert len(slept) == 3


def test_a_watch_of_a_finished_run_says_so_and_ends():
    def never(seconds):
        raise AssertionError

    finished = SimpleNamespace(state="finished"), None
    assert list(changes(lambda: finished, never)) == [finished]
