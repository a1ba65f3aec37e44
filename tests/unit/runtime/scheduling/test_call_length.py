"""Several batches in a call: when, how many, and that each stays what it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.runtime.scheduling.call_length import CallLength
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents


class Several(CallLength):
    """So many in each call, however long they are."""

    def __init__(self, count: int) -> None:
        super().__init__("renderer")
        self._count = count

    def batches(self, num_actors: int) -> int:
        return self._count


class Counting(SimulatedEvents):
    def __init__(self, **more) -> None:
        super().__init__(**more)
        self.lengths: list[int] = []

    def call(self, actor, arguments, done):
        self.lengths.append(1)
        super().call(actor, arguments, done)

    def call_several(self, actor, batches):
        self.lengths.append(len(batches))
        super().call_several(actor, batches)


def numbers(count):
    return [(number,) for number in range(count)]


@pytest.mark.parametrize(
    ("seconds", "actors", "batches"),
    [
        (1.0, 16, 1),
        (1.0, 1000, 1),
        (3.0, 1000, 1),
        (1.0, 10_000, 8),
        (2.0, 10_000, 4),
        (10.0, 100_000, 1),
        (0.1, 500, 5),
    ],
)
def test_batches_go_together_where_the_driver_could_not_send_each_and_for_eight_seconds_at_most(
    seconds, actors, batches
):
    length = CallLength("renderer")
    for _ in range(16):
        assert length.batches(actors) == 1, "too little is known of them yet"
        length.took(seconds)
    assert length.batches(actors) == batches


def test_the_length_of_a_call_is_told(caplog):
    caplog.set_level("INFO")
    length = CallLength("renderer")
    for _ in range(16):
        length.took(0.5)
    assert length.batches(3000) == 6 and length.batches(3000) == 6
    assert [record.message for record in caplog.records] == ["renderer: 6 batches in a call, of 3 s"]


@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.lists(st.floats(0.1, 5.0), min_size=1, max_size=60),
    st.lists(st.floats(0.1, 60.0), max_size=3),
)
def test_results_are_those_of_single_batches_in_order_whatever_crashes(together, num_actors, seconds, crashes):
    events = Counting()
    actors = [SimulatedActor(lambda number: seconds[number]) for _ in range(num_actors)]
    for when in crashes:
        events.after(when, lambda: events.crash(actors[0], preempted=True))
    # A batch that is sent in the moment of a crash is blamed for it.
    limits = Limits(slots=2, attempts=1, crashes=len(crashes) + 1)
    pool = Pool("renderer", actors, events, limits, call_length=Several(together))
    assert list(pool.map(iter(numbers(len(seconds))))) == numbers(len(seconds))
    assert pool.given_up == 0 and max(events.lengths) <= together
    assert not pool.has_work


def test_calls_are_full_while_there_is_work_and_an_engine_gets_what_there_is():
    events = Counting()
    pool = Pool("renderer", [SimulatedActor(lambda number: 1.0)], events, Limits(slots=2), call_length=Several(4))
    assert list(pool.map(numbers(10))) == numbers(10)
    assert events.lengths == [4, 4, 2]


def test_a_batch_that_raises_is_tried_again_by_itself_and_takes_no_other_with_it():
    events, tries = Counting(), []

    def seconds(number):
        tries.append(number)
        if number == 5:
            raise ValueError
        return 1.0

    actors = [SimulatedActor(seconds)]
    pool = Pool("renderer", actors, events, Limits(slots=1, attempts=2), call_length=Several(4))
    assert list(pool.map(numbers(12))) == [None if number == 5 else (number,) for number in range(12)]
    assert [tries.count(number) for number in range(12)] == [2 if number == 5 else 1 for number in range(12)]


def test_a_batch_that_kills_its_engine_runs_alone_afterwards():
    events = Counting()

    def seconds(number):
        if number == 5:
            events.after(0.5, lambda: [events.crash(actor) for actor in actors if actor.under_way])
        return 1.0

    actors = [SimulatedActor(seconds)]
    pool = Pool("renderer", actors, events, Limits(slots=1, attempts=1, crashes=3), call_length=Several(4))
    assert list(pool.map(numbers(12))) == [None if number == 5 else (number,) for number in range(12)]
    assert pool.given_up == 1
