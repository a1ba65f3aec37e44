"""Who is in a generation: the survivors, if they are kept, and how many children each selected candidate gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.config import EvolutionConfig
from spti_ray.types import Candidate, Selected, split_by_share


@dataclass(frozen=True)
class Child:
    """A place in the population for a variation of `parent`."""

    id: str
    parent: Candidate


def succession(
    evolution: EvolutionConfig, generation: int, selected: Sequence[Selected]
) -> tuple[list[Candidate], list[Child]]:
    """(survivors, children) of `generation`, label by label up to the quota; the parents' shares split the children."""
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
