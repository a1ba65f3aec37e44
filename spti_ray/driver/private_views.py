"""Which shards vote, and by which private views: the same for a run and for `spti check` in its folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from spti_ray.config import Config
from spti_ray.private.source import Source, fingerprint
from spti_ray.runtime.executor import VotingShards


def at_workers(config: Config, source: Source) -> Config:
    """The configuration as workers take it, which may run in another folder than the driver."""
    return config.model_copy(update={"data": config.data.model_copy(update={"path": source.location})})


def voting_shards(
    config: Config, internal: Path, source: Source, models: dict[str, Any], survey: str = ""
) -> VotingShards:
    """The shards of a run.

    Args:
        config: the run's configuration.
        internal: its internal folder, where views are kept.
        source: the private data.
        models: what the roles run that serve shards.
        survey: see `VotingShards`.

    Raises:
        DataError: the data can't be listed.
    """
    # What all shards must find, before and after they read it.
    listing = fingerprint(source)
    views = str((internal / "views").resolve())
    return VotingShards(at_workers(config, source), views, _key(config, listing, models), listing, survey)


def _key(config: Config, listing: str, models: dict[str, Any]) -> str:
    """Names the private views that may be reused: the same data, unit, labels, shards and models."""
    parts = [
        config.data.model_dump(mode="json"),
        listing,
        config.privacy.unit,
        config.evolution.label_names,
        sorted(config.evolution.spaces),
        config.runtime.shards,
        models,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
