"""References to images instead of images: what actors are sent and what comes back; without Ray."""

import asyncio
from concurrent.futures import Future

import numpy as np
import pytest
from ray.exceptions import ObjectFreedError, RayTaskError

from spti_ray.models.factory import FAKE
from spti_ray.models.pixels import to_png
from spti_ray.runtime.ray.engine_actor import PrivateEngineActor, RendererActor
from spti_ray.runtime.ray.events import RayEvents, _outcome, _outcomes
from spti_ray.runtime.ray.images import ImageInStore, ImagesInStore, to_send
from spti_ray.runtime.scheduling.events import Finished, InputLost, Lost, Raised
from spti_ray.runtime.scheduling.image_budget import ImageBudget
from spti_ray.types import ImageBatch, RenderBatch


def plain(remote):
    """The class inside an actor class of Ray's."""
    return remote.__ray_metadata__.modified_class.__ray_actor_class__


class Method:
    """A method of an actor whose calls have returned."""

    def __init__(self, result) -> None:
        self.result, self.arguments = result, None

    def remote(self, *arguments):
        self.arguments = arguments
        return self.result


class Done:
    """A reference to what is there."""

    def __init__(self, result) -> None:
        self._future: Future = Future()
        self._future.set_result(result)

    def future(self):
        return self._future


def called(actor, argument):
    outcomes = []
    events = RayEvents()
    events.call(actor, (argument,), outcomes.append)
    events.wait()
    return outcomes[0]


def test_of_a_rendered_batch_the_driver_gets_references_and_lengths_alone():
    class Actor:
        run_apart = Method(("a reference", Done(((5, -1, 7), 0.25))))

    outcome = called(Actor, RenderBatch(("a",) * 3, (1, 2, 3)))
    assert isinstance(outcome, Finished) and outcome.seconds == 0.25
    first, missing, last = outcome.result
    assert [outcome.result[n] and outcome.result[n].range for n in range(3)] == [first.range, None, last.range]
    assert missing is None and {first.reference, last.reference} == {"a reference"}
    assert (first.range, last.range) == ((0, 5), (5, 12))


def test_an_embedder_is_sent_each_batch_once_and_where_its_images_are():
    one, two = ImagesInStore("one", (5, 7)), ImagesInStore("two", (4,))
    budget = ImageBudget(lambda: 10**6)
    held = budget.hold(RenderBatch(("a",), (1,)), [two[0]])
    places, parts = to_send([one[0], one[1], *held, b"png"])
    assert np.frombuffer(places, np.int64).tolist() == [0, 0, 5, 0, 5, 12, 1, 0, 4, 2, 0, 3]
    assert parts == ["one", "two", b"png"]

    class Actor:
        run_images = Method(Done((["row"], 0.5)))

    assert called(Actor, ImageBatch(one)) == Finished(["row"], 0.5)
    assert Actor.run_images.arguments == (to_send(one)[0], "one")


def test_an_embedder_embeds_the_images_that_its_parts_hold():
    images = [np.full((8, 8, 3), value, np.uint8) for value in (10, 200, 90)]
    pngs = [to_png(image) for image in images]
    engine = plain(PrivateEngineActor)("image_embedder", FAKE.image_embedder)
    joined = np.frombuffer(b"".join(pngs[:2]), np.uint8)
    places, _ = to_send([*ImagesInStore("batch", [len(png) for png in pngs[:2]]), pngs[2]])
    rows, _ = engine.run_images(places, joined, pngs[2])
    np.testing.assert_array_equal(rows, engine.run(pngs)[0])


def test_a_renderer_gives_its_images_apart_from_what_is_told_of_them():
    host = plain(RendererActor)("renderer", FAKE.renderer)
    given = RenderBatch(("a cat", "a dog"), (1, 2))
    joined, (lengths, seconds) = asyncio.run(host.run_apart(given))
    pngs, _ = asyncio.run(host.run(given))
    assert joined.tobytes() == b"".join(pngs) and lengths == tuple(map(len, pngs)) and seconds > 0


class Several:
    """A method whose calls return as many objects as were asked for."""

    def __init__(self, method) -> None:
        self.method = method

    def options(self, num_returns):
        self.num_returns = num_returns
        return self

    def remote(self, *arguments):
        *images, told = asyncio.run(self.method(*arguments))
        assert len(images) + 1 == self.num_returns
        return *images, Done(told)


def test_several_rendered_batches_come_back_each_with_its_images_and_one_that_raises_takes_no_other_with_it():
    host = plain(RendererActor)("renderer", FAKE.renderer)
    good, other = RenderBatch(("a cat", "a dog"), (1, 2)), RenderBatch(("a fox",), (3,))
    bad = RenderBatch(("x",), (1,), (b"no png",), 0.5)

    class Actor:
        run_several_apart = Several(host.run_several_apart)

    outcomes = []
    events = RayEvents()
    events.call_several(Actor, [((batch,), outcomes.append) for batch in (good, bad, other)])
    events.wait()
    for outcome, batch in ((outcomes[0], good), (outcomes[2], other)):
        pngs, _ = asyncio.run(host.run(batch))
        found = [image.reference.tobytes()[slice(*image.range)] for image in outcome.result]
        assert found == pngs and outcome.seconds > 0
    assert isinstance(outcomes[1], Raised) and outcomes[1].error


def test_several_batches_are_embedded_and_of_one_that_raises_the_type_alone_is_told():
    engine = plain(PrivateEngineActor)("image_embedder", FAKE.image_embedder)
    pngs = [to_png(np.full((8, 8, 3), value, np.uint8)) for value in (10, 200, 90)]
    places, parts = to_send([*pngs, b"no png"])
    one, two, bad = engine.run_several_images([2, 1, 1], places, *parts)
    np.testing.assert_array_equal(np.concatenate([one[1][0], two[1][0]]), engine.run(pngs)[0])
    assert bad == (False, "UnidentifiedImageError")
    told = _outcomes(Finished([one, bad], 0.0), 2)
    assert isinstance(told[0], Finished) and told[1] == Raised("UnidentifiedImageError")
    assert _outcomes(Lost(), 3) == [Lost()] * 3


def test_a_lost_object_among_the_arguments_is_nobodys_fault():
    lost = RayTaskError("run_images", "trace", ObjectFreedError("ab", "", ""))
    future: Future = Future()
    future.set_exception(lost.as_instanceof_cause())
    assert _outcome(future) == InputLost()


@pytest.mark.parametrize("kind", [b"png", ImageInStore("r", 0, 3)])
def test_images_here_and_in_the_store_have_a_length(kind):
    budget = ImageBudget(lambda: 0)
    held = budget.hold(RenderBatch(("a",), (1,)), [kind])
    assert budget.held == 3
    del held
