"""PRIVATE: the training data of DP-SGD: latents of the private images, grouped by privacy unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from spti_ray.finetuning.denoiser import Denoiser
from spti_ray.private.record import Record
from spti_ray.types import ImageArray


@dataclass(frozen=True, repr=False)
class PrivateUnits:
    """PRIVATE: the training data.

    `latents`: [P, C, H, W], of all records. `labels`: [P], the number of each record's label. `units`: the row numbers
    of each unit's records.
    """

    latents: Tensor
    labels: Tensor
    units: list[list[int]]

    def __repr__(self) -> str:
        return "<PrivateUnits: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("PrivateUnits are private and are never pickled")

    def draw(self, units: list[int], draws: int) -> Tensor:
        """Choose a random record for each of `draws` draws of each unit.

        Returns:
            Row numbers [units * draws], the draws of one unit one after the other.
        """
        rows = [torch.tensor(self.units[unit])[torch.randint(len(self.units[unit]), (draws,))] for unit in units]
        return torch.cat(rows)


def read_units(denoiser: Denoiser, records: Iterable[Record], labels: list[str]) -> PrivateUnits:
    """Compute the latents of all usable records. Each image is seen once and not kept; other records are left out.

    Args:
        denoiser: Has the autoencoder.
        records: The private records.
        labels: The labels that take part; a label's number is its place here.
    """
    numbers: list[int] = []
    groups: dict[str | int, list[int]] = {}

    def images() -> Iterator[ImageArray]:
        for record in records:
            if record.image is not None and record.label in labels:
                key = record.index if record.group is None else record.group
                groups.setdefault(key, []).append(len(numbers))
                numbers.append(labels.index(record.label))
                yield record.image

    latents = denoiser.latents(images())
    return PrivateUnits(latents, torch.tensor(numbers, dtype=torch.long), list(groups.values()))
