"""Whether the filters of a release can work: whether there are engines for them, and something for them to see."""

from __future__ import annotations

from spti_ray.config import Config, EngineConfig, EnginesConfig
from spti_ray.config.method_traits import shards_caption
from spti_ray.models.joint_space import HAVE_ONE_SPACE, may_have_one_space


def check_filters(config: Config, engines: EnginesConfig) -> None:
    """Refuse filters that can't work.

    Raises:
        ValueError: one line that names the setting.
    """
    filters = config.release.filters
    if filters is None:
        return
    if shards_caption(config):
        raise ValueError(
            f"release.filters: with method: {config.method} shards write the images themselves, and nobody filters "
            "them; leave it out"
        )
    if filters.mismatch and not may_have_one_space(engines.image_embedder, engines.text_embedder):
        raise ValueError(
            "release.filters.mismatch: compares renders with texts, but the image_embedder "
            f"({_name(engines.image_embedder)}) and the text_embedder ({_name(engines.text_embedder)}) have no common "
            f"space; {HAVE_ONE_SPACE}, or leave it out"
        )


def _name(engine: EngineConfig) -> str:
    return f"{engine.kind} {engine.model}"
