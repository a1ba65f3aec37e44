# pyright: strict
"""Votes on a GPU: the same integers as `products`, by torch in float64 on a device.

Why they are the same is said in `products`: whole numbers below 2**53, which no order of additions rounds. Lower
precisions that torch may be set to (TF32) are not of float64. A GPU's library can be told to make float64 of shorter
numbers (CUBLAS_EMULATE_DOUBLE_PRECISION), so a device is tried on public numbers of 53 bits before it gets a vote.

Vectors stay on the device from their first use as far as there is room; the rest is read from its file each time.
This is the one file of the private side that imports torch: only a shard with a GPU imports it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch as _torch_partly_typed

from spti_ray.private.products import (
    BLOCK_BYTES,
    CandidateMatrix,
    NumpyProduct,
    Product,
    Similarities,
    fits_float64,
    units_in,
)
from spti_ray.private.safe_errors import ShardError
from spti_ray.private.views import IndexArray, Rows, Views
from spti_ray.types import CountArray, Space

torch: Any = _torch_partly_typed
Tensor = Any

_ROOM = 0.9
"""How much of its share of the GPU's memory is planned with: the rest is for torch's own, as a CUDA context."""

_BLOCK_SHARE = 8
"""A block of units takes one part of so many of the memory, and 2 GiB at most: larger ones are no faster."""

_MOST_BLOCK_BYTES = 2 * 2**30

_BYTES_PER_ROW_ENTRY = 10
"""Of a row that is added to its unit's: int16, and float64."""

_CHUNK_ROWS = 2048
"""Rows that the file has in a block (`view_store`); chunks are whole numbers of these."""

_CHUNK_BYTES = 64 * 2**20


