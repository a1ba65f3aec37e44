"""Pools on SIMULATED actors and a clock that jumps: every disturbance, in no time. With Ray: tests/ray/test_pool.py."""

from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.errors import ResourcesNeverArrived, exit_code
from spti_ray.runtime.scheduling.engine_info import EngineFailed
from spti_ray.runtime.scheduling.events import Raised
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SIMULATED, SimulatedActor, SimulatedEvents


def takes(seconds: float):
    return lambda *arguments: seconds


def batched(items, size: int):
    while batch := tuple(islice(items, size)):
        yield batch


def numbers(count: int):
    return [(number,) for number in range(count)]


def test_results_keep_the_order_of_their_batches_however_long_each_takes():
    events = SimulatedEvents()
    actors = [SimulatedActor(lambda number: 1.0 + 7 * (number % 3 == 0)) for _ in range(3)]
    assert list(Pool("writer", actors, events).map(numbers(50))) == numbers(50)


def test_no_batch_is_sent_to_an_actor_that_is_not_up_yet():
    events = SimulatedEvents()
    actors = [SimulatedActor(takes(1.0), start_s=60), SimulatedActor(takes(1.0), start_s=10)]
    pool = Pool("writer", actors, events, Limits(crashes=1))
    results = pool.map(numbers(8))
    next(results)
    assert events.now() == 11
    assert list(results) == numbers(8)[1:] and events.now() == 18 and pool.given_up == 0


def test_an_actor_that_takes_minutes_to_come_back_costs_no_batch():
    events = SimulatedEvents()
    actor = SimulatedActor(takes(1.0), restart_s=300)
    for when in (2.5, 400, 800):
        events.after(when, lambda: events.crash(actor))
    pool = Pool("writer", [actor], events, Limits(slots=2, attempts=1, crashes=3))
    assert list(pool.map(numbers(120))) == numbers(120) and pool.given_up == 0


@pytest.mark.parametrize("how", [{"preempted": True}, {"with_node": True}])
def test_the_loss_of_a_node_is_never_a_batches_fault(how):
    """Whether Ray says so at once or it shows when the actor is back elsewhere."""
    events = SimulatedEvents()
    actor = SimulatedActor(takes(10.0), restart_s=1)
    for turn in range(20):
        events.after(5.123 + 11 * turn, lambda: events.crash(actor, **how))
    pool = Pool("writer", [actor], events, Limits(slots=2, attempts=1, crashes=2))
    assert list(pool.map(numbers(4))) == numbers(4) and pool.given_up == 0


def test_a_batch_that_crashes_its_engine_is_given_up_and_takes_no_other_with_it():
    events = SimulatedEvents()

    def seconds(number: int) -> float:
        if number == 5:
            events.after(0.5, lambda: [events.crash(a) for a in actors if any(a.under_way)])
        return 1.0

    actors = [SimulatedActor(seconds)]
    pool = Pool("renderer", actors, events, Limits(slots=3, attempts=1, crashes=3))
    assert list(pool.map(numbers(12))) == [None if number == 5 else (number,) for number in range(12)]
    assert pool.given_up == 1


def test_an_engine_that_hangs_is_started_anew_and_only_the_batch_that_hung_is_to_blame(caplog):
    events = SimulatedEvents()
    actor = SimulatedActor(lambda number: 1e9 if number == 2 else 1.0)
    pool = Pool("renderer", [actor], events, Limits(slots=3, attempts=1, crashes=1, batch_timeout_s=100))
    assert list(pool.map(numbers(6))) == [(0,), (1,), None, (3,), (4,), (5,)]
    assert events.now() < 250 and "batch 2 hangs; its engine is started anew" in caplog.text


def test_a_slow_batch_is_not_taken_for_a_hung_one():
    events = SimulatedEvents()
    pool = Pool("renderer", [SimulatedActor(takes(99.0))], events, Limits(slots=1, crashes=1, batch_timeout_s=100))
    assert list(pool.map(numbers(3))) == numbers(3) and events.now() == 297


