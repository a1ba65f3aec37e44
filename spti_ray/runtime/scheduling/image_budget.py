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


class HeldBatch(Sequence["HeldImage | None"]):
    """The images of a batch, which count until nobody has one of them any more.

    One object for all of them, since ten thousand engines have a hundred thousand batches that wait. `made_of` is what
    they were rendered from: by it lost ones are rendered again.
    """

    __slots__ = ("_gone", "images", "made_of", "num_bytes")

    def __init__(self, images: Sequence[Image | None], gone: deque[int], made_of: RenderBatch) -> None:
        self.images = images
        self.made_of = made_of
        self.num_bytes = sum(num_bytes(image) for image in images if image is not None)
        self._gone = gone

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: Any) -> Any:
        return None if self.images[number] is None else HeldImage(self, number)

    def __del__(self) -> None:
        self._gone.append(self.num_bytes)  # on whichever thread: only this is safe


class HeldImage:
    """Image `number` of a batch."""

    __slots__ = ("batch", "number")

    def __init__(self, batch: HeldBatch, number: int) -> None:
        self.batch = batch
        self.number = number

    @property
    def image(self) -> Image:
        """The image itself."""
        image = self.batch.images[self.number]
        assert image is not None
        return image

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.image)

    def read(self) -> bytes | memoryview:
        return read_png(self.image)


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

    def hold(self, made_of: RenderBatch, images: Sequence[Image | None]) -> HeldBatch:
        """The images of a batch, which count from now on."""
        held = HeldBatch(images, self._gone, made_of)
        self._mean_bytes += (held.num_bytes - self._mean_bytes) * (_WEIGHT if self._mean_bytes else 1.0)
        self._held += held.num_bytes
        self.peak = max(self.peak, self.held)
        return held

    def has_room(self, under_way: int) -> bool:
        """Whether one more batch may be rendered, beside those `under_way`, which will have the mean size."""
        return self.held + (under_way + 1) * self._mean_bytes <= self._most()


def uncounted(image: Image) -> Any:
    """The image itself, without what counts it."""
    return image.image if isinstance(image, HeldImage) else image
