"""Chooses judges that did not vote: a network that voted favours what it chose, so another one judges by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spti_ray.config import Config, EngineConfig, Role
from spti_ray.config.loading import ConfigError
from spti_ray.models.bundled import BUNDLED_PAIR, SHORT_NAMES, ModelMissing, is_inception, model_identity
from spti_ray.models.factory import engines_config
from spti_ray.models.protocols import Judge
from spti_ray.step_progress import Told
from spti_ray.types import Space

DEFAULT_JUDGES = ("bundled:sticker-blip", "bundled:sticker-clip")
"""Judges that come with the package, the first choice first. They were trained independently of each other."""

Identity = Mapping[str, str]

_ROLES: dict[Space, tuple[Role, ...]] = {"image": ("image_embedder",), "text": ("captioner", "text_embedder")}


def voters_of(config: Config) -> dict[Role, Identity]:
    """The identity of each engine whose output the private images voted with, by role."""
    engines = engines_config(config.runtime.engines)
    voters: dict[Role, Identity] = {}
    for space in config.evolution.spaces:
        for role in _ROLES[space]:
            voters[role] = _identity(engines.of(role))
    return voters


def _identity(engine: EngineConfig) -> Identity:
    """The identity of an engine whose model may lie on another machine, and so can't be hashed here."""
    try:
        return model_identity(engine.kind, engine.model, engine.revision)
    except ModelMissing:
        return {"kind": engine.kind, "model": engine.model, "revision": "main"}


def is_voter(name: str, voters: Mapping[Role, Identity]) -> bool:
    """Whether the model `name` is one of the voters: by the hash of its weights, or by its Hugging Face id."""
    if is_inception(name):
        return any(voter["kind"] == "inception" for voter in voters.values())
    mine = model_identity("", SHORT_NAMES.get(name, name), None)
    return any(
        mine["model"] == voter["model"] or "main" != mine["revision"] == voter["revision"] for voter in voters.values()
    )


def choose_judges(asked_for: Sequence[str], voters: Mapping[Role, Identity]) -> list[tuple[str, bool]]:
    """Choose the judges.

    Args:
        asked_for: Names of judges; if empty, the first default judge that did not vote.
        voters: As `voters_of` gives them.

    Returns:
        Each judge's name, and whether it is independent of the voters.

    Raises:
        ConfigError: all that are asked for voted, although an independent one is there. A voter is never the only
            judge.
    """
    at_hand = next((name for name in DEFAULT_JUDGES if not is_voter(name, voters)), None)
    judges = [(name, not is_voter(name, voters)) for name in asked_for or (at_hand or DEFAULT_JUDGES[0],)]
    if at_hand and not any(independent for _, independent in judges):
        raise ConfigError(
            f"--judge {judges[0][0]}: this network voted, and favours what it chose; add --judge {at_hand}"
        )
    return judges


def open_judges(judges: Sequence[tuple[str, bool]], gpu: bool, told: Told) -> list[tuple[Judge, bool]]:
    """Load what `choose_judges` gives. Before a look is recorded: one that can't be had must leave no entry for good.

    Raises:
        ModelMissing: one of them can't be had; one line.
    """
    from spti_ray.models.judges import open_judge  # takes seconds to import

    told("loading the judges", 0, 0)
    return [(open_judge(name, gpu=gpu), independent) for name, independent in judges]


def pair_voted(name: str, voters: Mapping[Role, Identity]) -> bool:
    """Whether one of the two towers of the image-text model `name` voted."""
    towers = (name, "bundled:minilm") if name == BUNDLED_PAIR else (name,)
    return any(is_voter(tower, voters) for tower in towers)


def describe_voters(voters: Mapping[Role, Identity]) -> tuple[str, ...]:
    """The voters for people: `role: model` of each."""
    return tuple(f"{role}: {voter['model']}" for role, voter in voters.items())
