# pyright: strict
"""One shard of the private records: embeds them once, then votes in each generation. A plain object without Ray.

Formal guarantees: what its methods return says nothing of the records except `vote` (clean counts, for the gate) and
`problems` (for the data owner's internal report); its repr and exceptions carry no content, and no private exception
hangs on them as context. Images live for one micro-batch only, and captions for less.

Vectors depend on the rest of a batch no more than the engine makes them: batches have one fixed shape, retries too.
With batch_size 1 each record has a batch of its own, where this must not rest on the engine's arithmetic.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from spti_ray.config import DataConfig
from spti_ray.files import private_folder, write_atomic
from spti_ray.models.protocols import EngineDead
from spti_ray.private.captions import PrivateText
from spti_ray.private.content_free import ShardError, content_free
from spti_ray.private.dataset import load_shard
from spti_ray.private.source import Unit
from spti_ray.private.voting import NO_GROUP, NO_LABEL, QuantArray, Views, cast_votes, quantise, usable_rows
from spti_ray.types import FloatArray, ImageArray, Query, ScoredCandidates, Space, Votes

EmbedImages = Callable[[list[ImageArray]], FloatArray]
Caption = Callable[[list[ImageArray]], Sequence[PrivateText]]
EmbedTexts = Callable[[list[PrivateText]], FloatArray]

VIEW_FAILED: Mapping[Space, str] = {"image": "image embedding failed", "text": "caption or its embedding failed"}
"""Problems of a record beside those of dataset and decode."""

_BLANK: ImageArray = np.full((64, 64, 3), 255, dtype=np.uint8)
_FORMAT = "spti-ray private views 1"


class Shard:
    """The records of shard `shard_id` of `num_shards`. Use: `load_views` or else `prepare` (and `save_views`), `vote`.

    `spaces` are the voting spaces whose views are needed; `batch_size` is the fixed shape of every call of an engine.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        shard_id: int,
        num_shards: int,
        unit: Unit = "record",
        label_names: tuple[str, ...],
        spaces: Sequence[Space],
        batch_size: int = 16,
    ) -> None:
        if not 0 <= shard_id < num_shards:
            raise ValueError("shard_id must be in range(num_shards)")
        if batch_size < 1 or not spaces:
            raise ValueError("batch_size must be at least 1 and spaces must name a voting space")
        self.shard_id = shard_id
        self.num_shards = num_shards
        self._data = data
        self._unit: Unit = unit
        self._label_names = tuple(label_names)
        self._spaces: list[Space] = sorted(set(spaces))
        self._batch_size = batch_size
        self._views: Views | None = None
        self._problems: list[tuple[int, str]] = []

    def __repr__(self) -> str:
        return f"<Shard {self.shard_id} of {self.num_shards}>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Shard is private and is never pickled")

    @content_free("preparing")
    def prepare(
        self,
        embed_images: EmbedImages | None = None,
        caption: Caption | None = None,
        embed_texts: EmbedTexts | None = None,
    ) -> Literal["ready"]:
        """Load the records and compute their views: "image" is embed_images, "text" is embed_texts of the caption.

        A record without image, or on which an engine fails (in a batch and then by itself), casts no vote; see
        `problems`. Raises `DataError` for unreadable data, `EngineDead`, and `ShardError` if an engine fails on a
        blank image too: then it, and not the record, is at fault. Pads are blank images as well.
        """
        engines = self._engines(embed_images, caption, embed_texts)
        found: dict[Space, dict[int, QuantArray]] = {space: {} for space in self._spaces}
        labels: list[int] = []
        groups: list[int] = []
        group_codes: dict[str, int] = {}
        problems: dict[int, str] = {}
        # (position in the shard, record index, image) of the current micro-batch
        pending: list[tuple[int, int, ImageArray]] = []

        def flush() -> None:
            images = [image for _, _, image in pending]
            for space, engine in engines.items():
                for (position, index, _), vector in zip(pending, self._embed(engine, images), strict=True):
                    if vector is None:
                        problems.setdefault(index, VIEW_FAILED[space])
                    else:
                        found[space][position] = vector
            pending.clear()

        for record in load_shard(self._data, self._unit, self.shard_id, self.num_shards, self._label_names):
            if record.image is not None:
                pending.append((len(labels), record.index, record.image))
            else:
                problems[record.index] = record.problem or "unknown"
            labels.append(NO_LABEL if record.label is None else self._label_names.index(record.label))
            # Codes instead of values: a group's name (a patient, a user) is not needed any more.
            groups.append(NO_GROUP if record.group is None else group_codes.setdefault(record.group, len(group_codes)))
            if len(pending) == self._batch_size:
                flush()
        if pending:
            flush()

        self._views = Views(
            vectors_PE={space: _matrix(found[space], len(labels)) for space in self._spaces},
            labels_P=np.array(labels, dtype=np.int32),
            label_names=self._label_names,
            groups_P=np.array(groups, dtype=np.int64) if self._unit == "group" else None,
        )
        self._problems = sorted(problems.items())
        return "ready"

    @content_free("voting")
    def vote(self, run: str, generation: int, scored: ScoredCandidates, k: int) -> Votes:
        """Return this shard's clean votes; each unit votes for its k nearest candidates of its label. PRIVATE.

        They are keyed by the run, the generation and the hash of the candidates that were really voted on.
        """
        views = self._prepared()
        query = Query(run, generation, scored.sha256())
        return Votes(query, self.shard_id, cast_votes(views, scored, k), max_total=k * views.num_units)

    @content_free("listing problems")
    def problems(self) -> list[tuple[int, str]]:
        """(record index, reason) of each record that casts no vote; PRIVATE, for the owner's internal report only."""
        self._prepared()
        return list(self._problems)

    @content_free("saving its views")
    def save_views(self, folder: Path | str, fingerprint: str) -> None:
        """Cache the views (no image, caption, or group name) in an internal folder, for owner's eyes only, atomically.

        `fingerprint` stands for the data and the engines; `load_views` takes the file only if it is the same then.
        """
        views = self._prepared()
        arrays: dict[str, npt.NDArray[Any]] = {f"view_{space}": views.vectors_PE[space] for space in self._spaces}
        arrays["labels"] = views.labels_P
        if views.groups_P is not None:
            arrays["groups"] = views.groups_P
        arrays["problem_indexes"] = np.array([index for index, _ in self._problems], dtype=np.int64)
        arrays["problem_reasons"] = np.array([reason for _, reason in self._problems], dtype="U64")
        arrays["key"] = np.array(self._key(fingerprint))
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        file = self._cache_file(folder)
        private_folder(file.parent)
        write_atomic(file, buffer.getvalue(), mode=0o600)

    @content_free("loading its views")
    def load_views(self, folder: Path | str, fingerprint: str) -> bool:
        """Take the cached views instead of `prepare`; False if there are none for this shard and fingerprint."""
        try:
            raw = self._cache_file(folder).read_bytes()
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                arrays: dict[str, npt.NDArray[Any]] = dict(file)
        except Exception:  # noqa: BLE001 a missing or damaged cache is computed again
            return False
        if str(arrays.get("key")) != self._key(fingerprint):
            return False
        self._views = Views(
            vectors_PE={space: arrays[f"view_{space}"] for space in self._spaces},
            labels_P=arrays["labels"],
            label_names=self._label_names,
            groups_P=arrays.get("groups"),
        )
        self._problems = list(zip(arrays["problem_indexes"].tolist(), arrays["problem_reasons"].tolist(), strict=True))
        return True

    def _prepared(self) -> Views:
        if self._views is None:
            raise ShardError(f"shard {self.shard_id}: its views are not prepared")
        return self._views

    def _engines(
        self, embed_images: EmbedImages | None, caption: Caption | None, embed_texts: EmbedTexts | None
    ) -> dict[Space, EmbedImages]:
        engines: dict[Space, EmbedImages] = {}
        if "image" in self._spaces:
            if embed_images is None:
                raise ShardError(f"shard {self.shard_id}: image voting needs embed_images")
            engines["image"] = embed_images
        if "text" in self._spaces:
            if caption is None or embed_texts is None:
                raise ShardError(f"shard {self.shard_id}: caption voting needs caption and embed_texts")

            def embed_captions(images: list[ImageArray]) -> FloatArray:
                return embed_texts(list(caption(images)))

            engines["text"] = embed_captions
        return engines

    def _embed(self, engine: EmbedImages, images: list[ImageArray]) -> list[QuantArray | None]:
        """One int16 row [E] per image; None where the engine gives no usable embedding, in the batch and alone."""
        vectors = self._attempt(engine, images)
        failed = [i for i, vector in enumerate(vectors) if vector is None]
        for i in failed:
            vectors[i] = self._attempt(engine, [images[i]])[0]
        # Whether the run stops is decided on public input alone, or one record could stop it.
        if any(vector is None for vector in vectors):
            blank = self._call(engine, [])
            if blank is None or not np.isfinite(blank).all():
                raise ShardError(f"shard {self.shard_id}: an engine fails on a blank image too")
        return vectors

    def _attempt(self, engine: EmbedImages, images: list[ImageArray]) -> list[QuantArray | None]:
        embeddings_BE = self._call(engine, images)
        if embeddings_BE is None:
            return [None] * len(images)
        vectors_BE = quantise(embeddings_BE[: len(images)])
        usable_B = usable_rows(vectors_BE)
        return [vector if usable else None for vector, usable in zip(vectors_BE, usable_B, strict=True)]

    def _call(self, engine: EmbedImages, images: list[ImageArray]) -> FloatArray | None:
        """The engine's [batch_size, E] rows for the images and blank pads, or None if it fails."""
        try:
            rows = np.asarray(engine(images + [_BLANK] * (self._batch_size - len(images))), dtype=np.float32)
        except EngineDead:
            raise
        except Exception:  # noqa: BLE001 an engine may fail in any way, and its text may be private
            return None
        return rows if rows.ndim == 2 and len(rows) == self._batch_size else None

    def _cache_file(self, folder: Path | str) -> Path:
        return Path(folder) / f"views-{self.shard_id:05d}-of-{self.num_shards:05d}.npz"

    def _key(self, fingerprint: str) -> str:
        parts = [_FORMAT, fingerprint, self._data.model_dump(), self._unit, self._label_names, self._spaces]
        parts += [self.shard_id, self.num_shards]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _matrix(vectors: dict[int, QuantArray], num_records: int) -> QuantArray:
    """[P, E] of the vectors by position; records without one get zeros, which cast no vote."""
    width = len(next(iter(vectors.values()), ()))
    matrix_PE = np.zeros((num_records, width), dtype=np.int16)
    for position, vector in vectors.items():
        if len(vector) != width:
            raise ValueError("the engine changed its embedding dimension")
        matrix_PE[position] = vector
    return matrix_PE
