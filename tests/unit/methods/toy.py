"""A method of nobody's: texts evolve by votes, and only the best one of each label is released."""

from __future__ import annotations

from spti_ray.methods import Candidates, Method, PrivateData, Protection, Studio
from spti_ray.types import ReleaseItem


def make(studio: Studio) -> list[ReleaseItem]:
    """Evolve texts, and render the most voted one of each label."""
    best = {item.candidate.label: item for item in reversed(studio.evolve())}
    return studio.render(studio.allot(list(best.values())))


TOY = Method(
    name="toy",
    help="the best text of each label",
    title="Best of each (of nobody)",
    candidates=Candidates.TEXTS,
    private_data=PrivateData.VOTES,
    protection=Protection.GATE,
    roles=("writer", "renderer"),
    roles_of_space={"image": ("image_embedder",)},
    make=make,
)
