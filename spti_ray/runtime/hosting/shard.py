"""A private shard in the process that it runs in, and what it may ask of engines there.

Clean votes leave it for the driver's memory only, as `Votes.to_wire` tuples, and go straight to the gate. Its
process is silent, and its exceptions are content-free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spti_ray.config import Config
from spti_ray.private.captions import PrivateText
from spti_ray.private.products import NUMPY, Processor
from spti_ray.private.safe_errors import safe_errors
from spti_ray.private.shard import Prepared, Shard
from spti_ray.probe import Probe
from spti_ray.types import FloatArray, ImageArray, ScoredCandidates
from spti_ray.votes import VotesWire

Ask = Callable[..., Any]
"""Has an engine that serves shards run one batch; takes the arguments of the engine's method, as lists."""


class ShardHost:
    """Hosts one shard. State that a restart loses is computed again, or read from the internal cache."""

    shard_id = -1

    @safe_errors("starting")
    def __init__(
        self,
        config: Config,
        shard_id: int,
        engines: Mapping[str, Ask],
        batch_size: int,
        cache: str,
        key: str,
        listing: str | None = None,
        survey: str = "",
    ) -> None:
        """`engines`: of each role that serves shards; `cache`, `key` and `listing`: see `Shard`.

        `survey`: an internal folder into which it also writes what its records are (`Shard.survey`); empty: none.

        Raises:
            ShardError: it is given a share of a GPU, and there is none.
        """
        self.shard_id = shard_id
        self._survey = survey
        self._shard = Shard(
            config.data,
            shard_id=shard_id,
            num_shards=config.runtime.shards,
            unit=config.privacy.unit,
            label_names=config.evolution.label_names,
            spaces=tuple(config.evolution.spaces),
            cache=cache,
            fingerprint=key,
            batch_size=batch_size,
            listing=listing,
            processor=_processor(config.runtime.shard.num_gpus),
        )
        self._engines = engines

    @safe_errors("preparing")
    def prepare(self) -> Prepared:
        """Make the private views. PRIVATE: what is returned is for the driver's memory and the internal report."""
        engines = self._engines.get("image_embedder"), self._caption(), self._embed_texts()
        if self._survey:
            self._shard.survey(Path(self._survey) / f"{self.shard_id:05d}.parquet", *engines)
        elif not self._shard.has_views and not self._shard.load_views():
            self._shard.prepare(*engines)
        return self._shard.prepared()

    @safe_errors("voting")
    def vote(self, run: str, generation: int, scored: ScoredCandidates, votes_per_record: int) -> VotesWire:
        """Clean votes on the candidates, for the gate: PRIVATE. Makes the views first if they are lost."""
        self.prepare()
        return self._shard.vote(run, generation, scored, votes_per_record).to_wire()

    @safe_errors("answering")
    def answer(self, run: str, generation: int, probe: Probe) -> VotesWire:
        """Clean counts of right and wrong answers to a public probe, for the gate: PRIVATE. As `vote`."""
        self.prepare()
        return self._shard.answer(run, generation, probe).to_wire()

    @safe_errors("comparing")
    def compare(self, generation: int, block: ScoredCandidates, votes_per_record: int) -> None:
        """Get ahead with candidates that are embedded already. Tells nothing; see `Shard.compare`."""
        self.prepare()
        self._shard.compare(generation, block, votes_per_record)

    def _caption(self) -> Callable[[list[ImageArray]], list[PrivateText | None]] | None:
        ask = self._engines.get("captioner")
        return ask and (lambda images: [PrivateText(text) if text else None for text in ask(images)])

    def _embed_texts(self) -> Callable[[list[PrivateText]], FloatArray] | None:
        ask = self._engines.get("text_embedder")
        return ask and (lambda captions: ask([caption.reveal() for caption in captions]))


def _processor(num_gpus: float) -> Processor:
    """What compares its records with candidates: NumPy, or the GPU of which it has a share."""
    if not num_gpus:
        return NUMPY
    from spti_ray.private.device import on_gpu  # imports torch, which other shards do without

    return on_gpu(num_gpus)
