# pyright: strict
"""What one shard reads: which records are its own, and how each of them is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import StoragePath
from spti_ray.private.encoded import Encoded
from spti_ray.private.holdout import Part
from spti_ray.private.kinds import Unit
from spti_ray.private.record import Decoder, Record, decode_image, make_record
from spti_ray.types import SINGLE_LABEL

RECORDS_PER_FILE = 2**32
"""Of formats that are read from the start to know a record's number: a record's id is its file's times this, plus its
position."""


def shard_of_group(group: str, num_shards: int) -> int:
    """The shard of a group, by a hash of its name, so that a group never spans shards."""
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[:8], "big") % num_shards


def shard_rows(num_records: int, shard_id: int, num_shards: int) -> range:
    """The contiguous record indexes of a shard where the unit is the record; shard sizes differ by one at most."""
    return range(num_records * shard_id // num_shards, num_records * (shard_id + 1) // num_shards)


def in_files(counts: Sequence[int], wanted: range) -> Iterator[tuple[int, int, range]]:
    """Divide wanted record indexes among files that hold `counts` records each.

    Yields (number of the file, index of its first record, wanted positions in the file).
    """
    start = 0
    for number, count in enumerate(counts):
        here = range(max(wanted.start - start, 0), min(wanted.stop - start, count))
        if here:
            yield number, start, here
        start += count


@dataclass(frozen=True, repr=False)
class ShardReading:
    """PRIVATE, as names of files are: the files of all shards, and what one of them reads. For the rest see
    `dataset.load_shard`."""

    root: StoragePath
    files: Sequence[StoragePath]
    data: DataConfig
    unit: Unit
    shard_id: int
    num_shards: int
    label_names: tuple[str, ...]
    part: Part

    @property
    def label_column(self) -> str | None:
        """The column of labels; None if the configuration names no labels."""
        return self.data.label_column if self.label_names != (SINGLE_LABEL,) else None

    @property
    def group_column(self) -> str | None:
        """The column of groups; None unless they are the unit."""
        return self.data.group_column if self.unit == "group" else None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns to read, each once."""
        named = (self.data.image_column, self.label_column, self.group_column)
        return tuple(dict.fromkeys(column for column in named if column is not None))

    def rows(self, num_records: int) -> range:
        """The indexes of the records to look at: a group's may be anywhere, so each shard checks the group of all."""
        if self.unit == "group":
            return range(num_records)
        return shard_rows(num_records, self.shard_id, self.num_shards)

    def is_elsewhere(self, number: int) -> bool:
        """Whether another shard has the record, or file, of this number; of groups `group_is_elsewhere` says so."""
        return self.unit == "record" and number % self.num_shards != self.shard_id

    def group_is_elsewhere(self, group: str | None) -> bool:
        """Whether a record of this group is another shard's; never where the unit is the record."""
        return self.unit == "group" and shard_of_group(group or "", self.num_shards) != self.shard_id

    def record(
        self,
        index: int,
        label: str | None,
        group: str | None,
        encoded: Encoded,
        name: str,
        decoder: Decoder = decode_image,
    ) -> Record:
        """The record, checked, with its image read and decoded (`make_record`)."""
        return make_record(
            index, label, group, self.unit, self.label_names, encoded, self.data, name, decoder, self.part
        )
