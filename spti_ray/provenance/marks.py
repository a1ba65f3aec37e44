"""What the images of a release get besides their pixels."""

from __future__ import annotations

from dataclasses import dataclass

from spti_ray.provenance.c2pa_manifests import ImageSigner


@dataclass(frozen=True)
class Marks:
    """The same for all images of a release. `packet`: their XMP, or None. `signer`: signs them at the end, or None."""

    packet: str | None = None
    signer: ImageSigner | None = None


BARE = Marks()
"""Images as they were rendered."""
