"""Private Evolution on images (arXiv 2305.15560): the loop of SPTI, by which images evolve instead of texts.

Generation 0 is rendered from public prompts; a child is an image-to-image variation of its parent by the same renderer.
No text is written.
"""

from __future__ import annotations

from spti_ray.methods.declaration import Candidates, Method, PrivateData, Protection
from spti_ray.methods.studio import Studio
from spti_ray.types import ReleaseItem


def make(studio: Studio) -> list[ReleaseItem]:
    """Evolve images, and release those that were voted for."""
    return studio.render(studio.varied(studio.allot(studio.evolve())))


PE_IMAGE = Method(
    name="pe-image",
    help="images evolve (Private Evolution, the same renderer and gate)",
    title="Private Evolution on images (arXiv 2305.15560)",
    candidates=Candidates.IMAGES,
    private_data=PrivateData.VOTES,
    protection=Protection.GATE,
    roles=("renderer",),
    roles_of_space={"image": ("image_embedder",)},
    make=make,
)
