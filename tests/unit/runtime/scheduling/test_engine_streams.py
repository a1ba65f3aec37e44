"""A generation through pools of SIMULATED actors: what one stage gives the next says how much there will be."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import pytest

from spti_ray.config import ROLES
from spti_ray.models.factory import FAKE
from spti_ray.models.pixels import to_png
from spti_ray.models.render_calls import render_call
from spti_ray.public.counted import to_come
from spti_ray.public.image_population import ImagePopulation
from spti_ray.public.population import Population
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.events import Finished
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents
from spti_ray.types import Selected


class Answering(SimulatedEvents):
    """Each actor only takes time, and its `answer` says what comes of a batch then."""

    def call(self, actor, arguments, done):
        def answered(outcome):
            done(Finished(actor.answer(*arguments), outcome.seconds) if isinstance(outcome, Finished) else outcome)

        super().call(actor, arguments, answered)


@dataclass
class Fleet:
    """Pools of all roles, of one actor each, which may grow to 30. The writer is so fast that the run waits for others.

    `largest`: how many actors each pool has had, those included that were to come up.
    """

    fakes: object
    seconds: float = 1.0
    start_s: float = 0.0
    largest: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.events = Answering()
        answers = {
            "writer": self.fakes._write,
            "renderer": self._render,
            "image_embedder": self.fakes._embed_images,
            "text_embedder": self.fakes._text_embedder.embed_texts,
            "captioner": None,
        }

        def actor(role, start_s=0.0):
            made = SimulatedActor(lambda batch: 0.01 if role == "writer" else self.seconds, start_s=start_s)
            made.answer = answers[role]
            return made

        def another(role):
            self.largest[role] = max(self.largest[role], 1 + self.pools[role].num_actors)
            return actor(role, self.events.now() + self.start_s)

        limits = Limits(node_start_s=self.start_s)
        self.pools = {
            role: Pool(role, [actor(role)], self.events, limits, grow=partial(another, role), most=30) for role in ROLES
        }
        fours = {str(role): FAKE.of(role).model_copy(update={"batch_size": 4}) for role in ROLES}
        self.engines = PooledEngines(self.pools, FAKE.model_copy(update=fours))

    def _render(self, batch):
        method, arguments = render_call(batch)
        return [to_png(image) for image in getattr(self.fakes._renderer, method)(*arguments)]


@pytest.fixture
def fleet(local_engines):
    return lambda answer=None, **settings: Fleet(local_engines(answer=answer), **settings)


def texts():
    """A writer that never says the same twice."""
    new = iter(range(10**6))
    letters = "abcdefghij"
    return lambda request: "a toy " + "".join(letters[int(digit)] for digit in f"{next(new):04d}")


def generation(config, fleet, are_images=False):
    """The first generation, and one of its variations, embedded."""
    population = ImagePopulation(config) if are_images else Population(config, fleet.engines)
    scoring = Scoring(config, fleet.engines, population.variations, ScoreCache(), are_images)
    first = scoring.embed(population.random_api()).candidates
    selected = [Selected(candidate, 1, 1) for candidate in list(first)[: len(first) // 2]]
    return [first, scoring.embed(population.variation_api(1, selected)).candidates]


@pytest.mark.parametrize("voting", ["image", "caption", "joint"])
def test_60_candidates_never_make_more_renderers_than_have_batches(make_config, fleet, voting):
    """15 batches, two at a time: 8 engines."""
    running = fleet(texts(), seconds=30.0)
    config = make_config(evolution={"generations": 2, "candidates": 60, "voting": voting})
    assert [len(candidates) for candidates in generation(config, running)] == [60, 60]
    assert 2 <= max(running.largest.values()) <= 8


def test_60_candidates_that_are_rendered_before_a_node_is_there_make_nobody_ask_for_one(make_config, fleet):
    running = fleet(texts(), seconds=15.0, start_s=300.0)
    generation(make_config(evolution={"generations": 2, "candidates": 60}), running)
    assert not running.largest and running.events.now() < 500


@pytest.mark.parametrize(
    ("are_images", "evolution"),
    [
        (False, {}),
        (False, {"keep_survivors": False}),
        (False, {"labels": ["cat", "dog"]}),  # the text embedder compares texts with them
        (False, {"voting": "joint", "lookahead": 3}),
        (True, {"lookahead": 2}),
        (True, {}),
    ],
)
def test_every_stage_of_a_generation_knows_how_much_is_to_come(make_config, fleet, monkeypatch, are_images, evolution):
    """No more than there is, and in the end nothing: what failed, and what survives, is not counted on."""
    told = {role: [] for role in ROLES}
    running = fleet(texts())
    for role, pool in running.pools.items():
        monkeypatch.setattr(pool._actors, "end_period", lambda left, _, role=role: told[role].append(left()))
    method = "pe-image" if are_images else "spti"
    evolution = {"generations": 2, "candidates": 60, **evolution}
    config = make_config(evolution=evolution, method=method, prompts__hold_subject=True)
    generation(config, running, are_images)
    renders = 60 * evolution.get("lookahead", 1) + 60 * (are_images and "lookahead" in evolution)
    assert all(left is not None for lefts in told.values() for left in lefts)
    assert bool(told["text_embedder"]) == ("labels" in evolution or evolution.get("voting") == "joint")
    assert told["renderer"] and max(told["renderer"]) <= -(-renders // 4)
    for role in told:
        assert not told[role] or told[role][-1] <= 2


def test_a_stream_of_answers_counts_those_that_wait_for_an_older_one(fleet):
    running = fleet()
    rows = running.engines.embed_texts(["a cat"] * 10)
    assert to_come(rows) == 10
    next(rows)
    assert to_come(rows) == 9
    assert len(list(rows)) == 9 and to_come(rows) == 0
