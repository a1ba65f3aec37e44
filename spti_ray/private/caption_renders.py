# pyright: strict
"""Renders of the captions of private images. NOT differentially private: an upper limit to compare releases with.

Everything that is made here belongs to the data's owner and stays in the run's internal folder. A caption lives for one
micro-batch, from the captioner to the renderer, and is written nowhere.

There is no formal guarantee of privacy. As with `Shard`, repr and exceptions carry no content.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.io.files import private_folder, write_atomic
from spti_ray.models.protocols import EngineDead
from spti_ray.private.captions import NO_CAPTION, PrivateText
from spti_ray.private.dataset import load_shard
from spti_ray.private.embedding import BLANK, Caption
from spti_ray.private.kinds import Unit
from spti_ray.private.record import Record
from spti_ray.private.safe_errors import ShardError, safe_errors
from spti_ray.types import ImageArray, derive_seed, split_by_share

Render = Callable[[Sequence[PrivateText], list[int]], Sequence[ImageArray]]
"""From captions and seeds to uint8 [H, W, 3] images."""

CAPTION_FAILED = "caption or its render failed"


class CaptionedShard:
    """The records of one shard, a sample of which is captioned and rendered. Call `make`, then `problems`.

    Args:
        wanted: by label, how many images this shard makes.
        seed: the run's; it decides which records are sampled, and the seeds of the renders.
        folder: where the images go, for their owner's eyes only.
        batch_size: the fixed number of images in every call of the captioner.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        shard_id: int,
        num_shards: int,
        unit: Unit,
        label_names: tuple[str, ...],
        wanted: Mapping[str, int],
        seed: int,
        folder: Path,
        batch_size: int = 16,
    ) -> None:
        self.shard_id = shard_id
        self._data, self._num_shards = data, num_shards
        self._unit: Unit = unit
        self._label_names = label_names
        self._wanted = dict(wanted)
        self._seed = seed
        self._folder = folder
        self._batch_size = batch_size
        self._problems: list[tuple[int, str]] = []
        self.has_records = False
        """PRIVATE: whether any record could be used, once `make` was called."""

    def __repr__(self) -> str:
        return f"<CaptionedShard {self.shard_id} of {self._num_shards}>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a CaptionedShard is private and is never pickled")

    @safe_errors("rendering captions")
    def make(self, caption: Caption, render: Render) -> None:
        """Caption and render the sample. Images that an interrupted run left are kept.

        A record on which an engine fails, in a batch and then by itself, has no image; see `problems`.

        Raises:
            DataError: the data can't be read.
            EngineDead: an engine is gone.
            ShardError: the engines fail on a blank image too.
        """
        private_folder(self._folder)
        files = self._files()
        self._problems = []
        waiting: list[Record] = []
        for record in self._records():
            self.has_records |= record.image is not None
            if record.image is None:
                self._problems.append((record.index, record.problem or "unknown"))
            elif any(not path.exists() for path, _ in files.get(record.index, ())):
                waiting.append(record)
            if len(waiting) == self._batch_size:
                self._flush(waiting, files, caption, render)
        if waiting:
            self._flush(waiting, files, caption, render)

    @safe_errors("listing problems")
    def problems(self) -> list[tuple[int, str]]:
        """(record index, reason) of each record that could not be used. PRIVATE: for the owner's report only."""
        return list(self._problems)

    def _records(self) -> Iterator[Record]:
        return load_shard(self._data, self._unit, self.shard_id, self._num_shards, self._label_names)

    def _files(self) -> dict[int, list[tuple[Path, int]]]:
        """By record index, the (path, seed) of each image that is made of the record.

        The sample is without replacement, by hash. If more images are wanted than there are records, records get
        several.
        """
        chosen: dict[str, list[tuple[int, int]]] = {label: [] for label in self._label_names}
        for record in self._records():
            if record.image is None or record.label is None or not self._wanted.get(record.label):
                continue
            heap = chosen[record.label]
            entry = (-derive_seed(self._seed, record.index, "sample of captions"), record.index)
            if len(heap) < self._wanted[record.label]:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
        files: dict[int, list[tuple[Path, int]]] = {}
        for number, label in enumerate(self._label_names):
            indexes = sorted(index for _, index in chosen[label])
            counts = split_by_share(self._wanted.get(label, 0), [1.0] * len(indexes)) if indexes else []
            made = 0
            for index, count in zip(indexes, counts, strict=True):
                names = [f"{number:03d}-{self.shard_id:05d}-{made + i:06d}.png" for i in range(count)]
                seeds = [derive_seed(self._seed, index, i, "render of a caption") for i in range(count)]
                files[index] = [(self._folder / name, seed) for name, seed in zip(names, seeds, strict=True)]
                made += count
        return files

    def _flush(
        self, waiting: list[Record], files: Mapping[int, list[tuple[Path, int]]], caption: Caption, render: Render
    ) -> None:
        failed = self._attempt(waiting, files, caption, render)
        failed = [record for record in failed if self._attempt([record], files, caption, render)]
        # Whether the run stops is decided on public input, as for votes.
        if failed and not self._works(caption, render):
            raise ShardError(f"shard {self.shard_id}: the captioner or renderer fails on a blank image too")
        self._problems += [(record.index, CAPTION_FAILED) for record in failed]
        waiting.clear()

    def _attempt(
        self,
        records: Sequence[Record],
        files: Mapping[int, list[tuple[Path, int]]],
        caption: Caption,
        render: Render,
    ) -> list[Record]:
        """Make the records' images. Returns the records without one: all if an engine failed, else those without a
        caption."""
        images = [record.image for record in records if record.image is not None]
        try:
            captions = list(caption(images + [BLANK] * (self._batch_size - len(images))))[: len(images)]
            jobs = [
                (path, seed, text)
                for record, text in zip(records, captions, strict=True)
                if text is not None
                for path, seed in files[record.index]
            ]
            made = list(render([text for _, _, text in jobs], [seed for _, seed, _ in jobs])) if jobs else []
            for (path, _, _), image_HWC in zip(jobs, made, strict=True):
                write_atomic(path, _png(image_HWC), mode=0o600)
        except (EngineDead, OSError):
            raise
        except Exception:  # noqa: BLE001 an engine may fail in any way, and its text may be private
            return list(records)
        return [record for record, text in zip(records, captions, strict=True) if text is None]

    def _works(self, caption: Caption, render: Render) -> bool:
        try:
            # A working captioner may have no caption of a blank.
            text = next(iter(caption([BLANK] * self._batch_size))) or PrivateText(NO_CAPTION)
            return len(list(render([text], [0]))) == 1
        except EngineDead:
            raise
        except Exception:  # noqa: BLE001
            return False


def _png(image_HWC: ImageArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, format="PNG")
    return buffer.getvalue()
