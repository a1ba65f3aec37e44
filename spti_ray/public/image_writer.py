"""Writes the images of a release, in batches and on threads of its own."""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path

from spti_ray.io.files import atomic_file, fsync_folder
from spti_ray.io.images import read_png
from spti_ray.io.write_threads import WriteThreads
from spti_ray.provenance.png_chunks import with_xmp
from spti_ray.types import Image, ImageLost

_THREADS = 8
"""A network volume takes its time to make a file durable, and takes several at a time."""

_BATCH = 16
"""Images whose names are made durable together."""


class ImageWriter:
    """A context in which images are put. Each is there whole and durably, or not at all.

    Args:
        folder: the files' names are relative to it.
        packet: the XMP that each image gets; None for images as they come.
    """

    def __init__(self, folder: Path, packet: str | None = None) -> None:
        self._folder = folder
        self._packet = packet
        self._writes = WriteThreads("release images", _THREADS)
        self._batch: list[tuple[str, Image]] = []
        self._lost: deque[str] = deque()

    def put(self, file: str, image: Image) -> None:
        """Write an image, soon.

        Raises:
            DiskFull: an earlier one could not be written.
        """
        self._batch.append((file, image))
        if len(self._batch) == _BATCH:
            self._submit()

    def finish(self) -> set[str]:
        """Wait until all are written. Returns the files of images that were lost before.

        Raises:
            DiskFull: no space left.
        """
        self._submit()
        self._writes.drain()
        lost = set(self._lost)
        self._lost.clear()
        return lost

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, also where the rendering was interrupted."""
        self._submit()
        self._writes.close()

    def _submit(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._writes.submit(partial(self._write, batch))

    def _write(self, batch: list[tuple[str, Image]]) -> None:
        folders: set[Path] = set()
        while batch:
            name, image = batch.pop(0)  # One that is written needs its memory no more.
            try:
                png = read_png(image)
            except ImageLost:
                self._lost.append(name)
                continue
            if self._packet is not None:
                png = with_xmp(png, self._packet)
            path = self._folder / name
            with atomic_file(path, sync_folder=False) as file:
                file.write(png)
            folders.add(path.parent)
            del image, png
        for folder in folders:
            fsync_folder(folder)
