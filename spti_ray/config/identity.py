"""What makes two configurations the same run: the settings that may not change, and the hash a run is known by.

The configuration of a run that an earlier build began lacks the settings that came later. Such a setting means what
that build did (`BEFORE`), and the hash covers only the settings that the build knew.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from spti_ray.config import Config

BEFORE: dict[str, Any] = {
    "data.follow_links": True,
    "data.format": None,
    "data.frame": None,
    "data.holdout": 0.0,
    "data.window": None,
    "evolution.label_shares": "public",
    "evolution.themes": [],
    "evolution.vocabulary": None,
    "prompts.hold_subject": False,
    "prompts.label_attributes": {},
    "prompts.max_tokens_rendered": "none",
    "release.filters": None,
    "release.png_level": 6,
    "release.provenance.certificate": None,
    "release.provenance.xmp": False,
}
"""Settings that came after build ab5e8e4 and may not change within a run, and what builds without them did.

A new setting is added here by its flat name, with a JSON value; or to `_FREE_TO_CHANGE`, if a run may go on with
another value of it.
"""

_FREE_TO_CHANGE = (
    "dataset.registration",
    "ledger.relative_to",
    "origin.path",
    "release.card",
    "release.provenance.key_env",
    "release.provenance.key_file",
    "runtime.executor",
    "runtime.address",
    "runtime.driver",
    "runtime.node_labels",
    "runtime.ray_start_timeout_s",
    "runtime.placement_timeout_s",
    "runtime.node_start_s",
    "runtime.autoscaling",
    "runtime.take_turns",
    "runtime.engine_metrics",
    "runtime.unit_attempts",
    "runtime.unit_crashes",
    "runtime.unit_timeout_s",
    "runtime.in_flight_per_actor",
    "runtime.shard",
    "runtime.shards",
    "finetune.records_at_once",
    "finetune.save_every_s",
)
"""Settings that may change between two starts of a run: where and how it runs and what is said of it, not what it
computes or costs."""

_FREE_ENGINE_SETTINGS = (".replicas", ".max_replicas", ".num_cpus", ".num_gpus", ".accelerators", ".threads")


def resolved(config: Config) -> dict[str, Any]:
    """The configuration with all defaults filled in, as plain JSON/YAML values."""
    return config.model_dump(mode="json")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"privacy": {"epsilon": 1}}` becomes `{"privacy.epsilon": 1}`; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _is_free(key: str) -> bool:
    """Whether a flat key is one of `_FREE_TO_CHANGE`, or of a mapping that is."""
    return any(f"{key}.".startswith(f"{free}.") for free in _FREE_TO_CHANGE)


def pinned(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run must keep from its first start to its release, by flat name.

    A later setting that means what earlier builds did is left out: configurations that do the same have the same hash.

    Args:
        tree: a resolved configuration.
    """
    settings = {
        key: value
        for key, value in flatten(tree).items()
        if not _is_free(key) and not (key in BEFORE and value == BEFORE[key])
    }
    engines = [key for key in settings if key.startswith("runtime.engines.")]
    for key in engines:
        if key.endswith(_FREE_ENGINE_SETTINGS):
            del settings[key]
    if engines and not any(key in settings for key in engines):
        # Only sizes of pools were set, on top of the embedded engines: these are the same engines.
        settings["runtime.engines"] = "embedded"
    return settings


def config_sha256(config: Config) -> str:
    """Hash of the pinned settings, in hex. All starts of a run have the same hash."""
    text = json.dumps(pinned(resolved(config)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def with_later_settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration, completed by the settings that it lacks: they mean what the build that wrote it did."""
    filled = copy.deepcopy(dict(stored))
    for key in _lacks(stored):
        _set(filled, key, BEFORE[key])
    return filled


def as_stored(config: Config, stored: Mapping[str, Any]) -> Config:
    """`config` as it applies to a run whose configuration an earlier build may have written.

    A setting that `stored` lacks and that has its default in `config` means what that build did: nobody asked for it.

    Args:
        config: the configuration of this start.
        stored: the resolved configuration in the run's `run.yaml`.
    """
    tree = resolved(config)
    flat = flatten(tree)
    for key in _lacks(stored):
        if flat.get(key) == _default(key):
            _set(tree, key, BEFORE[key])
    return Config.model_validate(tree)


def _lacks(stored: Mapping[str, Any]) -> list[str]:
    known = flatten(stored)
    return [key for key in BEFORE if not any(f"{name}.".startswith(f"{key}.") for name in known)]


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[leaf] = copy.deepcopy(value)


def _default(key: str) -> Any:
    """The default of a setting, as a JSON value."""
    section: type[BaseModel] = Config
    *sections, leaf = key.split(".")
    for name in sections:
        annotation = section.model_fields[name].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel), f"{key} is in no section"
        section = annotation
    default = section.model_fields[leaf].get_default(call_default_factory=True, validated_data={})
    return json.loads(json.dumps(default))


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The flat names of the pinned settings that differ between two resolved configurations, sorted."""
    old, new = (BEFORE | pinned(tree) for tree in (before, after))
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
