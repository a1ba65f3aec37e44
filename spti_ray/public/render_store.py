"""Stores a generation's renders on disk; in memory is only where each of them lies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import IO

from spti_ray.types import RenderedImage

_COMPACT_FROM_BYTES = 1 << 26
"""Bytes of deleted renders from which on the file is rewritten without them."""


class RenderStore(MutableMapping[str, RenderedImage]):
    """Renders by candidate id, in an unnamed file, which ends with the process and shrinks as renders are deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = self._new_file()
        self._places: dict[str, tuple[int, int, int, int]] = {}
        """Variant, seed, offset and length of the PNG, by candidate id."""
        self._wasted_bytes = 0

    def __getitem__(self, candidate_id: str) -> RenderedImage:
        variant, seed, offset, length = self._places[candidate_id]
        self._file.seek(offset)
        return RenderedImage(candidate_id, variant, seed, self._file.read(length))

    def __setitem__(self, candidate_id: str, render: RenderedImage) -> None:
        if render.candidate_id != candidate_id:
            raise ValueError(f"a render of {render.candidate_id} is not one of {candidate_id}")
        self._forget(candidate_id)
        offset = self._file.seek(0, 2)
        self._file.write(render.png)
        self._places[candidate_id] = render.variant, render.seed, offset, len(render.png)

    def __delitem__(self, candidate_id: str) -> None:
        if candidate_id not in self._places:
            raise KeyError(candidate_id)
        self._forget(candidate_id)
        kept_bytes = sum(length for *_, length in self._places.values())
        if self._wasted_bytes > max(_COMPACT_FROM_BYTES, kept_bytes):
            self._compact()

    def __contains__(self, candidate_id: object) -> bool:
        return candidate_id in self._places  # the inherited method reads the image

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _forget(self, candidate_id: str) -> None:
        *_, length = self._places.pop(candidate_id, (0, 0, 0, 0))
        self._wasted_bytes += length

    def _compact(self) -> None:
        kept, old = dict(self._places), self._file
        self._file, self._places, self._wasted_bytes = self._new_file(), {}, 0
        for candidate_id, (variant, seed, offset, length) in kept.items():
            old.seek(offset)
            self[candidate_id] = RenderedImage(candidate_id, variant, seed, old.read(length))
        old.close()

    def _new_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder)