@pytest.mark.parametrize("others", [0, 1])
def test_an_engine_that_can_not_be_started_fails_the_pool_only_if_it_was_the_last(others):
    events = SimulatedEvents()
    broken = SimulatedActor(takes(1.0))
    broken.gone = "FileNotFoundError: no model at /nowhere"
    pool = Pool("renderer", [broken] + [SimulatedActor(takes(1.0))] * others, events)
    if others:
        assert list(pool.map(numbers(5))) == numbers(5)
    else:
        with pytest.raises(EngineFailed, match="the renderer could not be started: FileNotFoundError: no model"):
            list(pool.map(numbers(5)))


def test_an_engine_that_dies_for_good_in_the_middle_of_a_run_is_replaced():
    events = SimulatedEvents()
    first = SimulatedActor(takes(1.0))

    def die() -> None:
        first.gone = "its node has no GPU any more"
        events.crash(first)

    events.after(3.5, die)
    pool = Pool("writer", [first], events, grow=lambda: SimulatedActor(takes(1.0), start_s=10.0))
    assert list(pool.map(numbers(10))) == numbers(10) and pool.num_actors == 1


def test_engines_that_can_not_be_started_are_not_tried_for_ever():
    events = SimulatedEvents()
    made = []

    def broken() -> SimulatedActor:
        made.append(SimulatedActor(takes(1.0)))
        made[-1].gone = "no driver"
        return made[-1]

    pool = Pool("writer", [SimulatedActor(takes(1.0))], events, grow=broken, most=100)
    assert list(pool.map(numbers(100))) == numbers(100)
    assert len(made) == 3


def test_a_pool_that_the_run_waits_for_grows_to_its_most_and_no_further():
    events = SimulatedEvents()
    pool = Pool("writer", [SimulatedActor(takes(1.0))], events, grow=lambda: SimulatedActor(takes(1.0)), most=16)
    assert list(pool.map(numbers(400))) == numbers(400)
    assert pool.num_actors == 16 and events.now() < 50


def test_a_pool_does_not_grow_beyond_the_work_that_is_left():
    events = SimulatedEvents()
    pool = Pool("writer", [SimulatedActor(takes(1.0))], events, grow=lambda: SimulatedActor(takes(1.0)), most=16)
    list(pool.map(numbers(8)))
    assert pool.num_actors <= 4


def test_a_pool_that_waits_for_another_does_not_grow():
    events = SimulatedEvents()
    slow = Pool("writer", [SimulatedActor(takes(1.0))], events)
    fast = Pool("renderer", [SimulatedActor(takes(0.5))], events, grow=lambda: SimulatedActor(takes(0.5)), most=16)
    list(fast.map(slow.map(numbers(100))))
    assert fast.num_actors == 1


@pytest.mark.parametrize(("wanted", "most", "expected"), [(3, 8, 3), (20, 8, 8), (1, 8, 1), (20, 1, 1)])
def test_a_pool_grows_for_others_that_keep_its_actors_busy_as_far_as_they_can(wanted, most, expected):
    events = SimulatedEvents()
    pool = Pool(
        "image_embedder", [SimulatedActor(takes(1.0))], events, grow=lambda: SimulatedActor(takes(1.0)), most=most,
        others=lambda: wanted if events.now() < 100 else 0,
    )  # fmt: skip
    for _ in range(200):  # whoever waits for the others
        events.after(1.0, lambda: None)
        events.wait()
        events.poll()
    assert pool.num_actors == expected


def test_what_a_pool_has_grown_by_is_given_back_when_it_is_idle_and_nobody_else_works_with_it():
    events = SimulatedEvents()
    busy_until = 300.0
    pool = Pool(
        "image_embedder", [SimulatedActor(takes(1.0))], events, grow=lambda: SimulatedActor(takes(1.0)), most=8,
        others=lambda: int(events.now() < busy_until),
    )  # fmt: skip
    list(pool.map(numbers(100)))
    assert pool.num_actors == 8

    def later(seconds: float) -> None:
        until = events.now() + seconds
        while events.now() < until:
            events.after(1.0, lambda: None)
            events.wait()

    later(200)
    assert pool.num_actors == 8, "others are at work"
    later(busy_until + 121 - events.now())
    assert pool.num_actors == 1
    assert list(pool.map(numbers(5))) == numbers(5)


