"""A batch that straggles is asked for twice once the rest of its stage is done; the first result counts, once."""

from typing import ClassVar

import pytest

from spti_ray.runtime.scheduling.events import Finished
from spti_ray.runtime.scheduling.meter import NoMetrics
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents

SLOW = 7


class Counting(SimulatedEvents):
    """Batch SLOW takes 1,000 s at the first actor that gets it, and as long as others at the next."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, float]] = []

    def seconds(self, number: int) -> float:
        slow = number == SLOW and sum(called == SLOW for called, _ in self.calls) <= 1
        return 1000.0 if slow else 1.0

    def call(self, actor, arguments, done):
        self.calls.append((arguments[0], self.now()))
        super().call(actor, arguments, done)


class Kept:
    """A place for results, which says what is put."""

    put_there: ClassVar[list] = []

    def __init__(self, arguments) -> None:
        pass

    def get(self):
        return None

    def put(self, result) -> None:
        Kept.put_there.append(result)


def pool_of(events, **more) -> Pool:
    actors = [SimulatedActor(events.seconds) for _ in range(4)]
    return Pool("renderer", actors, events, Limits(slots=1), **more)


def numbers(count):
    return [(number,) for number in range(count)]


def test_the_stage_ends_without_the_straggler_and_one_result_of_it_is_kept():
    events, Kept.put_there = Counting(), []
    told = []

    class Told(NoMetrics):
        def back(self, outcome, abreast):
            told.append(outcome)

    pool = pool_of(events, repeats=True, cache=Kept, meter=Told(), on_batch=lambda result, seconds: None)
    assert list(pool.map(numbers(40))) == numbers(40)
    assert events.now() < 50
    assert [when for number, when in events.calls if number == SLOW][1] >= 10, "not before the others were done"
    while pool.has_work:
        events.wait()
    assert events.now() >= 1000
    assert Kept.put_there.count((SLOW,)) == 1 and len(Kept.put_there) == 40
    assert sum(isinstance(outcome, Finished) for outcome in told) == 40
    assert pool.num_up == 4 and list(pool.map(numbers(5))) == numbers(5), "its actor works on"


def test_where_calls_are_paid_for_nothing_is_asked_for_twice():
    events = Counting()
    assert list(pool_of(events).map(numbers(40))) == numbers(40)
    assert events.now() > 1000 and len(events.calls) == 40


def test_nothing_is_asked_for_twice_while_there_is_other_work():
    events = Counting()
    results = pool_of(events, repeats=True).map(iter(numbers(400)))
    for _ in range(SLOW):
        next(results)
    while len(events.calls) < 35:
        events.wait()
    assert [number for number, _ in events.calls].count(SLOW) == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_second_time_that_fails_or_is_lost_leaves_the_first_as_it_was(first):
    class Failing(Counting):
        def seconds(self, number):
            if number == SLOW and sum(called == SLOW for called, _ in self.calls) > 1:
                if first:
                    raise ValueError
                self.after(0.5, lambda: self.crash(next(a for a in actors if a.under_way and a is not slow)))
            return super().seconds(number)

        def call(self, actor, arguments, done):
            nonlocal slow
            slow = actor if arguments[0] == SLOW and slow is None else slow
            super().call(actor, arguments, done)

    events, slow = Failing(), None
    actors = [SimulatedActor(events.seconds) for _ in range(4)]
    pool = Pool("renderer", actors, events, Limits(slots=1, attempts=1, crashes=1), repeats=True)
    assert list(pool.map(numbers(40))) == numbers(40)
    assert events.now() >= 1000 and pool.given_up == 0
    assert [number for number, _ in events.calls].count(SLOW) == 2


def test_when_the_first_time_is_lost_after_the_second_gave_its_result_nothing_is_run_again():
    events = Counting()
    actors = [SimulatedActor(events.seconds) for _ in range(4)]
    pool = Pool("renderer", actors, events, Limits(slots=1), repeats=True)
    assert list(pool.map(numbers(40))) == numbers(40)
    (slow,) = [actor for actor in actors if actor.under_way]
    events.crash(slow)
    for _ in range(20):
        events.wait() if pool.has_work or pool.num_up < 4 else None
    assert pool.num_up == 4 and len(events.calls) == 41
