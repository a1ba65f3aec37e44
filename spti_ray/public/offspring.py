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
    for label, quota in evolution.quota(evolution.candidates).items():
        parents = [item for item in selected if item.candidate.label == label]
        if not parents:
            continue
        survivors = [item.candidate for item in parents][:quota] if evolution.keep_survivors else []
        kept += survivors
        shares = split_by_share(quota - len(survivors), [item.share for item in parents])
        for item, count in zip(parents, shares, strict=True):
            for _ in range(count):
                children.append(Child(f"g{generation:02d}-{len(children):06d}", item.candidate))
    return kept, children
