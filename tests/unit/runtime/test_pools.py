"""When the engines of a role that shards alone ask are given back."""

import pytest

from spti_ray.runtime import pools as module
from spti_ray.runtime.pools import give_back_once_prepared
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents


class Session:
    """Resources of which each role's are given back once its actors are gone."""

    def __init__(self, events, actors):
        self.events = events
        self.freed = {}
        self._actors = actors

    def give_back(self, role):
        assert all(actor.gone for actor in self._actors), "they would be lost with their resources, and start again"
        self.freed[role] = self.events.now()


class Voter:
    """Shards that have their views one after the other."""

    def __init__(self, events, until):
        self._events, self._until = events, until

    @property
    def num_preparing(self):
        return sum(self._events.now() < until for until in self._until)


@pytest.mark.parametrize(("until", "freed"), [((100, 205), 210), ((), 0)])
def test_a_captioners_resources_are_free_as_soon_as_all_shards_have_their_views_and_no_sooner(until, freed):
    events = SimulatedEvents()
    actors = [SimulatedActor(lambda *batch: 1.0) for _ in range(2)]
    session = Session(events, actors)
    voter = Voter(events, until)
    pool = Pool(
        "captioner", actors, events, grow=lambda: actors.append(SimulatedActor(lambda *batch: 1.0)) or actors[-1],
        most=4, others=lambda: voter.num_preparing and 4,
    )  # fmt: skip
    give_back_once_prepared("captioner", pool, session, voter)
    while events.now() < 500:
        events.after(1.0, lambda: None)
        events.wait()
    assert session.freed == {"captioner": freed}
    assert pool.num_actors == 0 and len(actors) == (4 if until else 2)
    assert freed % module._LOOK_S == 0
