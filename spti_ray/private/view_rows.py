# pyright: strict
"""From records to the rows of a shard's views: read ahead, embedded in batches of one size, in their order.

Images live for the micro-batch before theirs and their own. A record on which an engine fails has a problem in its row.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace

from spti_ray.private.embedding import BatchEmbedder
from spti_ray.private.read_ahead import read_ahead
from spti_ray.private.record import Record
from spti_ray.private.view_store import ViewRow
from spti_ray.private.views import NO_GROUP, NO_LABEL, QuantArray
from spti_ray.types import ImageArray, Space

VIEW_FAILED: Mapping[Space, str] = {"image": "image embedding failed", "text": "caption or its embedding failed"}
"""Problems of a record beside those of `record`, `encoded` and `decode`."""


def view_rows(
    records: Iterator[Record],
    embedder: BatchEmbedder,
    batch_size: int,
    label_names: tuple[str, ...],
    seen: Callable[[Record], None],
) -> Generator[ViewRow]:
    """The row of each record, in order. PRIVATE.

    Args:
        records: read and decoded on another thread while the engines have the batch before.
        embedder: gives the vectors of a batch.
        batch_size: images in each batch.
        label_names: the configured labels.
        seen: gets each record as it is read.

    Raises:
        DataError: the data can't be read.
        EngineDead: an engine is gone.
        ShardError: an engine fails on a blank image too, so that no record is at fault.
    """
    group_codes: dict[str, int] = {}
    # Records since the last call of the engines, in order; those without an image only keep their place.
    waiting: list[tuple[ViewRow, ImageArray | None]] = []

    def embedded() -> Iterator[ViewRow]:
        found = iter(embedder.embed([image for _, image in waiting if image is not None]))
        for row, image in waiting:
            yield row if image is None else _with_vectors(row, next(found))
        waiting.clear()

    with closing(read_ahead(records, batch_size)) as ahead:
        for record in ahead:
            seen(record)
            group = record.group
            row = ViewRow(
                index=record.index,
                label=NO_LABEL if record.label is None else label_names.index(record.label),
                # Codes instead of names: a group's name (a patient, a user) is not needed from here on.
                group=NO_GROUP if group is None else group_codes.setdefault(group, len(group_codes)),
                problem=None if record.image is not None else record.problem or "unknown",
                vectors={},
            )
            waiting.append((row, record.image))
            if sum(image is not None for _, image in waiting) in (0, batch_size):
                yield from embedded()
    yield from embedded()


def _with_vectors(row: ViewRow, vectors: Mapping[Space, QuantArray | None]) -> ViewRow:
    """The row with its vectors, and the problem of the first space that has none."""
    failed = next((VIEW_FAILED[space] for space, vector in vectors.items() if vector is None), None)
    return replace(
        row, problem=failed, vectors={space: vector for space, vector in vectors.items() if vector is not None}
    )
