"""SPTI, simulated private text-to-image generation (arXiv 2506.07555): texts evolve by votes of the private images."""

from __future__ import annotations

from spti_ray.methods.declaration import Candidates, Method, PrivateData, Protection
from spti_ray.methods.studio import Studio
from spti_ray.types import ReleaseItem


def make(studio: Studio) -> list[ReleaseItem]:
    """Evolve texts, and render those that were voted for."""
    return studio.render(studio.varied(studio.allot(studio.evolve())))


SPTI = Method(
    name="spti",
    help="texts evolve",
    title="Synthesis via Private Textual Intermediaries (arXiv 2506.07555)",
    candidates=Candidates.TEXTS,
    private_data=PrivateData.VOTES,
    protection=Protection.GATE,
    roles=("writer", "renderer"),
    roles_of_space={"image": ("image_embedder",), "text": ("captioner", "text_embedder")},
    make=make,
)
