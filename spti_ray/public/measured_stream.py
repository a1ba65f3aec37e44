"""Renders as they come, in order, each with what filters need to know of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import TypeVar

from spti_ray.public.engines import Engines
from spti_ray.public.image_measures import ImageMeasures, measure
from spti_ray.types import FloatArray, Image, ImageLost

_THREADS = 4
"""Reading and decoding an image leaves Python's lock to others most of the time."""

_AHEAD = 32
"""Images that may be measured at a time: their PNGs wait in memory."""

One = TypeVar("One")


class Lost(Enum):
    """In place of the measures of an image that was lost before it could be read."""

    LOST = "lost"


LOST = Lost.LOST
Found = ImageMeasures | Lost | None


def measured(
    images: Iterator[tuple[One, Image | None]], engines: Engines | None
) -> Iterator[tuple[One, Found, FloatArray | None]]:
    """Measure a stream of images while later ones are still rendered.

    Args:
        images: Who each is, and the image; None where none was made.
        engines: Have the image embedder; None if no embedding is needed.

    Yields:
        Who each is, in the same order, its measures (None where none was made), and its embedding, where there is one.
    """
    if engines is None:
        yield from ((one, found, None) for one, found in _measured(images))
        return
    waiting: deque[tuple[One, Found]] = deque()

    def pngs() -> Iterator[bytes]:
        for one, found in _measured(images):
            waiting.append((one, found))
            if isinstance(found, ImageMeasures):
                yield found.png

    for row_E in engines.embed_images(pngs()):
        while not isinstance(waiting[0][1], ImageMeasures):
            yield (*waiting.popleft(), None)
        yield (*waiting.popleft(), row_E)
    yield from ((*one, None) for one in waiting)


def _measured(images: Iterator[tuple[One, Image | None]]) -> Iterator[tuple[One, Found]]:
    at_work: deque[tuple[One, Future[ImageMeasures] | None]] = deque()
    with ThreadPoolExecutor(_THREADS, "measures") as threads:
        try:
            for one, image in images:
                at_work.append((one, None if image is None else threads.submit(measure, image)))
                if len(at_work) > _AHEAD:
                    yield _result(*at_work.popleft())
            while at_work:
                yield _result(*at_work.popleft())
        finally:
            for _, future in at_work:
                if future is not None:
                    future.cancel()


def _result(one: One, future: Future[ImageMeasures] | None) -> tuple[One, Found]:
    try:
        return one, None if future is None else future.result()
    except ImageLost:
        return one, LOST
