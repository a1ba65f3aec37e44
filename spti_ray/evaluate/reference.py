"""PRIVATE: the features of the private images by one judge, and their split into two halves.

Everything is measured against half A. Half B is held out: it takes the place of generated images, to show which figures
real images get, and it tests classifiers. Records of one group are never in both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.config import DataConfig
from spti_ray.evaluate.bootstrap import Floats, Integers
from spti_ray.io.files import private_folder, write_table_atomic
from spti_ray.models.protocols import Judge
from spti_ray.private.dataset import READER_VERSION, load_shard
from spti_ray.private.holdout import HELD_OUT, NOT_HELD_OUT, Part
from spti_ray.private.kinds import DataError, Unit
from spti_ray.private.record import Record
from spti_ray.private.source import content_fingerprint, describe
from spti_ray.step_progress import Told, untold
from spti_ray.types import SINGLE_LABEL, FloatArray, ImageArray, derive_seed

FORMAT = 3
LIMIT = 10_000
MIN_RECORDS = 40
"""Records below which halves are too small for any figure."""

_CHUNK = 256


class EvaluationFailed(RuntimeError):
    """An evaluation can't be made; one line that says why and shows nothing private."""


class TooFewRecords(EvaluationFailed):
    """There are fewer usable records than are asked for."""


@dataclass(frozen=True, repr=False, eq=False)
class Reference:
    """PRIVATE: features [P, E], labels and groups of the usable records, by one judge.

    `groups_P`: the number of each record's group; without groups each record is a group. `num_unusable`: how many
    records had no usable image or label. `judge`: the judge's identity. `data`: a hash of what was asked of which
    private files; equal for two references only if they have the same records. `indexes_P`: the records' ids.
    """

    features_PE: Floats
    labels: tuple[str, ...] | None
    groups_P: Integers
    num_unusable: int
    judge: dict[str, str]
    data: str = ""
    indexes_P: Integers = field(default_factory=lambda: np.zeros(0, np.int64))

    def __repr__(self) -> str:
        return "<Reference: private>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("References are private and are never pickled")

    @property
    def grouped(self) -> bool:
        """Whether some group has several records."""
        return len(np.unique(self.groups_P)) < len(self.groups_P)

    def halves(self, seed: int) -> tuple[Integers, Integers]:
        """Rows of half A and of half B: whole groups in a seeded random order, A until it has half of the records.

        Raises:
            EvaluationFailed: one of the halves is too small.
        """
        rng = np.random.default_rng(derive_seed(seed, "halves"))
        groups, group_of_P = np.unique(self.groups_P, return_inverse=True)
        rank_of_P = rng.permutation(len(groups))[group_of_P]
        order = np.argsort(rank_of_P, kind="stable")
        middle = len(order) // 2
        while 0 < middle < len(order) and rank_of_P[order[middle]] == rank_of_P[order[middle - 1]]:
            middle += 1
        if min(middle, len(order) - middle) < MIN_RECORDS // 2:
            raise EvaluationFailed(f"evaluation needs two halves of at least {MIN_RECORDS // 2} usable records each")
        return order[:middle], order[middle:]


def load(
    data: DataConfig,
    judge: Judge,
    *,
    unit: Unit = "record",
    label_names: tuple[str, ...] = (SINGLE_LABEL,),
    limit: int = LIMIT,
    seed: int = 0,
    cache: Path | None = None,
    told: Told = untold,
    part: Part = "voting",
    least: int = MIN_RECORDS,
) -> Reference:
    """Embed the private images with `judge`, or read their features from the cache.

    Args:
        data: The private data.
        judge: The encoder.
        unit: The privacy unit: a record or a group of records.
        label_names: The labels that count; `()` takes labels as they come, `("all",)` none.
        limit: Of more usable records a random sample of this size is kept (reservoir sampling with the public seed),
            so that memory does not grow with the data.
        seed: Public seed of the sample.
        cache: A private folder where features are kept for the next time, also for other runs on the same private
            images; None for no cache. Nothing but its owner may read it, and no release may hold it.
        told: Is told that images are being embedded, and never how many.
        part: Those that vote, or those that `data.holdout` holds out.
        least: Fewer usable records than these are refused.

    Raises:
        DataError: the data can't be read as configured.
        EvaluationFailed: the judge fails on the records, or they are too few.
    """
    source = describe(data, unit, label_names)
    # By what the files hold: a copy of them elsewhere is the same data, and a file that was written again is not.
    held = content_fingerprint(source)
    asked = [READER_VERSION, held, data.model_dump(exclude={"path"}), unit, label_names, limit, seed]
    asked += [part] if part != "voting" else []
    records = _hash(asked)
    file = None
    if cache is not None:
        file = private_folder(cache) / f"internal-features-{_hash([FORMAT, records, judge.identity()])}.parquet"
        if file.exists():
            return _read(file, judge, records)
    told(f"embedding the private images, for {judge.identity()['model']}", 0, 0)
    reference = _embed(load_shard(data, unit, 0, 1, label_names, part=part), judge, label_names, limit, seed, least)
    reference = replace(reference, data=records)
    # What was written to while it was read has no name.
    if file is not None and content_fingerprint(source) == held:
        _write(file, reference)
    return reference


