"""Images on real Ray: from the renderer to the embedder, to what is kept and to the release, past the driver."""

import threading
import time
from functools import partial

import numpy as np
import pytest
import ray

from spti_ray.bench.pools import engines_of
from spti_ray.config import EngineConfig
from spti_ray.models.factory import FAKE
from spti_ray.models.fakes import FakeImageEmbedder
from spti_ray.models.pixels import from_png, to_png
from spti_ray.public.engines import RenderJob
from spti_ray.public.image_writer import ImageWriter
from spti_ray.runtime.ray import images as module
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.ray.images import ImageInStore, ImagesInStore
from spti_ray.runtime.ray.launch import actor_class
from spti_ray.runtime.scheduling.call_length import CallLength
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.image_budget import ImageBudget
from spti_ray.runtime.scheduling.lost_images import render_again
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.result_cache import ResultCache
from tests.ray.large_images import image_of

pytestmark = pytest.mark.usefixtures("ray_cluster")

SETTINGS = {
    "renderer": EngineConfig(kind="tests.ray.large_images:LargeImages", model="SIMULATED", batch_size=4),
    "image_embedder": FAKE.image_embedder.model_copy(update={"batch_size": 3}),
}
JOBS = [RenderJob("a cat", seed) for seed in range(10)]


@pytest.fixture(scope="module")
def actors(ray_cluster):
    options = {"num_cpus": 0.01, "max_restarts": -1, "max_task_retries": 0}
    return {role: actor_class(role).options(**options).remote(role, engine) for role, engine in SETTINGS.items()}


@ray.remote(num_cpus=0.01)
class Owner:
    """An object of its own is lost with it."""

    def put(self):
        return [ray.put(np.zeros(500_000, np.uint8))]


class Stages:
    """Pools of the two stages as a run has them."""

    def __init__(self, actors, cache=None, **more) -> None:
        self.events, self.budget = RayEvents(), ImageBudget(lambda: 50_000_000)
        self.renderer = Pool("renderer", [actors["renderer"]], self.events, images=self.budget, cache=cache, **more)
        restore = lambda images, then: render_again(self.events, self.renderer, images, then)  # noqa: E731
        embedder = Pool("image_embedder", [actors["image_embedder"]], self.events, restore=restore, **more)
        self.streams = PooledEngines({"renderer": self.renderer, "image_embedder": embedder}, engines_of(SETTINGS))


def expected_rows():
    return FakeImageEmbedder(FAKE.image_embedder).embed_images([image_of(job.seed) for job in JOBS])


def _are_gone(stages: Stages) -> None:
    """A thread of Ray's lets go of the last call a moment after its result is there."""
    for _ in range(3000):
        if not stages.budget.held:
            return
        time.sleep(0.01)
    raise AssertionError(f"{stages.budget.held} bytes of images are held by somebody")


def test_images_are_embedded_kept_and_written_and_the_drivers_thread_fetches_none(actors, tmp_path, monkeypatch):
    threads, get = set(), ray.get

    def noted(*arguments, **more):
        threads.add(threading.current_thread().name)
        return get(*arguments, **more)

    monkeypatch.setattr(module.ray, "get", noted)
    cache = ResultCache(tmp_path / "units", "one")
    stages = Stages(actors, partial(cache.entry, "renderer"))
    with ImageWriter(tmp_path) as writer:

        def seen():
            for number, image in enumerate(stages.streams.render(JOBS)):
                assert isinstance(image.image, ImageInStore) and image.num_bytes > 100_000
                writer.put(f"{number}.png", image)
                yield image

        rows = list(stages.streams.embed_images(seen()))
        assert writer.finish() == set()
    cache.settle()
    np.testing.assert_array_equal(np.stack(rows), expected_rows())
    for job in JOBS:
        np.testing.assert_array_equal(from_png((tmp_path / f"{job.seed}.png").read_bytes()), image_of(job.seed))
    assert threads == {"release images", "kept results"}
    monkeypatch.undo()
    again = Stages(actors, partial(ResultCache(tmp_path / "units", "one").entry, "renderer"))
    assert [image.read() for image in again.streams.render(JOBS)] == [to_png(image_of(job.seed)) for job in JOBS]
    cache.close()


def test_what_nobody_has_any_more_is_gone_from_the_store_and_from_the_count(actors):
    stages = Stages(actors)
    assert len(list(stages.streams.embed_images(stages.streams.render(JOBS)))) == 10
    assert stages.budget.peak > 400_000
    _are_gone(stages)


def test_images_that_are_lost_before_they_are_embedded_are_rendered_again(actors):
    stages = Stages(actors)
    images = list(stages.streams.render(JOBS))
    owner = Owner.remote()
    (reference,) = ray.get(owner.put.remote())
    ray.kill(owner)
    images[5].batch.images = ImagesInStore(reference, [images[5].num_bytes] * 4)
    while True:
        try:
            images[5].read()
        except module.ImageLost:
            break
        time.sleep(0.05)
    rows = list(stages.streams.embed_images(images))
    np.testing.assert_array_equal(np.stack(rows), expected_rows())


class Several(CallLength):
    def batches(self, num_actors: int) -> int:
        return 3


def test_several_batches_in_a_call_make_what_each_makes(actors):
    stages = Stages(actors, call_length=Several(""))
    rows = list(stages.streams.embed_images(stages.streams.render(JOBS)))
    np.testing.assert_array_equal(np.stack(rows), expected_rows())
    _are_gone(stages)
