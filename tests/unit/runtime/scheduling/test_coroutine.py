"""Coroutines: whoever resumes one goes on where it pauses."""

import pytest

from spti_ray.runtime.scheduling.coroutine import Coroutine, pause


def test_a_coroutine_runs_from_pause_to_pause_and_then_no_more():
    seen = []

    def act() -> None:
        for turn in range(3):
            seen.append(turn)
            assert pause()

    coroutine = Coroutine(act)
    for turn in range(3):
        coroutine.resume()
        assert seen == list(range(turn + 1))
    coroutine.resume()
    coroutine.resume()
    assert seen == [0, 1, 2]


def test_outside_of_a_coroutine_nothing_is_there_to_pause():
    assert not pause()


def test_a_pause_goes_back_to_whoever_resumed_and_not_to_whoever_began_it():
    seen = []

    def inner() -> None:
        seen.append("inner")
        pause()
        seen.append("inner again")

    deep = Coroutine(inner)

    def outer() -> None:
        deep.resume()
        seen.append("outer")
        pause()
        seen.append("never, before the end")

    high = Coroutine(outer)
    high.resume()
    deep.resume()
    assert seen == ["inner", "outer", "inner again"]


def test_a_running_coroutine_can_not_be_resumed_from_within():
    coroutine = Coroutine(lambda: coroutine.resume())
    coroutine.resume()


def test_what_a_coroutine_raises_whoever_resumed_it_gets():
    def act() -> None:
        pause()
        raise KeyError("mine")

    coroutine = Coroutine(act)
    coroutine.resume()
    with pytest.raises(KeyError, match="mine"):
        coroutine.resume()


def test_a_coroutine_that_is_ended_cleans_up():
    seen = []

    def act() -> None:
        try:
            pause()
        finally:
            seen.append("cleaned")

    begun, not_begun = Coroutine(act), Coroutine(act)
    begun.resume()
    begun.end()
    not_begun.end()
    begun.end()
    begun.resume()
    assert seen == ["cleaned"]
