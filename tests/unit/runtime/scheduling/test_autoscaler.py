"""When pools grow, on SIMULATED actors: only while the work that is left outlasts the start of another one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.runtime.scheduling.autoscaler import StartTimes
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents


@dataclass
class Nodes:
    """Renderers, of which each but the first comes `start_s` after it was asked for."""

    seconds: float
    start_s: float
    events: SimulatedEvents = field(default_factory=SimulatedEvents)
    asked: list[SimulatedActor] = field(default_factory=list)

    def first(self) -> SimulatedActor:
        return SimulatedActor(lambda number: self.seconds)

    def another(self) -> SimulatedActor:
        self.asked.append(SimulatedActor(lambda number: self.seconds, start_s=self.events.now() + self.start_s))
        return self.asked[-1]

    def pool(self, node_start_s: float, most: int = 30, slots: int = 2, **more) -> Pool:
        limits = Limits(slots=slots, node_start_s=node_start_s)
        return Pool("renderer", [self.first()], self.events, limits, grow=self.another, most=most, **more)


def batches(count: int) -> list[tuple[int]]:
    return [(number,) for number in range(count)]


def unknown(count: int) -> Iterator[tuple[int]]:
    yield from batches(count)


def test_no_node_is_asked_for_that_would_come_when_the_work_is_done():
    nodes = Nodes(seconds=4, start_s=300)
    assert list(nodes.pool(node_start_s=300).map(batches(60))) == batches(60)
    assert nodes.events.now() == 240 and not nodes.asked


def test_each_node_that_is_asked_for_is_one_that_the_work_would_have_waited_for():
    """600 s of work: one more node, which shares the second half of it."""
    nodes = Nodes(seconds=10, start_s=300)
    list(nodes.pool(node_start_s=300).map(batches(60)))
    assert len(nodes.asked) == 1 and nodes.asked[0].busy_s > 100 and nodes.events.now() < 480


def test_later_rounds_of_short_work_are_worth_nodes_that_one_round_is_not():
    """Ten generations of 60 renders of 10 s: none alone outlasts more than two starts, together they do."""
    to_come = [0]
    nodes = Nodes(seconds=10, start_s=300)
    pool = nodes.pool(node_start_s=300, rounds_to_come=lambda: to_come[0])
    for generation in range(10):
        to_come[0] = 9 - generation
        assert list(pool.map(batches(60))) == batches(60)
    assert nodes.events.now() < 900 and len(nodes.asked) < 30, "3,160 s if each is looked at alone"
    # No more than one round keeps busy.
    few = Nodes(seconds=10, start_s=10)
    pool = few.pool(node_start_s=10, rounds_to_come=lambda: 1000)
    list(pool.map(batches(8)))
    assert len(few.asked) <= 3


def test_work_that_outlasts_many_starts_gets_all_the_nodes_there_may_be_within_the_first_start():
    nodes = Nodes(seconds=10, start_s=300)
    pool = nodes.pool(node_start_s=300)
    list(pool.map(batches(3000)))
    assert len(nodes.asked) == 29 and all(node.up_at < 330 for node in nodes.asked)
    assert nodes.events.now() < 1350, "300 s alone, then 30,000 s of work among 30"


@given(st.integers(1, 400), st.floats(0.5, 20), st.floats(20, 600), st.integers(1, 4))
def test_work_never_has_more_nodes_than_it_outlasts_starts(count, seconds, start_s, slots):
    nodes = Nodes(seconds, start_s)
    assert list(nodes.pool(start_s, slots=slots).map(batches(count))) == batches(count)
    assert 1 + len(nodes.asked) <= max(1, math.ceil(count * seconds / start_s))
    assert nodes.events.now() <= count * seconds + 1e-6


def test_a_start_that_was_seen_counts_and_not_what_was_assumed():
    def asked_by(assumed_s: float, start_s: float) -> int:
        nodes = Nodes(seconds=4, start_s=start_s)
        limits = Limits(slots=2, node_start_s=assumed_s)
        list(Pool("renderer", [], nodes.events, limits, grow=nodes.another, most=30).map(batches(60)))
        return len(nodes.asked)

    assert asked_by(assumed_s=1, start_s=300) == 1, "the first one, which took longer than all of the work"
    assert asked_by(assumed_s=10_000, start_s=10) > 10


def test_how_long_a_start_takes_is_what_is_usual_unless_one_is_awaited_for_longer():
    starts = StartTimes(assumed_s=300)
    assert starts.expected_s(0) == 300
    for number, took in enumerate([20, 30, 7000]):
        starts.asked(number, 0)
        starts.up(number, took)
    starts.up("restarted", 9000)
    assert starts.expected_s(9000) == 30
    starts.asked("never comes", 9000)
    assert [starts.expected_s(now) for now in (9010, 9400)] == [30, 400]
    starts.forget("never comes")
    assert starts.expected_s(9400) == 30


def test_while_one_is_awaited_for_longer_than_the_work_would_last_no_other_is_asked_for():
    """Each generation has 100 s of work; a node takes 20 s, it was thought, and never comes."""
    nodes = Nodes(seconds=1, start_s=1e9)
    pool = nodes.pool(node_start_s=60)
    for _ in range(20):
        list(pool.map(batches(100)))
    assert len(nodes.asked) == 1


@pytest.mark.parametrize(("count", "grows"), [(60, False), (3000, True)])
def test_work_of_unknown_amount_is_expected_to_last_as_long_again_as_it_has(count, grows):
    nodes = Nodes(seconds=4, start_s=300)
    list(nodes.pool(node_start_s=300).map(unknown(count)))
    assert bool(nodes.asked) == grows
    assert all(node.up_at > 600 for node in nodes.asked)


def test_a_stream_that_has_ended_has_nothing_to_come_though_it_never_said_how_much():
    """It is not closed yet, and the pool has another one."""
    nodes = Nodes(seconds=4, start_s=200)
    pool = nodes.pool(node_start_s=200)
    ended = pool.map(unknown(1))
    assert next(ended) == (0,)
    list(pool.map(batches(60)))
    assert len(nodes.asked) == 1


@pytest.mark.parametrize(("busy_s", "asked"), [(290, 0), (5000, 7)])
def test_shards_get_more_engines_once_they_have_been_at_work_for_as_long_as_one_takes_to_start(busy_s, asked):
    """How much work they have is private: nobody may know it."""
    nodes = Nodes(seconds=1, start_s=300)
    pool = nodes.pool(node_start_s=300, others=lambda: 8 if nodes.events.now() < busy_s else 0)
    while nodes.events.now() < 1000:
        nodes.events.after(1.0, lambda: None)
        nodes.events.wait()
    assert len(nodes.asked) == asked and pool.num_actors == 1 + asked


def test_nodes_that_have_not_come_when_the_work_is_done_are_given_back():
    nodes = Nodes(seconds=10, start_s=1e6)
    pool = nodes.pool(node_start_s=100)
    list(pool.map(batches(60)))
    assert 1 < pool.num_actors <= 6
    nodes.events.after(70, lambda: None)
    while nodes.events.now() < 670:
        nodes.events.wait()
    assert pool.num_actors == 1 and all(node.gone for node in nodes.asked)
    list(pool.map(batches(60)))
    assert pool.num_actors > 1, "who is waited for no more says nothing of those that come"
