"""What waits between the stages is counted in bytes, and a lost image comes back, whatever its size."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.io.images import read_png
from spti_ray.runtime.scheduling.events import Finished, InputLost
from spti_ray.runtime.scheduling.image_budget import ImageBudget
from spti_ray.runtime.scheduling.lost_images import render_again
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.simulated import SimulatedActor, SimulatedEvents
from spti_ray.types import ImageBatch, RenderBatch


def batch(number: int, images: int = 2) -> RenderBatch:
    return RenderBatch(("a cat",) * images, tuple(range(number, number + images)))


class Elsewhere:
    """An image in memory that may be lost."""

    def __init__(self, png: bytes) -> None:
        self.png = png
        self.num_bytes = len(png)

    def read(self) -> bytes:
        return self.png


class Rendering(SimulatedEvents):
    """Renderers whose images have `size` bytes, and embedders, each with its first byte as the row.

    `lost`: images of these seeds are gone when an embedder is first sent them.
    """

    def __init__(self, size: int = 100, lost: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.size, self.lost = size, set(lost)
        self.rendered: list[RenderBatch] = []

    def call(self, actor, arguments, done):
        (given,) = arguments

        def back(outcome):
            if not isinstance(outcome, Finished):
                done(outcome)
            elif isinstance(given, RenderBatch):
                self.rendered.append(given)
                pngs = [bytes([seed]) * self.size for seed in given.seeds]
                done(replace(outcome, result=[Elsewhere(png) for png in pngs]))
            elif any(image.read()[0] in self.lost for image in given):
                self.lost -= {image.read()[0] for image in given}
                done(InputLost())
            else:
                done(replace(outcome, result=[image.read()[0] for image in given]))

        super().call(actor, arguments, back)


def test_a_batch_counts_until_nobody_has_an_image_of_it():
    budget = ImageBudget(lambda: 1000)
    images = budget.hold(batch(0, 3), [b"x" * 30, None, b"y" * 5])
    assert budget.held == 35 and images[1] is None and read_png(images[2]) == b"yyyyy"
    kept = images[2]
    del images
    assert budget.held == 35, "a batch is one object in the store"
    del kept
    assert budget.held == 0 and budget.peak == 35


def test_there_is_room_for_those_under_way_at_the_mean_size():
    room = 100
    budget = ImageBudget(lambda: room)
    assert budget.has_room(50), "nothing is known of their size yet"
    held = budget.hold(batch(0), [b"x" * 10, b"x" * 10])
    assert budget.has_room(3) and not budget.has_room(4)
    del held
    assert budget.has_room(4) and not budget.has_room(5)
    room = 200
    assert budget.has_room(9), "the cluster has grown"


def test_images_that_wait_for_a_slow_batch_take_no_more_than_they_may():
    events, budget = Rendering(), ImageBudget(lambda: 1500)
    actors = [SimulatedActor(lambda given: 1000.0 if given.seeds[0] == 0 else 1.0) for _ in range(4)]
    pool = Pool("renderer", actors, events, images=budget)
    seen = []
    for images in pool.map((batch(2 * number),) for number in range(60)):
        seen += [image.read()[0] for image in images]
        del images
    assert seen == list(range(120)) and 1000 < budget.peak <= 1500
    unbounded = ImageBudget(lambda: 10**9)
    pool = Pool("renderer", [SimulatedActor(actor.seconds) for actor in actors], Rendering(), images=unbounded)
    for images in pool.map((batch(2 * number),) for number in range(60)):
        del images
    assert unbounded.peak > 1500, "else the bound is not what was seen"


@given(st.integers(0, 900), st.integers(1, 3))
def test_streams_that_feed_each_other_end_however_little_may_wait(most, engines):
    """The second is rendered from the first, by the same pool, and embedded."""
    events, budget = Rendering(), ImageBudget(lambda: most)
    renderers = [SimulatedActor(lambda given: 1.0) for _ in range(engines)]
    renderer = Pool("renderer", renderers, events, images=budget)
    embedder = Pool("image_embedder", [SimulatedActor(lambda given: 0.5)], events)
    first = renderer.map((batch(2 * number),) for number in range(20))
    second = renderer.map((batch(images[0].read()[0]),) for images in first)
    rows = embedder.map((ImageBatch(images),) for images in second)
    assert [row for pair in rows for row in pair] == list(range(40))


@pytest.mark.parametrize("lost", [(0,), (3, 4, 17), tuple(range(40))])
def test_images_that_are_lost_before_they_are_embedded_are_rendered_again(lost):
    events, budget = Rendering(lost=lost), ImageBudget(lambda: 10**6)
    renderer = Pool("renderer", [SimulatedActor(lambda given: 1.0)] * 1, events, images=budget)

    def restore(images, then):
        render_again(events, renderer, images, then)

    embedder = Pool("image_embedder", [SimulatedActor(lambda given: 0.5)], events, restore=restore)
    images = renderer.map((batch(2 * number),) for number in range(20))
    rows = embedder.map((ImageBatch(pair),) for pair in images)
    assert [row for pair in rows for row in pair] == list(range(40))
    again = events.rendered[:]
    for number in range(20):
        again.remove(batch(2 * number))
    assert {made.seeds[0] // 2 for made in again} == {seed // 2 for seed in lost}
    assert embedder.given_up == 0


def test_an_image_that_is_lost_again_and_again_is_given_up():
    events, budget = Rendering(), ImageBudget(lambda: 10**6)
    renderer = Pool("renderer", [SimulatedActor(lambda given: 1.0)], events, images=budget)

    class Always(SimulatedEvents):
        def call(self, actor, arguments, done):
            super().call(actor, arguments, lambda outcome: done(InputLost()))

    broken = Always()
    embedder = Pool("image_embedder", [SimulatedActor(lambda given: 0.5)], broken, restore=lambda images, then: then())
    (made,) = renderer.map([(batch(0),)])
    assert list(embedder.map([(ImageBatch(made),)])) == [None] and embedder.given_up == 1


def test_what_restores_puts_the_new_image_where_the_old_one_was():
    events, budget = Rendering(), ImageBudget(lambda: 10**6)
    renderer = Pool("renderer", [SimulatedActor(lambda given: 1.0)], events, images=budget)
    (made,) = renderer.map([(batch(7),)])
    before = [image.image for image in made]
    done, kept = [], list(made)
    render_again(events, renderer, kept, lambda: done.append(True))
    while not done:
        events.wait()
    assert all(new.image is not old for new, old in zip(kept, before, strict=True))
    assert budget.held == 200
