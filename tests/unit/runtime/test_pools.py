"""The pools of a run: what of its settings they go by, and when engines that shards alone ask are given back."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from spti_ray.models.factory import FAKE
from spti_ray.observability.progress import Progress
from spti_ray.runtime import pools as module
from spti_ray.runtime.executor import NoRunMetrics
from spti_ray.runtime.pools import Observers, Pools, give_back_once_prepared
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents
from tests.unit.conftest import config_with


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


@pytest.mark.parametrize(("node_start_s", "grown"), [(1.0, 4), (500.0, 1)])
def test_how_long_a_node_takes_to_start_is_a_setting(node_start_s, grown):
    events = SimulatedEvents()
    config = config_with(runtime__node_start_s=node_start_s)
    engines = FAKE.model_copy(update={"image_embedder": FAKE.image_embedder.model_copy(update={"max_replicas": 4})})
    session = SimpleNamespace(
        events=events,
        another_engine=lambda role, number: SimulatedActor(lambda batch: 5.0),
        image_bytes=lambda: 2**29,
        serving=("image_embedder",),
    )
    observers = Observers(SimpleNamespace(batch=lambda *of: None), SimpleNamespace(), NoRunMetrics())
    pools = Pools(config, engines, session, SimpleNamespace(), observers)
    pool = pools.make("image_embedder", [SimulatedActor(lambda batch: 5.0)], lambda: 0)
    list(pool.map([("image",)] * 60))
    assert pool.num_actors == grown


def test_the_display_shows_no_pool_whose_engines_shards_call():
    """How busy they are, and whether they are lost, depends on private records."""
    events, progress = SimulatedEvents(), Progress(Console(quiet=True))
    session = SimpleNamespace(events=events, image_bytes=lambda: 2**29, serving=("image_embedder",))
    observers = Observers(SimpleNamespace(batch=lambda *of: None), progress, NoRunMetrics())
    pools = Pools(config_with(), FAKE, session, SimpleNamespace(entry=lambda *of: None), observers)
    for role in ("writer", "renderer", "image_embedder"):
        pools.make(role, [SimulatedActor(lambda batch: 5.0)], lambda: 0)
    assert [pool.role for pool in progress.reading().pools] == ["writer", "renderer"]
