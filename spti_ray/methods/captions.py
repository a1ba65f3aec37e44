"""Renders of captions of the private images. NOT private: what the renderer can reach at most, for the data's owner."""

from __future__ import annotations

from spti_ray.methods.declaration import Candidates, Method, PrivateData, Protection
from spti_ray.methods.studio import Studio


def make(studio: Studio) -> None:
    """Let the shards write the images, from captions that nobody else sees."""
    studio.wait_for_shards()


CAPTIONS = Method(
    name="captions",
    help="renders of private captions, NOT private",
    candidates=Candidates.NONE,
    private_data=PrivateData.CAPTIONS,
    protection=Protection.NONE,
    unprotected="renders of captions of the private images",
    roles=("captioner", "renderer"),
    make=make,
)
