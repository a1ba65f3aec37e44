"""Public images in Ray's object store: the driver has references to them, and hands these on.

A rendered batch is one object, in the store of the renderer's node: its PNGs one after the other. The image embedder's
node fetches it from there, and so do the threads that write, each when it needs it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayError

from spti_ray.runtime.scheduling.image_budget import uncounted
from spti_ray.types import Image, ImageLost

_FETCH_S = 300.0
"""An object that doesn't come within this time counts as lost."""


ByteArray = npt.NDArray[np.uint8]
"""Bytes that a process reads where they lie, in memory that it shares with the store."""


class ImageInStore:
    """One image of a batch."""

    __slots__ = ("_offset", "num_bytes", "reference")

    def __init__(self, reference: Any, offset: int, num_bytes: int) -> None:
        self.reference = reference
        self._offset = offset
        self.num_bytes = num_bytes

    @property
    def range(self) -> tuple[int, int]:
        """From where to where it is in its batch."""
        return self._offset, self._offset + self.num_bytes

    def read(self) -> memoryview:
        try:
            batch: Any = ray.get(self.reference, timeout=_FETCH_S)
        except RayError:
            raise ImageLost from None
        return memoryview(batch)[slice(*self.range)]


def put_together(pngs: Sequence[bytes | None]) -> tuple[ByteArray, tuple[int, ...]]:
    """The images of a batch as one object, and the length of each; -1 of one that is missing."""
    together = b"".join(png for png in pngs if png is not None)
    return np.frombuffer(together, np.uint8), tuple(-1 if png is None else len(png) for png in pngs)


class ImagesInStore(Sequence["ImageInStore | None"]):
    """The images of a batch that has them in the order of their lengths; -1 stands for one that is missing."""

    __slots__ = ("_lengths", "_reference")

    def __init__(self, reference: Any, lengths: Sequence[int]) -> None:
        self._reference = reference
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, number: Any) -> Any:
        length = self._lengths[number]
        if length < 0:
            return None
        return ImageInStore(self._reference, sum(max(0, before) for before in self._lengths[:number]), length)

    def __iter__(self) -> Iterator[ImageInStore | None]:
        offset = 0
        for length in self._lengths:
            yield None if length < 0 else ImageInStore(self._reference, offset, length)
            offset += max(0, length)


def taken_apart(places: bytes, parts: Sequence[bytes | ByteArray]) -> list[bytes]:
    """The images of a call that was sent as `to_send` says, once Ray has fetched its parts."""
    rows = np.frombuffer(places, np.int64).reshape(-1, 3)
    return [_bytes_of(parts[part][begin:end]) for part, begin, end in rows.tolist()]


def _bytes_of(part: bytes | ByteArray) -> bytes:
    return part if isinstance(part, bytes) else part.tobytes()


def to_send(images: Sequence[Image]) -> tuple[bytes, list[Any]]:
    """What an embedder's actor is sent for these images.

    Returns:
        For each image the number of its part, and from where to where it is in it, as 64-bit integers (Ray passes bytes
        on as they are, and pickles all else); and the parts. One that is a reference is fetched by the actor's node.
    """
    places = array("q")
    parts: list[Any] = []
    last: Any = None
    for image in images:
        inner = uncounted(image)
        if not isinstance(inner, ImageInStore):
            parts.append(inner)
            places.extend((len(parts) - 1, 0, len(inner)))
            last = None
            continue
        if inner.reference is not last:
            last = inner.reference
            parts.append(last)
        places.extend((len(parts) - 1, *inner.range))
    return places.tobytes(), parts
