"""Who voted, and who may judge: the networks that voted favour what they chose, so another one judges by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spti_ray.config import Config, EngineConfig, Role
from spti_ray.config.loading import ConfigError
from spti_ray.models.bundled import BUNDLED_PAIR, SHORT_NAMES, ModelMissing, is_inception, model_identity
from spti_ray.models.factory import engines_config
from spti_ray.types import Space

BY_DEFAULT = ("bundled:sticker-blip", "bundled:sticker-clip")
"""Judges that come with the package, the first choice first: both were trained apart from each other."""

Identity = Mapping[str, str]

_ROLES: dict[Space, tuple[Role, ...]] = {"image": ("image_embedder",), "text": ("captioner", "text_embedder")}


def voters_of(config: Config) -> dict[Role, Identity]:
    """The engines whose embeddings the private images voted with."""
    engines = engines_config(config.runtime.engines)
    voters: dict[Role, Identity] = {}
    for space in config.evolution.spaces:
        for role in _ROLES[space]:
            voters[role] = _identity(engines.of(role))
    return voters


def _identity(engine: EngineConfig) -> Identity:
    """Of an engine whose model may lie on another machine."""
    try:
        return model_identity(engine.kind, engine.model, engine.revision)
    except ModelMissing:
        return {"kind": engine.kind, "model": engine.model, "revision": "main"}


def voted(name: str, voters: Mapping[Role, Identity]) -> bool:
    """Whether the model of that name is one of the voters: by the hash of its weights, or by its Hugging Face id."""
    if is_inception(name):
        return any(voter["kind"] == "inception" for voter in voters.values())
    mine = model_identity("", SHORT_NAMES.get(name, name), None)
    return any(
        mine["model"] == voter["model"] or "main" != mine["revision"] == voter["revision"] for voter in voters.values()
    )


def choose_judges(asked_for: Sequence[str], voters: Mapping[Role, Identity]) -> list[tuple[str, bool]]:
    """Each judge's name, and whether it is independent of the voters; the default if none is asked for.

    ConfigError if all that are asked for voted while an independent one is at hand: a voter is never the only judge.
    """
    at_hand = next((name for name in BY_DEFAULT if not voted(name, voters)), None)
    judges = [(name, not voted(name, voters)) for name in asked_for or (at_hand or BY_DEFAULT[0],)]
    if at_hand and not any(independent for _, independent in judges):
        raise ConfigError(
            f"--judge {judges[0][0]}: this network voted, and favours what it chose; add --judge {at_hand}"
        )
    return judges


def scorer_voted(name: str, voters: Mapping[Role, Identity]) -> bool:
    """Whether a tower of the image-text pair of that name voted."""
    towers = (name, "bundled:minilm") if name == BUNDLED_PAIR else (name,)
    return any(voted(tower, voters) for tower in towers)


def in_words(voters: Mapping[Role, Identity]) -> tuple[str, ...]:
    return tuple(f"{role}: {voter['model']}" for role, voter in voters.items())
