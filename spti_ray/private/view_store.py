# pyright: strict
"""A shard's private views in one Arrow file: written as they are made, read in blocks, never whole in memory.

FORMAT: one row per record, in record order: `index`, `problem` (null if it may vote), `label`, `group`, and for each
voting space its int16 vector (zeros if it has none). It holds no image, caption or group name. The file gets its name
only once all rows are written; its schema's metadata hold the key, a hash of what it was made from.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as _arrow_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.ipc as _ipc_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.io.files import atomic_file, private_folder
from spti_ray.private.views import IndexArray, QuantArray, Views
from spti_ray.types import Space

# PyArrow ships no types.
arrow: Any = _arrow_untyped
ipc: Any = _ipc_untyped

_BLOCK_ROWS = 2048
_KEY = b"spti-ray private views 2"
_OF_RECORD: dict[str, Any] = {
    "index": arrow.int64(),
    "problem": arrow.string(),
    "label": arrow.int32(),
    "group": arrow.int64(),
}
"""The first columns; they are followed by a column for each voting space."""


@dataclass(frozen=True, repr=False)
class ViewRow:
    """PRIVATE: one record once it is embedded. `vectors`: int16 [E] by space, without spaces that have no vector."""

    index: int
    label: int
    group: int
    problem: str | None
    vectors: Mapping[Space, QuantArray]


class ViewWriter:
    """Takes rows in record order and writes them block by block.

    Args:
        spaces: the voting spaces, in the order of their columns.
        key: a hash of what the views are made from.
    """

    def __init__(self, file: BinaryIO, spaces: Sequence[Space], key: str) -> None:
        self._file = file
        self._spaces = list(spaces)
        self._key = key
        self._widths: dict[Space, int] = {}
        self._rows: list[ViewRow] = []
        self._schema: Any = None
        self._writer: Any = None

    def add(self, row: ViewRow) -> None:
        """Add the next record. Raises ValueError if a vector is longer or shorter than those before."""
        for space, vector in row.vectors.items():
            if self._widths.setdefault(space, len(vector)) != len(vector):
                raise ValueError("the engine changed its embedding dimension")
        self._rows.append(row)
        # The first block waits until the dimension of every space is known.
        while len(self._rows) >= _BLOCK_ROWS and len(self._widths) == len(self._spaces):
            self._write(_BLOCK_ROWS)

    def close(self) -> None:
        """Write the rest, and the end of the file."""
        while self._rows:
            self._write(_BLOCK_ROWS)
        writer = self._opened()
        writer.close()

    def _opened(self) -> Any:
        if self._writer is None:
            # If an engine never gave a vector, rows are zeros: they cast no vote, whatever their length.
            widths = [self._widths.setdefault(space, 1) for space in self._spaces]
            fields = [*_OF_RECORD.items()]
            fields += [(s, arrow.list_(arrow.int16(), width)) for s, width in zip(self._spaces, widths, strict=True)]
            self._schema = arrow.schema(fields, metadata={_KEY: self._key.encode()})
            self._writer = ipc.new_file(self._file, self._schema)
        return self._writer

    def _write(self, count: int) -> None:
        writer = self._opened()
        rows, self._rows = self._rows[:count], self._rows[count:]
        columns = [arrow.array([getattr(row, name) for row in rows], kind) for name, kind in _OF_RECORD.items()]
        for space in self._spaces:
            matrix = np.zeros((len(rows), self._widths[space]), dtype=np.int16)
            for i, row in enumerate(rows):
                if space in row.vectors:
                    matrix[i] = row.vectors[space]
            columns.append(arrow.FixedSizeListArray.from_arrays(arrow.array(matrix.ravel()), self._widths[space]))
        writer.write_batch(arrow.record_batch(columns, schema=self._schema))


@contextmanager
def view_writer(path: Path, spaces: Sequence[Space], key: str) -> Generator[ViewWriter]:
    """A writer whose rows become the file `path`, which only its owner may read, if the block ends without an error."""
    private_folder(path.parent)
    with atomic_file(path, mode=0o600) as file:
        writer = ViewWriter(file, spaces, key)
        yield writer
        writer.close()


class StoredRows:
    """The int16 [P, E] vectors of one space, in a file that stays open.

    Rows are read on request. The last block of the file that was read is kept, since rows are mostly read in order.
    """

    def __init__(self, path: Path, space: Space, num_rows: int) -> None:
        with _opened(path) as file:
            column: int = file.schema.get_field_index(space)
            width: int = file.schema.field(column).type.list_size
        self.shape = num_rows, width
        self._source: Any = arrow.OSFile(str(path))  # is closed with the last reference to it
        self._file = _reader(self._source, [column])
        self._last = -1, np.empty((0, width), dtype=np.int16)

    def __getitem__(self, rows: IndexArray) -> QuantArray:
        """The rows with these numbers, int16 [n, E] in the given order."""
        found = np.empty((len(rows), self.shape[1]), dtype=np.int16)
        blocks = rows // _BLOCK_ROWS
        # Runs of rows from the same block; if the rows are in order there is one run for each block.
        starts = np.flatnonzero(np.diff(blocks, prepend=-1))
        for first, end in zip(starts.tolist(), [*starts.tolist()[1:], len(rows)], strict=True):
            block = int(blocks[first])
            if block != self._last[0]:
                self._last = block, _matrix(self._file.get_batch(block).column(0))
            # Any mode of `take` but "clip" makes another copy; no number is out of range.
            np.take(self._last[1], rows[first:end] - block * _BLOCK_ROWS, axis=0, out=found[first:end], mode="clip")
        return found


def read_views(
    path: Path, spaces: Sequence[Space], label_names: tuple[str, ...], grouped: bool, key: str
) -> tuple[Views, list[tuple[int, str]]] | None:
    """Read a shard's views.

    Args:
        grouped: whether the unit is the group.
        key: what the file must have been made from.

    Returns:
        (the views, (record index, reason) of each record that casts no vote); None if the file has another key.

    Raises:
        Exception: whatever PyArrow raises for a file that is missing or incomplete.
    """
    with _opened(path) as file:
        metadata: dict[bytes, bytes] | None = file.schema.metadata
        if metadata is None or metadata.get(_KEY) != key.encode():
            return None
    labels, groups = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    problems: list[tuple[int, str]] = []
    with _opened(path, range(len(_OF_RECORD))) as file:
        for batch in map(file.get_batch, range(file.num_record_batches)):
            # Copies, since a view would keep its whole block in memory, the vectors too.
            labels.append(batch.column("label").to_numpy().copy())
            groups.append(batch.column("group").to_numpy().copy())
            reasons = zip(batch.column("index").to_pylist(), batch.column("problem").to_pylist(), strict=True)
            problems += [(index, reason) for index, reason in reasons if reason is not None]
    labels_P = np.concatenate(labels)
    views = Views(
        vectors_PE={space: StoredRows(path, space, len(labels_P)) for space in spaces},
        labels_P=labels_P,
        label_names=label_names,
        groups_P=np.concatenate(groups) if grouped else None,
    )
    return views, problems


@contextmanager
def _opened(path: Path, columns: Sequence[int] = ()) -> Generator[Any]:
    """The file; with `columns`, only these are read from it."""
    # Not mapped: pages of a memory map count as this process's memory until the system takes them back.
    with arrow.OSFile(str(path)) as source:
        yield _reader(source, columns)


def _reader(source: Any, columns: Sequence[int]) -> Any:
    return ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=list(columns), use_threads=False))


def _matrix(vectors: Any) -> QuantArray:
    return vectors.flatten().to_numpy().reshape(len(vectors), -1)