def _hash(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _embed(
    records: Iterator[Record], judge: Judge, label_names: tuple[str, ...], limit: int, seed: int, least: int
) -> Reference:
    rng = np.random.default_rng(derive_seed(seed, "reservoir"))
    rows: list[FloatArray] = []
    labels: list[str] = []
    groups: list[str] = []
    indexes: list[int] = []
    waiting: list[tuple[int, ImageArray]] = []
    usable = unusable = 0

    def flush() -> None:
        embedded = _features(judge, [image for _, image in waiting])
        for (slot, _), row_E in zip(waiting, embedded, strict=True):
            rows[slot] = row_E
        waiting.clear()

    for record in records:
        if record.image is None:
            unusable += record.problem not in (HELD_OUT, NOT_HELD_OUT)
            continue
        usable += 1
        slot = len(rows) if len(rows) < limit else int(rng.integers(usable))
        if slot >= limit:
            continue
        label, group = record.label or "", record.group or f"\0{record.index}"
        if slot == len(rows):
            rows.append(np.zeros(0, np.float32))
            labels.append(label)
            groups.append(group)
            indexes.append(record.index)
        else:
            labels[slot], groups[slot], indexes[slot] = label, group, record.index
        waiting.append((slot, record.image))
        if len(waiting) == _CHUNK:
            flush()
    flush()
    if len(rows) < least:
        raise TooFewRecords(f"there are fewer than {least} usable images: too few to measure against")
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    known = None if label_names == (SINGLE_LABEL,) else tuple(labels)
    features_PE, indexes_P = np.stack(rows).astype(np.float64), np.array(indexes, np.int64)
    return Reference(features_PE, known, numbers, unusable, judge.identity(), indexes_P=indexes_P)


def _features(judge: Judge, images: list[ImageArray]) -> FloatArray:
    if not images:
        return np.zeros((0, 0), np.float32)
    kind = ""
    try:
        features_BE = judge.features(images)
    except Exception as error:  # noqa: BLE001 its text may show what the judge was given
        kind = type(error).__name__
    else:
        if np.isfinite(features_BE).all():
            return features_BE
        kind = "values that are not finite"
    raise EvaluationFailed(f"the judge {judge.identity()['model']} failed on private images ({kind})")


def _write(file: Path, reference: Reference) -> None:
    features = pa.FixedSizeListArray.from_arrays(
        pa.array(reference.features_PE.astype(np.float32).ravel()), reference.features_PE.shape[1]
    )
    columns = {"features": features, "group": pa.array(reference.groups_P), "index": pa.array(reference.indexes_P)}
    if reference.labels is not None:
        columns["label"] = pa.array(reference.labels)
    table = pa.table(columns).replace_schema_metadata(
        {"num_unusable": str(reference.num_unusable), "statement": "internal: features of private images"}
    )
    write_table_atomic(file, table, mode=0o600)


def _read(file: Path, judge: Judge, records: str) -> Reference:
    try:
        table = pq.read_table(file)
        flat = table.column("features").combine_chunks().flatten().to_numpy()
    except (OSError, pa.ArrowException):
        raise DataError(f"{file}: the cached features can't be read; delete the file") from None
    labels = tuple(table.column("label").to_pylist()) if "label" in table.column_names else None
    return Reference(
        flat.reshape(len(table), -1).astype(np.float64),
        labels,
        table.column("group").to_numpy(),
        int(table.schema.metadata[b"num_unusable"]),
        judge.identity(),
        records,
        table.column("index").to_numpy(),
    )
