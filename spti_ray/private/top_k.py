# pyright: strict
"""Incremental top-k: each unit's k nearest candidates so far, while a generation's candidates are still being made.

Formal guarantees, pinned by tests/statistical/test_sensitivity_of_top_k.py:

- Nothing is returned before `count`, and `count` returns bit for bit what `cast_votes` returns for the same candidates,
  whichever of them were added before, in whatever blocks and order, or changed since.
- Results are kept in files without a name, which vanish with the process; memory does not grow with the records.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from spti_ray.private.products import BLOCK_BYTES, NUMPY, Processor, k_nearest
from spti_ray.private.views import IndexArray, Views
from spti_ray.private.voting import Comparison, comparisons
from spti_ray.types import CountArray, ScoredCandidates

_BYTES_PER_PLACE = 60
"""Memory of one candidate of one unit while blocks are merged: its similarity, column, rank and their order."""


@dataclass(frozen=True, repr=False)
class _LabelSection:
    """PRIVATE: the part of a block's file with the units of one label, in the order of `voting.comparisons`."""

    offset: int
    num_units: int
    ids: tuple[str, ...]
    """Ids of the label's candidates in the block; position i is column i."""
    row: np.dtype[Any]
    """Layout of one unit's entry: the similarities of its nearest candidates, and their columns."""

    @property
    def nearest(self) -> int:
        """Candidates that are kept for each unit."""
        return self.row["column"].shape[0]


class _ComparedBlock:
    """PRIVATE: a block of candidates that was compared, with each unit's k nearest of them in an unnamed file."""

    def __init__(self, fingerprints: dict[str, bytes], file: IO[bytes]) -> None:
        self.fingerprints = fingerprints
        self.of_label: dict[int, _LabelSection] = {}
        self._file = file

    def __repr__(self) -> str:
        return "<what a shard has seen: private>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("what a shard has seen is private and is never pickled")

    def add(self, found: Comparison, ids: tuple[str, ...], k: int) -> None:
        columns, similarities = found.similarities.k_nearest(min(k, len(ids)))
        known = self.of_label.get(found.label)
        if known is None:
            nearest = columns.shape[1]
            row = np.dtype([("similarity", np.int64, (nearest,)), ("column", np.int32, (nearest,))])
            known = _LabelSection(self._file.tell(), 0, ids, row)
        rows = np.empty(len(columns), known.row)
        rows["similarity"], rows["column"] = similarities, columns
        self._file.write(rows.tobytes())
        self.of_label[found.label] = _LabelSection(known.offset, known.num_units + len(rows), ids, known.row)

    def read(self, label: int, first: int, count: int) -> npt.NDArray[Any]:
        """The entries of at most `count` units, from unit `first` on."""
        of_label = self.of_label[label]
        count = min(count, of_label.num_units - first)
        self._file.seek(of_label.offset + first * of_label.row.itemsize)
        return np.frombuffer(self._file.read(count * of_label.row.itemsize), of_label.row)


class IncrementalTopK:
    """PRIVATE: each unit's k nearest candidates so far, for one generation of candidates.

    Args:
        folder: where the unnamed files are made; only their owner may read it.
        k: votes per unit.
        processor: what computes similarities; it has no influence on the counts.
    """

    def __init__(self, folder: Path, k: int, processor: Processor = NUMPY) -> None:
        self._folder = folder
        self._k = k
        self._processor = processor
        self._seen: list[_ComparedBlock] = []

    def __repr__(self) -> str:
        return "<IncrementalTopK: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("An IncrementalTopK is private and is never pickled")

    def add(self, views: Views, block: ScoredCandidates) -> None:
        """Compare every unit with the candidates of a block. Does nothing if one of them was added before."""
        fingerprints = _fingerprints(block)
        if any(fingerprints.keys() & seen.fingerprints.keys() for seen in self._seen):
            return
        # It is closed with the last reference to it.
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._seen.append(self._compared(views, block, fingerprints, file))

    def count(self, views: Views, scored: ScoredCandidates) -> CountArray:
        """The result of `cast_votes(views, scored, k)`. Blocks whose candidates did not change are not compared again.

        Raises:
            OSError: there is no room for a file.
            VotingError: as `cast_votes`.
        """
        now = _fingerprints(scored)
        valid = [seen for seen in self._seen if seen.fingerprints.items() <= now.items()]
        known = {name for seen in valid for name in seen.fingerprints}
        unseen = scored.only([candidate.id not in known for candidate in scored.candidates])
        with tempfile.TemporaryFile(dir=self._folder) as file:
            rest = self._compared(views, unseen, {}, file)
            return self._merged([*valid, rest], scored)

    def _compared(
        self, views: Views, block: ScoredCandidates, fingerprints: dict[str, bytes], file: IO[bytes]
    ) -> _ComparedBlock:
        seen = _ComparedBlock(fingerprints, file)
        names = [candidate.id for candidate in block.candidates]
        for found in comparisons(views, block, self._processor):
            ids = tuple(names[int(column)] for column in found.columns_K)
            seen.add(found, ids, self._k)
        return seen

    def _merged(self, blocks: list[_ComparedBlock], scored: ScoredCandidates) -> CountArray:
        counts_K = np.zeros(len(scored.candidates), dtype=np.int64)
        rank_by_id = {candidate.id: rank for rank, candidate in enumerate(scored.candidates)}
        for label in sorted({label for block in blocks for label in block.of_label}):
            there = [block for block in blocks if label in block.of_label]
            # Every block has the same units of a label, which depend on the records alone.
            (num_units,) = {block.of_label[label].num_units for block in there}
            k = min(self._k, sum(len(block.of_label[label].ids) for block in there))
            rank_of = [np.array([rank_by_id[i] for i in block.of_label[label].ids], dtype=np.int64) for block in there]
            places = sum(block.of_label[label].nearest for block in there)
            chunk = max(1, BLOCK_BYTES // (_BYTES_PER_PLACE * places))
            for first in range(0, num_units, chunk):
                rows = [block.read(label, first, chunk) for block in there]
                similarities = np.concatenate([row["similarity"] for row in rows], axis=1)
                ranks = np.concatenate([own[row["column"]] for own, row in zip(rank_of, rows, strict=True)], axis=1)
                counts_K += np.bincount(_nearest_ranks(similarities, ranks, k).ravel(), minlength=len(counts_K))
        return counts_K


def _nearest_ranks(similarities: IndexArray, ranks: IndexArray, k: int) -> IndexArray:
    """The ranks of each row's k largest similarities, [units, k]; among equal ones the lowest ranks are taken."""
    order = np.argsort(ranks, axis=1)
    columns, _ = k_nearest(np.take_along_axis(similarities, order, axis=1), k)
    return np.take_along_axis(np.take_along_axis(ranks, order, axis=1), columns, axis=1)


def _fingerprints(scored: ScoredCandidates) -> dict[str, bytes]:
    """By candidate id, a hash of everything that votes for it depend on."""
    weights = repr(sorted(scored.weights.items())).encode()
    found: dict[str, bytes] = {}
    for i, candidate in enumerate(scored.candidates):
        digest = hashlib.sha256(weights)
        digest.update(candidate.label.encode() + b"\0")
        for space in sorted(scored.embeddings_KE):
            digest.update(np.ascontiguousarray(scored.embeddings_KE[space][i], dtype=np.float32).tobytes())
        found[candidate.id] = digest.digest()
    return found
