# pyright: strict
"""One shard of the private records: embeds them once, then votes in each generation. A plain object without Ray.

Formal guarantees: what its methods return says nothing about the records, except `vote` and `answer` (clean counts, for
the gate), `problems` and `prepared` (for the data owner's internal report). Its repr and exceptions carry no content,
and no private exception is attached to them. Images live for the micro-batch before theirs and their own, captions for
less.

Vectors are in a file (`view_store`), so memory grows by only a few bytes per record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from spti_ray.config import DataConfig
from spti_ray.private.answers import cast_answers
from spti_ray.private.dataset import READER_VERSION, load_shard
from spti_ray.private.embedding import BatchEmbedder, Caption, EmbedImages, EmbedTexts, embed_captions
from spti_ray.private.kinds import Unit
from spti_ray.private.products import NUMPY, Processor
from spti_ray.private.record import Record
from spti_ray.private.safe_errors import ShardError, safe_errors
from spti_ray.private.survey import Survey
from spti_ray.private.top_k import IncrementalTopK
from spti_ray.private.view_rows import view_rows
from spti_ray.private.view_store import read_views, view_writer
from spti_ray.private.views import Views
from spti_ray.private.voting import cast_votes
from spti_ray.probe import Probe
from spti_ray.types import CountArray, ScoredCandidates, Space
from spti_ray.votes import Query, Votes


@dataclass(frozen=True, repr=False)
class Prepared:
    """PRIVATE: what a shard reports to its driver once its records are read.

    `problems`: (record index, reason) of each record that casts no vote, for the owner's internal report. `can_vote`:
    whether any record of this shard does. The driver uses it only to end a run in which no record of any shard does.
    """

    problems: list[tuple[int, str]]
    can_vote: bool

    def __repr__(self) -> str:
        return "<Prepared: private>"

    __str__ = __repr__


class Shard:
    """The records of one shard. Call `load_views`, or `prepare` where that returns False; then `vote`.

    Args:
        shard_id: from 0 to num_shards - 1.
        label_names: the configured labels, or ("all",) for none.
        spaces: the voting spaces whose views are needed.
        cache: the internal folder where views are kept.
        fingerprint: a hash of the data and the engines; views with another one are not used.
        batch_size: the fixed number of images in every call of an engine.
        listing: the hash of the files that all shards must read, see `dataset.load_shard`; None: no check.
        processor: what compares records with candidates; it has no influence on the votes.
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
        cache: Path | str,
        fingerprint: str,
        batch_size: int = 16,
        listing: str | None = None,
        processor: Processor = NUMPY,
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
        self._listing = listing
        self._processor = processor
        self._file = Path(cache) / f"views-{shard_id:05d}-of-{num_shards:05d}.arrow"
        self._key = _key_of(data, unit, self._label_names, self._spaces, shard_id, num_shards, fingerprint)
        self._views: Views | None = None
        self._problems: list[tuple[int, str]] = []
        self._top_k: tuple[tuple[int, int], IncrementalTopK] | None = None

    def __repr__(self) -> str:
        return f"<Shard {self.shard_id} of {self.num_shards}>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Shard is private and is never pickled")

    @safe_errors("preparing")
    def prepare(
        self,
        embed_images: EmbedImages | None = None,
        caption: Caption | None = None,
        embed_texts: EmbedTexts | None = None,
    ) -> Literal["ready"]:
        """Read the records, compute their views and keep them, replacing any before. Only their owner may read them.

        A record without image, or on which an engine fails (in a batch and then by itself), casts no vote; see
        `problems`.

        Args:
            embed_images: gives the views of the image space.
            caption, embed_texts: give those of the text space, which are embedded captions.

        Raises:
            DataError: the data can't be read.
            EngineDead: an engine is gone.
            ShardError: an engine fails on a blank image too, so that no record is at fault.
        """
        self._make_views(self._engines(embed_images, caption, embed_texts), lambda record: None)
        return "ready"

    @safe_errors("preparing")
    def survey(
        self,
        path: Path,
        embed_images: EmbedImages | None = None,
        caption: Caption | None = None,
        embed_texts: EmbedTexts | None = None,
    ) -> None:
        """As `prepare`, and write down for the owner what each record is, in the file `path`; see `survey`.

        Views that are kept already are not made again. Records up to an error are written down too.
        """
        survey = Survey(len(self._label_names))
        try:
            if self.load_views():
                for record in self._records():
                    survey.add(record)
            else:
                self._make_views(self._engines(embed_images, caption, embed_texts), survey.add)
        finally:
            survey.write(path, dict(self._problems))

    def _records(self) -> Iterator[Record]:
        return load_shard(self._data, self._unit, self.shard_id, self.num_shards, self._label_names, self._listing)

    def _make_views(self, engines: Mapping[Space, EmbedImages], seen: Callable[[Record], None]) -> None:
        """Make the views and load them; `seen` gets each record as it is read."""
        embedder = BatchEmbedder(engines, self._batch_size, f"shard {self.shard_id}")
        made = view_rows(self._records(), embedder, self._batch_size, self._label_names, seen)
        with view_writer(self._file, self._spaces, self._key) as views, closing(made) as rows:
            for row in rows:
                views.add(row)
        if not self._load():
            raise ShardError(f"shard {self.shard_id}: its views can't be read back")

    @safe_errors("voting")
    def vote(self, run: str, generation: int, scored: ScoredCandidates, k: int) -> Votes:
        """The shard's clean votes, PRIVATE: each unit votes for its k nearest candidates of its label.

        They are keyed by the run, the generation and the hash of the candidates that were actually voted on.

        Raises:
            VotingError: candidates and views do not fit each other.
        """
        views = self._prepared()
        query = Query(run, generation, scored.sha256())
        return Votes(query, self.shard_id, self._counts(views, generation, scored, k), max_total=k * views.num_units)

    @safe_errors("answering")
    def answer(self, run: str, generation: int, probe: Probe) -> Votes:
        """The shard's clean counts of right and wrong answers to a public probe, PRIVATE: votes with k = 1.

        Raises:
            VotingError: probe and views do not fit each other.
        """
        views = self._prepared()
        query = Query(run, generation, probe.sha256())
        return Votes(query, self.shard_id, cast_answers(views, probe), max_total=views.num_units)

    @safe_errors("comparing")
    def compare(self, generation: int, block: ScoredCandidates, k: int) -> None:
        """Compare the records with some candidates of a generation while others are still being made.

        This is no vote: nothing is returned, and the results stay in this process until `vote` is called for a reserved
        query. They are gone when the process ends.

        Args:
            block: candidates that are embedded already.
            k: votes per unit.
        """
        views = self._prepared()
        if self._top_k is None or self._top_k[0] != (generation, k):
            self._top_k = (generation, k), IncrementalTopK(self._file.parent, k, self._processor)
        self._top_k[1].add(views, block)

    def _counts(self, views: Views, generation: int, scored: ScoredCandidates, k: int) -> CountArray:
        try:
            return self._compared(views, generation, scored, k)
        except RuntimeError:
            if self._processor is NUMPY:
                raise
        # A GPU that fails, or that others have filled, must not cost the reservation: NumPy counts the same votes.
        self._processor.let_go()
        self._processor, self._top_k = NUMPY, None
        return self._compared(views, generation, scored, k)

    def _compared(self, views: Views, generation: int, scored: ScoredCandidates, k: int) -> CountArray:
        incremental, self._top_k = self._top_k, None
        if incremental is not None and incremental[0] == (generation, k):
            # A full disk must not cost the reservation: everything is compared again then, without files.
            with suppress(OSError):
                return incremental[1].count(views, scored)
        return cast_votes(views, scored, k, self._processor)

    @safe_errors("listing problems")
    def problems(self) -> list[tuple[int, str]]:
        """(record index, reason) of each record that casts no vote. PRIVATE: for the owner's internal report only."""
        self._prepared()
        return list(self._problems)

    @safe_errors("telling whether it can vote")
    def prepared(self) -> Prepared:
        """What the driver is told. PRIVATE."""
        return Prepared(self.problems(), len(self._problems) < len(self._prepared().labels_P))

    @property
    def has_views(self) -> bool:
        """Whether it can vote: its views are prepared or loaded, and their file is still there."""
        return self._views is not None and self._file.exists()

    @safe_errors("loading its views")
    def load_views(self) -> bool:
        """Use kept views instead of `prepare`. Returns False if there are none for this shard and fingerprint."""
        try:
            return self._load()
        except Exception:  # noqa: BLE001 a missing or damaged file is made again
            return False

    def _load(self) -> bool:
        found = read_views(self._file, self._spaces, self._label_names, self._unit == "group", self._key)
        if found is None:
            return False
        self._views, self._problems = found
        self._top_k = None
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
            engines["text"] = embed_captions(caption, embed_texts)
        return engines


def _key_of(
    data: DataConfig,
    unit: Unit,
    label_names: tuple[str, ...],
    spaces: list[Space],
    shard_id: int,
    num_shards: int,
    fingerprint: str,
) -> str:
    parts = [READER_VERSION, fingerprint, data.model_dump(), unit, label_names, spaces, shard_id, num_shards]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