def test_a_pool_that_is_at_work_again_gives_nothing_back():
    events = SimulatedEvents()
    pool = Pool("renderer", [SimulatedActor(takes(1.0))], events, grow=lambda: SimulatedActor(takes(1.0)), most=4)
    list(pool.map(numbers(100)))
    assert pool.num_actors == 4
    began = events.now()
    slow = pool.map((number,) for number in range(400))
    assert len(list(slow)) == 400 and events.now() - began < 110, "four engines all the time"


def test_a_shrunken_pool_gives_back_actors_once_their_batches_are_done():
    events = SimulatedEvents()
    actors = [SimulatedActor(takes(1.0)) for _ in range(4)]
    pool = Pool("writer", actors, events, Limits(slots=1))
    results = pool.map(numbers(20))
    next(results)
    pool.shrink(keep=1)
    assert pool.num_actors == 1
    assert list(results) == numbers(20)[1:]
    assert sum(actor.gone is not None for actor in actors) == 3
    pool.shrink()
    assert all(actor.gone is not None for actor in actors) and pool.num_actors == 0


def test_batches_that_are_kept_are_not_run_again():
    results, events = {}, SimulatedEvents()

    class Place:
        def __init__(self, arguments):
            self.get = lambda: results.get(arguments)
            self.put = lambda result: results.update({arguments: result})

    actor = SimulatedActor(takes(1.0))
    first = Pool("writer", [actor], events, cache=Place).map(numbers(10))
    before = [next(first) for _ in range(4)]
    first.close()
    again = Pool("writer", [actor], events, cache=Place)
    assert list(again.map(numbers(10))) == numbers(10) and before == numbers(4)
    assert actor.busy_s <= 12, "ten, and two that were in flight when the first stream was left"


def test_the_stages_of_a_chain_work_at_the_same_time():
    """Three stages of a second, 30 batches, one actor each: 33 s side by side, 90 s one after the other."""
    events = SimulatedEvents()
    first, second, third = (Pool(role, [SimulatedActor(takes(1.0))], events) for role in ("a", "b", "c"))
    assert list(third.map(second.map(first.map(numbers(30))))) == numbers(30)
    assert events.now() <= 33


@pytest.mark.parametrize(("first_s", "second_s"), [(1.0, 0.1), (0.1, 1.0)])
def test_the_slowest_stage_of_a_chain_is_never_idle(first_s, second_s):
    events = SimulatedEvents()
    first = Pool("a", [SimulatedActor(takes(first_s))], events)
    second = Pool("b", [SimulatedActor(takes(second_s))], events)
    list(second.map(first.map(numbers(50))))
    assert events.now() == pytest.approx(50 * max(first_s, second_s) + min(first_s, second_s))


def test_what_comes_back_is_looked_at_while_many_actors_are_still_filled():
    """The driver takes 6 s to send each of 600 actors its two batches; the first is done after half a second."""
    events = SimulatedEvents(driver_s=0.005)
    came: list[float] = []
    actors = [SimulatedActor(takes(0.5)) for _ in range(600)]
    pool = Pool("renderer", actors, events, on_batch=lambda result, seconds: came.append(events.now()))
    while pool.num_up < 600:
        events.wait()
    assert list(pool.map(numbers(1800))) == [(number,) for number in range(1800)]
    assert came[0] < 3.0


def test_a_stage_that_waits_for_its_source_does_not_stop_the_source():
    """The renderer pulls while the embedder is full, and later the embedder pulls what the renderer has."""
    events = SimulatedEvents()
    writer = Pool("a", [SimulatedActor(lambda number: 0.1 if number < 8 else 3.0)], events)
    renderer = Pool("b", [SimulatedActor(takes(0.1))], events)
    embedder = Pool("c", [SimulatedActor(lambda number: 4.0 if number < 4 else 0.01)], events)
    assert list(embedder.map(renderer.map(writer.map(numbers(40))))) == numbers(40)


def test_a_stage_works_while_the_engines_of_those_after_it_are_still_loading():
    """The writer is up at once, the renderer after 60 s and the embedder after 90 s."""
    events, written_at = SimulatedEvents(), []
    writer = Pool("a", [SimulatedActor(takes(1.0))], events, on_batch=lambda *back: written_at.append(events.now()))
    renderer = Pool("b", [SimulatedActor(takes(0.5), start_s=60)], events)
    embedder = Pool("c", [SimulatedActor(takes(0.5), start_s=90)], events)
    assert list(embedder.map(renderer.map(writer.map(numbers(30))))) == numbers(30)
    assert sum(when < 60 for when in written_at) >= 8


