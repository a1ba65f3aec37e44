"""Generation 0 alone: what public prompts give without private images. The baseline that votes have to beat."""

from __future__ import annotations

from spti_ray.methods.declaration import Candidates, Method, PrivateData, Protection
from spti_ray.methods.studio import Studio
from spti_ray.types import ReleaseItem


def make(studio: Studio) -> list[ReleaseItem]:
    """Write texts, and render the first of them."""
    return studio.render(studio.allot(studio.first_generation()))


RANDOM = Method(
    name="random",
    help="generation 0, without private data",
    title="generation 0, unvoted",
    candidates=Candidates.TEXTS,
    private_data=PrivateData.NOT_READ,
    protection=Protection.NOT_NEEDED,
    roles=("writer", "renderer"),
    make=make,
)
