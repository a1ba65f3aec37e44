"""Decides who is in a generation: survivors, if they are kept, and the children of each selected candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.config import EvolutionConfig
from spti_ray.types import Candidate, Selected, split_by_share


@dataclass(frozen=True)
class Child:
    """A variation of `parent` that is to be made, with its id."""

    id: str
    parent: Candidate


def survivors_and_children(
    evolution: EvolutionConfig, generation: int, selected: Sequence[Selected]
) -> tuple[list[Candidate], list[Child]]:
    """The members of a generation, label by label up to each label's quota.

    Args:
        evolution: The settings: how many candidates there are, and whether survivors are kept.
        generation: The number of the generation.
        selected: The candidates that the last vote selected. Their shares say how many children each gets.

    Returns:
        The survivors, and the children to be made.
    """
    kept: list[Candidate] = []
    children: list[Child] = []
    for label, quota in evolution.candidates_per_label().items():
        parents = [item for item in selected if item.candidate.label == label]
        if not parents:
            continue
        survivors = [item.candidate for item in parents][:quota] if evolution.keep_survivors else []
        kept += survivors
        weights: list[float] = [item.share for item in parents]
        if survivors and evolution.num_themes(generation - 1):
            weights = _beyond_themselves(weights, quota)
        shares = split_by_share(quota - len(survivors), weights)
        for item, count in zip(parents, shares, strict=True):
            for _ in range(count):
                children.append(Child(f"g{generation:02d}-{len(children):06d}", item.candidate))
    return kept, children


def _beyond_themselves(shares: list[float], quota: int) -> list[float]:
    """How many children each survivor is to have, so that it and they together are its share of the quota.

    Few members of a theme with many votes leave room for many children, and the many members of one with few for none.
    """
    whole = sum(shares)
    children = [max(0.0, quota * share / whole - 1.0) for share in shares]
    return children if any(children) else [1.0] * len(shares)
