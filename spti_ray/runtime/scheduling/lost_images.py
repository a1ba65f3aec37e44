"""Images that were lost with their machine between two stages are rendered again: each is defined by its batch."""

from __future__ import annotations

from collections.abc import Iterable

from spti_ray.runtime.scheduling.coroutine import Coroutine
from spti_ray.runtime.scheduling.events import Act, Events
from spti_ray.runtime.scheduling.image_budget import HeldImage
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.types import Image


def render_again(events: Events, renderer: Pool, images: Iterable[Image], then: Act) -> None:
    """Render all batches again in which some of the images were made, and put the new images in the place of the old.

    Args:
        events: those of the renderer.
        renderer: where they were rendered. What it kept of them for a later attempt is taken instead.
        images: of one batch of an embedder, some of which are lost. Which is not known.
        then: is called when they are there.
    """
    lost = {id(image.batch): image.batch for image in images if isinstance(image, HeldImage)}

    def render() -> None:
        batches = lost.values()
        for old, new in zip(batches, renderer.map((batch.made_of,) for batch in batches), strict=True):
            if new is not None:
                old.images = new.images
        then()

    again = Coroutine(render)
    events.afterwards(again.resume)
    again.resume()