def test_a_stage_gets_what_is_there_while_the_stage_before_waits_for_its_own_source():
    """The writer takes 100 s for its ninth batch; the eight before it go through both other stages meanwhile."""
    events = SimulatedEvents()
    writer = Pool("a", [SimulatedActor(lambda number: 100.0 if number == 8 else 0.01)], events)
    renderer = Pool("b", [SimulatedActor(takes(0.1))], events)
    embedded_at = {}
    embedder = Pool("c", [SimulatedActor(lambda number: embedded_at.setdefault(number, events.now()) and 1.0)], events)
    assert list(embedder.map(renderer.map(writer.map(numbers(12))))) == numbers(12)
    assert all(embedded_at[number] < 20 for number in range(8))


@given(st.lists(st.sampled_from([0.01, 0.1, 1.0, 30.0]), min_size=3, max_size=60), st.integers(1, 3), st.data())
def test_chains_of_three_come_to_their_end_whatever_their_batches_take(seconds, slots, data):
    """And in batches of any size, which each stage cuts anew."""
    events = SimulatedEvents()
    stages = [seconds, seconds[::-1], seconds[1:] + seconds[:1]]
    stream = iter(range(len(seconds)))
    for name, times in zip("abc", stages, strict=True):
        size = data.draw(st.integers(1, 5))
        actor = SimulatedActor(lambda batch, times=times: times[batch[0]])
        pool = Pool(name, [actor], events, Limits(slots=slots, batch_timeout_s=1e9))
        stream = chain.from_iterable(batch for (batch,) in pool.map(zip(batched(stream, size))))
    assert list(stream) == list(range(len(seconds)))


def test_nothing_to_wait_for_is_an_error_and_not_a_hang():
    with pytest.raises(RuntimeError, match="nothing is under way"):
        SimulatedEvents().wait()


def test_what_the_source_raises_reaches_whoever_reads_the_stream_and_nobody_else():
    events = SimulatedEvents()

    def broken():
        yield from numbers(5)
        raise KeyError("upstream")

    first = Pool("a", [SimulatedActor(takes(1.0))], events)
    left = first.map(broken())
    assert next(left) == (0,)
    assert list(Pool("b", [SimulatedActor(takes(1.0))], events).map(numbers(5))) == numbers(5)
    with pytest.raises(KeyError, match="upstream"):
        list(left)


@pytest.mark.parametrize("start_s", [0, 60])
def test_what_the_source_raises_comes_after_the_results_of_all_that_came_before_it(start_s):
    def broken():
        yield from numbers(6)
        raise KeyError("upstream")

    results = Pool("a", [SimulatedActor(takes(1.0), start_s=start_s)], SimulatedEvents()).map(broken())
    assert [next(results) for _ in range(6)] == numbers(6)
    with pytest.raises(KeyError, match="upstream"):
        next(results)


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.floats(0, 40), st.integers(0, 3), st.booleans()), max_size=12),
    st.integers(0, 60),
)
def test_whatever_is_killed_and_when_every_batch_comes_out_once_and_in_order(actors, slots, kills, batches):
    """Crash budgets aside: here no batch is to blame."""
    events = SimulatedEvents()
    upper = [SimulatedActor(lambda n: 0.5 + n % 3, restart_s=3) for _ in range(actors)]
    lower = [SimulatedActor(lambda n: 0.5 + n % 2, restart_s=3) for _ in range(actors)]
    for when, which, is_upper in kills:
        actor = (upper if is_upper else lower)[which % actors]
        events.after(when, lambda actor=actor: events.crash(actor))
    limits = Limits(slots=slots, attempts=1, crashes=len(kills) + 1)
    first, second = Pool("a", upper, events, limits), Pool("b", lower, events, limits)
    assert list(second.map(first.map(numbers(batches)))) == numbers(batches)
    assert first.given_up == second.given_up == 0


def test_the_identity_is_known_when_all_who_could_tell_it_are_gone():
    events = SimulatedEvents()
    actor = SimulatedActor(takes(1.0))
    pool = Pool("writer", [actor], events)
    assert list(pool.map(numbers(4))) == numbers(4)
    actor.gone = "its process died"
    events.crash(actor)
    assert pool.identity() == SIMULATED


