"""How many bytes of images may wait between the stages: rendered, and not embedded and written yet.

A batch of 16 large images has ten megabytes and more, and a thousand engines render hundreds of them while one that is
slow holds back their order. What is bounded is therefore bytes, beside the number of batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from spti_ray.io.images import num_bytes, read_png
from spti_ray.types import Image, RenderBatch

_WEIGHT = 0.1
"""Of the newest batch in the mean size."""


class HeldImage:
    """An image that counts until nobody has it any more.

    `made_of` is the batch that it was rendered in, as image `number`: by it a lost one is rendered again.
    """

    __slots__ = ("_gone", "image", "made_of", "num_bytes", "number")

    def __init__(self, image: Image, gone: deque[int], made_of: RenderBatch, number: int) -> None:
        self.image = image
        self.num_bytes = num_bytes(image)
        self.made_of = made_of
        self.number = number
        self._gone = gone

    def read(self) -> bytes | memoryview:
        return read_png(self.image)

    def __del__(self) -> None:
        self._gone.append(self.num_bytes)  # on whichever thread: only this is safe


class ImageBudget:
    """Counts images, and says whether more may be rendered.

    Args:
        most: bytes that may wait; asked for again and again, since a cluster grows.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._held = 0
        self._gone: deque[int] = deque()
        self._mean_bytes = 0.0
        self.peak = 0
        """Most bytes that have waited at a time."""

    @property
    def held(self) -> int:
        """Bytes that wait."""
        while self._gone:
            self._held -= self._gone.popleft()
        return self._held

    def hold(self, made_of: RenderBatch, images: Sequence[Image | None]) -> list[HeldImage | None]:
        """The images of a batch, each of which counts from now on."""
        held = [
            None if image is None else HeldImage(image, self._gone, made_of, number)
            for number, image in enumerate(images)
        ]
        size = sum(image.num_bytes for image in held if image is not None)
        self._mean_bytes += (size - self._mean_bytes) * (_WEIGHT if self._mean_bytes else 1.0)
        self._held += size
        self.peak = max(self.peak, self.held)
        return held

    def has_room(self, under_way: int) -> bool:
        """Whether one more batch may be rendered, beside those `under_way`, which will have the mean size."""
        return self.held + (under_way + 1) * self._mean_bytes <= self._most()


def place_of(image: Image) -> Any:
    """The image itself, without what counts it."""
    return image.image if isinstance(image, HeldImage) else image
