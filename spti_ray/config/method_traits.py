"""What follows from a run's method and settings: which private data it reads, what protects them, what may leave.

Everybody who wants to know asks here. The methods themselves are declared in `spti_ray.methods`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from spti_ray.methods import METHODS, Candidates, Method, PrivateData, Protection
from spti_ray.types import Role

if TYPE_CHECKING:
    from spti_ray.config.run import Config


def declaration_of(config: Config) -> Method:
    """The declaration of the run's method."""
    return METHODS[config.method]


def roles_needed(config: Config) -> tuple[Role, ...]:
    """The engine roles that a run uses, in the order in which they should start (slowest first)."""
    roles: tuple[Role, ...] = ("renderer",)
    if not config.rerenders:
        roles = declaration_of(config).roles_in(config.evolution.spaces)
    more: tuple[Role, ...] = ("text_embedder",) if holds_subjects(config) else ()
    return tuple(dict.fromkeys((*roles, *more, *filter_roles(config))))


def filter_roles(config: Config) -> tuple[Role, ...]:
    """The roles whose engines look at the renders of the release, beside what else they do."""
    filters = config.release.filters
    if filters is None or not filters.embeds_images or shards_caption(config):
        return ()
    return ("image_embedder", "text_embedder") if filters.mismatch else ("image_embedder",)


def roles_shown_private(config: Config) -> tuple[Role, ...]:
    """The roles whose engines are shown private images, or captions of them."""
    return () if config.rerenders else declaration_of(config).shown_private(config.evolution.spaces)


def candidates_are_images(config: Config) -> bool:
    """Whether candidates are images; else they are texts, or there are none."""
    return declaration_of(config).candidates is Candidates.IMAGES


def holds_subjects(config: Config) -> bool:
    """Whether new texts are compared with the labels and themes that they were asked for."""
    if not config.prompts.hold_subject or config.rerenders or declaration_of(config).candidates is not Candidates.TEXTS:
        return False
    return len(config.evolution.labels) > 1 or (bool(config.evolution.themes) and shards_vote(config))


def uses_private_data(config: Config) -> bool:
    """Whether the run reads the private images at all; one that renders another's texts again does not."""
    return declaration_of(config).private_data is not PrivateData.NOT_READ and not config.rerenders


def method_has_votes(config: Config) -> bool:
    """Whether private images vote by this method, also where the run only renders what another one's voted for."""
    return declaration_of(config).private_data is PrivateData.VOTES


def shards_vote(config: Config) -> bool:
    """Whether generations are voted on, by shards that hold the private images."""
    return method_has_votes(config) and not config.rerenders


def shards_caption(config: Config) -> bool:
    """Whether shards have captions of their private images rendered. NOT private."""
    return declaration_of(config).private_data is PrivateData.CAPTIONS and not config.rerenders


def has_shards(config: Config) -> bool:
    """Whether shards hold the private images; a trainer holds them all by itself."""
    return shards_vote(config) or shards_caption(config)


def shard_gpus(config: Config) -> float:
    """The share of a GPU that each shard is given: none where shards do not vote."""
    return config.runtime.shard.num_gpus if shards_vote(config) else 0.0


def trains(config: Config) -> bool:
    """Whether a trainer holds the private images, and makes another model of the renderer's before engines start."""
    return declaration_of(config).private_data is PrivateData.TRAINING and not config.rerenders


def why_not_private(config: Config) -> str:
    """Why nothing protects the private images in what this run makes; empty if something does."""
    method = declaration_of(config)
    if method.protection is Protection.NONE:
        return method.unprotected
    if uses_private_data(config) and math.isinf(config.privacy.epsilon):
        return f"images by {method.name} without noise (epsilon inf)"
    return ""


def why_not_certified(config: Config) -> str:
    """What this run makes at its epsilon in float arithmetic, which no certificate can vouch for; else empty."""
    if declaration_of(config).protection is Protection.FLOAT_DP_SGD and not why_not_private(config):
        return f"{config.method} at epsilon {config.privacy.epsilon:g}, uncertified"
    return ""


def stays_inside(config: Config) -> bool:
    """Whether all that it makes is internal: there is no release."""
    return bool(why_not_private(config) or why_not_certified(config))


def is_charged(config: Config) -> bool:
    """Whether it spends from the dataset's budget, and so gets a certificate."""
    return uses_private_data(config) and not stays_inside(config)
