"""The actors around shards whose captions are rendered (`method: captions`), which is NOT private."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from spti_ray.config import Config, EnginesConfig
from spti_ray.private.output_suppression import suppress_output_permanently
from spti_ray.private.safe_errors import safe_errors
from spti_ray.runtime.hosting.captions import CaptionHost
from spti_ray.runtime.hosting.engine import UNPROTECTED_ROLES
from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.ray.cluster import Reserved
from spti_ray.runtime.ray.launch import actor_name, shard_options
from spti_ray.runtime.ray.shard_actor import Serving


@ray.remote
class CaptionActor(CaptionHost):
    """Hosts one shard in an actor. What a restart loses is in the images that are there already."""

    @safe_errors("starting")
    def __init__(
        self, config: Config, shard_id: int, engines: Mapping[str, list[str]], batch_size: int, folder: str
    ) -> None:
        """`engines` names the actors of each role; `folder` is where the images go."""
        self.shard_id = shard_id
        suppress_output_permanently()
        asked = {role: Serving(names, shard_id) for role, names in engines.items()}
        super().__init__(config, shard_id, asked, batch_size, folder)


def start_caption_shards(
    reserved: Reserved, bundles: tuple[Bundle, ...], config: Config, engines: EnginesConfig, session: str, folder: str
) -> list[Any]:
    """Create the actors; they answer `prepare`, as shards that vote do."""
    serving = {
        role: [actor_name(session, bundle) for bundle in bundles if bundle.role == role] for role in UNPROTECTED_ROLES
    }
    return [
        CaptionActor.options(**options).remote(config, index, serving, engines.captioner.batch_size, folder)
        for index, options in shard_options(reserved, bundles)
    ]