class TorchProcessor:
    """torch's products on one device."""

    def __init__(self, device: str, memory_bytes: int) -> None:
        """
        Args:
            device: torch's name of it: "cuda", or "cpu", which stands in for a GPU where there is none.
            memory_bytes: of the device, for blocks, candidates and vectors together; no influence on the counts.

        Raises:
            ShardError: the device's products are not exact.
        """
        self._device = torch.device(device)
        self._memory_bytes = memory_bytes
        self._block_bytes = min(_MOST_BLOCK_BYTES, memory_bytes // _BLOCK_SHARE)
        self._views: Views | None = None
        self._held: dict[Space, _HeldRows] = {}
        if not _is_exact(self._device):
            raise ShardError(f"products in float64 on {self._device} are not exact: let shards vote on the CPU")

    def __repr__(self) -> str:
        return f"<TorchProcessor on {self._device}>"

    def block_units(self, num_candidates: int, width: int) -> int:
        return units_in(self._block_bytes, num_candidates, width)

    def product(self, views: Views, weights: dict[Space, int], candidates_EK: CandidateMatrix, units: int) -> Product:
        if views is not self._views:
            # Nobody else's rows: what is held is of these views alone.
            self._held = {space: _HeldRows(rows, self._device) for space, rows in views.vectors_PE.items()}
            self._views = views
        # Of the label before, the candidates and the last block may still be there.
        room = self._memory_bytes - 2 * (self._block_bytes + candidates_EK.nbytes)
        for space in weights:
            room = self._held[space].keep_within(room)
        # Rows and their sums have room where the similarities' partitioned copies will be.
        rows_at_once = max(1, self._block_bytes // (2 * _BYTES_PER_ROW_ENTRY * len(candidates_EK)))
        return _TorchProduct(self._held, views, weights, candidates_EK, units, rows_at_once, self._device)

    def let_go(self) -> None:
        self._views, self._held = None, {}
        # After an error of the device every call of it raises again.
        with suppress(RuntimeError):
            if self._device.type == "cuda":
                torch.cuda.empty_cache()


class _HeldRows:
    """The rows of one voting space in chunks: on the device as many as there is room for, the first ones."""

    def __init__(self, rows: Rows, device: Any) -> None:
        self._rows, self._device = rows, device
        self._num_rows, self._width = rows.shape
        self._chunk_rows = _CHUNK_ROWS * max(1, _CHUNK_BYTES // (2 * max(1, self._width) * _CHUNK_ROWS))
        self._most_chunks = 0
        self._chunks: dict[int, Tensor] = {}
        self._last: tuple[int, Tensor] = -1, None

    def keep_within(self, room: int) -> int:
        """Hold no more chunks than these bytes have room for; returns the bytes that are left for others."""
        chunk_bytes = max(1, 2 * self._width * self._chunk_rows)
        there = -(-self._num_rows // self._chunk_rows)
        # One more chunk is there while it is read.
        self._most_chunks = min(there, max(0, room // chunk_bytes - 1))
        self._chunks = {number: chunk for number, chunk in self._chunks.items() if number < self._most_chunks}
        self._last = -1, None
        return room - (self._most_chunks + 1) * chunk_bytes

    def take(self, numbers: IndexArray) -> Tensor:
        """The rows with these numbers, int16 [n, E] on the device."""
        found = torch.empty((len(numbers), self._width), dtype=torch.int16, device=self._device)
        chunk_of = numbers // self._chunk_rows
        # Each chunk is taken once, whatever order groups bring their records in.
        order = np.argsort(chunk_of, kind="stable")
        starts = np.flatnonzero(np.diff(chunk_of[order], prepend=-1))
        for first, end in zip(starts.tolist(), [*starts.tolist()[1:], len(order)], strict=True):
            places = order[first:end]
            number = int(chunk_of[places[0]])
            rows = self._on_device(numbers[places] - number * self._chunk_rows)
            found[self._on_device(places)] = self._chunk(number)[rows]
        return found

    def _chunk(self, number: int) -> Tensor:
        if number in self._chunks:
            return self._chunks[number]
        if number != self._last[0]:
            self._last = -1, None  # its memory is free before there is another
            first = number * self._chunk_rows
            rows = self._rows[np.arange(first, min(first + self._chunk_rows, self._num_rows))]
            self._last = number, self._on_device(rows)
        if number < self._most_chunks:
            self._chunks[number] = self._last[1]
        return self._last[1]

    def _on_device(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


class _TorchProduct:
    """Similarities by torch. Each block reuses the memory of the one before."""

    def __init__(
        self,
        held: dict[Space, _HeldRows],
        views: Views,
        weights: dict[Space, int],
        candidates_EK: CandidateMatrix,
        units: int,
        rows_at_once: int,
        device: Any,
    ) -> None:
        self._held = [(held[space], views.vectors_PE[space].shape[1]) for space in weights]
        self._grouped = views.groups_P is not None
        self._weight = sum(weights.values())
        self._on_cpu = views, weights, candidates_EK
        self._candidates_EK = torch.from_numpy(np.ascontiguousarray(candidates_EK)).to(device)
        width, columns = candidates_EK.shape
        self._operand_UE = torch.empty((units, width), dtype=torch.float64, device=device)
        self._found_UK = torch.empty((units, columns), dtype=torch.float64, device=device)
        # A group may have any number of records: they are added up a part at a time.
        self._rows_at_once = rows_at_once

    def of(self, members_P: IndexArray, starts: IndexArray, most_records: int) -> Similarities:
        """Larger units than float64 has room for, which are rare, take NumPy's integer product."""
        if not fits_float64(most_records * self._weight, len(self._candidates_EK)):
            return NumpyProduct(*self._on_cpu, units=1).of(members_P, starts, most_records)
        units = len(starts) - 1
        operand_UE = self._operand_UE[:units]
        if self._grouped:
            operand_UE.zero_()
        unit_of_member = np.repeat(np.arange(units), np.diff(starts))
        for first in range(0, len(members_P), self._rows_at_once):
            members = members_P[first : first + self._rows_at_once]
            unit_of = torch.from_numpy(unit_of_member[first : first + self._rows_at_once]).to(operand_UE.device)
            begin = 0
            for rows, width in self._held:
                part_UE = operand_UE[:, begin : begin + width]
                if self._grouped:
                    # Sums of whole numbers: the order in which they are added does not matter.
                    part_UE.index_add_(0, unit_of, rows.take(members).to(torch.float64))
                else:
                    part_UE[first : first + len(members)] = rows.take(members)
                begin += width
        return _TorchSimilarities(torch.matmul(operand_UE, self._candidates_EK, out=self._found_UK[:units]))


class _TorchSimilarities:
    """Similarities [units, K] on a device; what leaves it is the nearest alone."""

    def __init__(self, values_UK: Tensor) -> None:
        self._values_UK = values_UK

    def count_nearest(self, k: int) -> CountArray:
        if k == 1:
            counts_K = torch.bincount(self._first_largest(), minlength=self._values_UK.shape[1])
        else:
            counts_K = self._nearest(k).sum(dim=0)
        return _array(counts_K)

    def k_nearest(self, k: int) -> tuple[IndexArray, IndexArray]:
        columns = self._first_largest()[:, None] if k == 1 else self._nearest(k).nonzero()[:, 1].reshape(-1, k)
        return _array(columns), _array(self._values_UK.gather(1, columns))

    def _first_largest(self) -> Tensor:
        """The lowest of the columns with the largest value, int64 [units]."""
        columns = torch.arange(self._values_UK.shape[1], dtype=torch.int32, device=self._values_UK.device)
        largest = self._values_UK.amax(dim=1, keepdim=True)
        return torch.where(self._values_UK == largest, columns, len(columns)).amin(dim=1).to(torch.int64)

    def _nearest(self, k: int) -> Tensor:
        """As `products._nearest`."""
        values = self._values_UK
        kth = values.topk(k, dim=1).values[:, -1:]
        chosen = values >= kth
        crowded = (chosen.sum(dim=1) > k).nonzero()[:, 0]
        if len(crowded):
            above, tied = values[crowded] > kth[crowded], values[crowded] == kth[crowded]
            missing = k - above.sum(dim=1, keepdim=True)
            chosen[crowded] = above | (tied & (tied.cumsum(dim=1) <= missing))
        return chosen


def on_gpu(share: float) -> TorchProcessor:
    """What votes on the GPU of this process.

    Args:
        share: of the GPU's memory that it may use, in (0, 1].

    Raises:
        ShardError: there is no GPU, or its products are not exact.
    """
    if not gpu_is_there():
        raise ShardError(
            f"runtime.shard.num_gpus is {share:g}, but torch sees no GPU where this shard is: set it to 0, or install "
            "a build of torch for that GPU"
        )
    free, total = torch.cuda.mem_get_info()
    return TorchProcessor("cuda", int(_ROOM * min(share * total, free)))


def gpu_is_there() -> bool:
    """Whether torch sees a GPU in this process."""
    return bool(torch.cuda.is_available())


def device_name() -> str:
    """What votes would be counted on by torch in this process: the GPU's name, or "cpu"."""
    return str(torch.cuda.get_device_name()) if gpu_is_there() else "cpu"


def on_any_device() -> TorchProcessor:
    """What votes on the GPU of this process or, where there is none, on torch's CPU device: to measure and test it."""
    return on_gpu(1.0) if gpu_is_there() else TorchProcessor("cpu", 16 * BLOCK_BYTES)


def _is_exact(device: Any) -> bool:
    """Whether a product of float64 on the device is that of whole numbers, up to 53 bits. The numbers are public."""
    draw = np.random.default_rng(0)
    # Sums of 512 products of 22 bits each side stay below 2**53, and most are far from any shorter number.
    left, right = (draw.integers(-(2**22), 2**22, size, dtype=np.int64) for size in ((64, 512), (512, 96)))
    found = torch.from_numpy(left.astype(np.float64)).to(device) @ torch.from_numpy(right.astype(np.float64)).to(device)
    return bool(np.array_equal(_array(found), left @ right))


def _array(tensor: Tensor) -> IndexArray:
    return tensor.to(torch.int64).cpu().numpy()