@pytest.mark.parametrize("gone", [None, "its process died"])
def test_an_actor_that_is_lost_before_it_tells_its_identity_is_asked_again_or_replaced(gone):
    events = SimulatedEvents()
    actor, made = SimulatedActor(takes(1.0), restart_s=9), []

    def another():
        made.append(SimulatedActor(takes(1.0), start_s=events.now() + 5))
        return made[-1]

    pool = Pool("writer", [actor], events, grow=another)
    while not pool.num_up:
        events.wait()
    actor.gone = gone
    events.crash(actor)
    assert pool.identity() == SIMULATED
    assert (events.now(), len(made)) == ((5, 1) if gone else (pytest.approx(9), 0))
    assert list(pool.map(numbers(4))) == numbers(4)


def test_an_engine_that_can_not_say_what_it_is_fails_in_one_line():
    class Nameless(SimulatedEvents):
        def identity(self, actor, done):
            self.after(0.0, lambda: done(Raised("OSError")))

    pool = Pool("writer", [SimulatedActor(takes(1.0))], Nameless())
    with pytest.raises(EngineFailed, match="^the writer could not say what it runs: OSError$"):
        pool.identity()


def test_a_pool_that_starts_from_none_starts_its_first_actor_when_somebody_waits_and_gives_the_last_one_back():
    events, started = SimulatedEvents(), []

    def grow():
        started.append(SimulatedActor(takes(10.0), start_s=events.now() + 100))
        return started[-1]

    pool = Pool("renderer", [], events, Limits(slots=1), grow=grow, most=3)
    events.after(50, lambda: None)
    events.wait()
    assert not started, "nobody waited"
    assert list(pool.map(numbers(40))) == numbers(40)
    assert len(started) == 3 and events.now() > 150
    until = events.now() + 100
    while events.now() < until:
        events.after(10, lambda: None)
        events.wait()
    assert pool.num_actors == 0
    before = len(started)
    assert list(pool.map(numbers(1))) == numbers(1)
    assert len(started) == before + 1


def test_a_pool_that_starts_from_none_waits_for_the_first_batch_of_a_slow_source():
    events, started = SimulatedEvents(), []

    def grow():
        started.append(events.now())
        return SimulatedActor(takes(1.0), start_s=events.now() + 5)

    writer = Pool("writer", [SimulatedActor(takes(200.0))], events, Limits(slots=1))
    renderer = Pool("renderer", [], events, Limits(slots=1), grow=grow, most=1)
    assert list(renderer.map(writer.map(numbers(3)))) == numbers(3)
    # Given back after a minute without work, and started again when there is some: never only to wait.
    assert started == [200, 400, 600]


def test_the_identity_of_a_pool_that_starts_from_none_is_asked_of_its_first_actor():
    events = SimulatedEvents()
    pool = Pool("writer", [], events, grow=lambda: SimulatedActor(takes(1.0), start_s=5), most=1)
    assert pool.identity() == SIMULATED and pool.num_actors == 1


def test_a_first_actor_that_does_not_come_in_time_ends_the_run_in_one_line():
    events = SimulatedEvents()
    late = Limits(start_timeout_s=300)
    pool = Pool("renderer", [], events, late, grow=lambda: SimulatedActor(takes(1.0), start_s=10_000), most=4)
    with pytest.raises(ResourcesNeverArrived, match="no renderer came up within 300 s") as caught:
        list(pool.map(numbers(3)))
    assert events.now() == 300 and exit_code(caught.value) == 4 and "\n" not in str(caught.value)


def test_a_first_actor_that_came_and_was_lost_is_waited_for_as_any_other():
    events = SimulatedEvents()
    actor = SimulatedActor(takes(10.0), start_s=10, restart_s=400)
    events.after(25, lambda: events.crash(actor, preempted=True))
    pool = Pool("renderer", [], events, Limits(start_timeout_s=300), grow=lambda: actor, most=1)
    assert list(pool.map(numbers(3))) == numbers(3)


def test_a_pool_that_starts_from_none_and_can_start_none_says_why():
    events = SimulatedEvents()
    with pytest.raises(EngineFailed, match="it has no actors"):
        list(Pool("writer", [], events, grow=lambda: None, most=2).map(numbers(1)))
