"""Stores a generation's renders on disk; in memory is only where each of them lies."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from spti_ray.io.images import num_bytes, read_png
from spti_ray.io.write_threads import WriteThreads
from spti_ray.types import Image, ImageLost, RenderedImage

_COMPACT_FROM_BYTES = 1 << 26
"""Bytes of deleted renders from which on the file is rewritten without them."""

_BATCH = 16
"""Renders that the thread is given at a time: waking it costs more than telling it of one."""


@dataclass(frozen=True)
class _InFile:
    """A render in another file of the store's. It is read by the thread that copies it."""

    file: IO[bytes]
    offset: int
    num_bytes: int

    def read(self) -> bytes:
        return os.pread(self.file.fileno(), self.num_bytes, self.offset)


class RenderStore(MutableMapping[str, RenderedImage]):
    """Renders by candidate id, in an unnamed file, which ends with the process and shrinks as renders are deleted.

    A thread writes them, also those that lie on another machine. Whoever reads one waits until all are written. One
    that is lost on its way is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = self._new_file()
        self._end = 0
        self._places: dict[str, tuple[int, int, int, int]] = {}
        """Variant, seed, offset and length of the PNG, by candidate id."""
        self._wasted_bytes = 0
        self._writes = WriteThreads("renders")
        self._waiting: list[tuple[str, int, Image]] = []
        """Candidate id, offset and image of those that no thread has been given yet."""
        self._lost: deque[tuple[str, int]] = deque()
        """Candidate id and offset of renders that were lost."""

    def __getitem__(self, candidate_id: str) -> RenderedImage:
        if candidate_id in self._places:
            self._settle()
        variant, seed, offset, length = self._places[candidate_id]
        return RenderedImage(candidate_id, variant, seed, os.pread(self._file.fileno(), length, offset))

    def __setitem__(self, candidate_id: str, render: RenderedImage) -> None:
        if render.candidate_id != candidate_id:
            raise ValueError(f"a render of {render.candidate_id} is not one of {candidate_id}")
        self._forget(candidate_id)
        offset, length = self._end, num_bytes(render.png)
        self._end += length
        self._places[candidate_id] = render.variant, render.seed, offset, length
        self._waiting.append((candidate_id, offset, render.png))
        if len(self._waiting) == _BATCH:
            self._submit()

    def __delitem__(self, candidate_id: str) -> None:
        if candidate_id not in self._places:
            raise KeyError(candidate_id)
        self._forget(candidate_id)
        if self._wasted_bytes > max(_COMPACT_FROM_BYTES, self._end - self._wasted_bytes):
            self._compact()

    def __contains__(self, candidate_id: object) -> bool:
        return candidate_id in self._places  # the inherited method reads the image

    def __iter__(self) -> Iterator[str]:
        self._settle()
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _submit(self) -> None:
        """Have those that wait be written."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._writes.submit(partial(self._write, self._file, waiting))

    def _forget(self, candidate_id: str) -> None:
        *_, length = self._places.pop(candidate_id, (0, 0, 0, 0))
        self._wasted_bytes += length

    def _settle(self) -> None:
        """Wait until all are written, and forget those that could not be."""
        self._submit()
        self._writes.drain()
        while self._lost:
            candidate_id, offset = self._lost.popleft()
            if self._places.get(candidate_id, (0, 0, -1, 0))[2] == offset:
                self._forget(candidate_id)

    def _write(self, file: IO[bytes], renders: list[tuple[str, int, Image]]) -> None:
        for candidate_id, offset, image in renders:
            try:
                left = memoryview(read_png(image))
            except ImageLost:
                self._lost.append((candidate_id, offset))
                continue
            while left:
                written = os.pwrite(file.fileno(), left, offset)
                left, offset = left[written:], offset + written

    def _compact(self) -> None:
        self._settle()
        old, places = self._file, self._places
        self._file, self._places, self._wasted_bytes, self._end = self._new_file(), {}, 0, 0
        for candidate_id, (variant, seed, offset, length) in places.items():
            self[candidate_id] = RenderedImage(candidate_id, variant, seed, _InFile(old, offset, length))
        self._submit()
        self._writes.submit(old.close)

    def _new_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder)
