"""A shard whose captions are rendered (`method: captions`), which is NOT private: for the owner alone.

Captions go from the captioner to the shard to the renderer, by private calls, and images from the renderer to the
shard, which writes them into the run's internal folder. Nothing of either passes the driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from spti_ray.config import Config
from spti_ray.private.caption_renders import CaptionedShard
from spti_ray.private.captions import PrivateText
from spti_ray.private.safe_errors import safe_errors
from spti_ray.private.shard import Prepared
from spti_ray.runtime.hosting.shard import Ask
from spti_ray.types import ImageArray, split_by_share


class CaptionHost:
    """Hosts one shard. What a restart loses is in the images that are there already."""

    shard_id = -1

    @safe_errors("starting")
    def __init__(self, config: Config, shard_id: int, engines: Mapping[str, Ask], batch_size: int, folder: str) -> None:
        """`engines`: the captioner and the renderer; `folder`: where the images go."""
        self.shard_id = shard_id
        shards = config.runtime.shards
        quota = config.evolution.quota(config.release.images)
        self._shard = CaptionedShard(
            config.data,
            shard_id=shard_id,
            num_shards=shards,
            unit=config.privacy.unit,
            label_names=config.evolution.label_names,
            wanted={label: split_by_share(count, [1.0] * shards)[shard_id] for label, count in quota.items()},
            seed=config.runtime.seed,
            folder=Path(folder),
            batch_size=batch_size,
        )
        self._engines = engines

    @safe_errors("rendering captions")
    def prepare(self) -> Prepared:
        """Make this shard's images; what is returned is PRIVATE, for the internal report."""
        ask_captioner, ask_renderer = self._engines["captioner"], self._engines["renderer"]

        def caption(images: list[ImageArray]) -> list[PrivateText | None]:
            return [PrivateText(text) if text else None for text in ask_captioner(images)]

        def render(captions: Sequence[PrivateText], seeds: list[int]) -> list[ImageArray]:
            return ask_renderer([caption.reveal() for caption in captions], seeds)

        self._shard.make(caption, render)
        return Prepared(self._shard.problems(), self._shard.has_records)
