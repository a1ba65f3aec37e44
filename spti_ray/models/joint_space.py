"""Which image embedders and text embedders have one space, so that a cosine of an image and a text means something."""

from __future__ import annotations

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import BUNDLED_PAIR
from spti_ray.models.factory import EMBEDDED, KINDS

HAVE_ONE_SPACE = (
    "set runtime.engines.text_embedder to kind clip-text with the CLIP or SigLIP model of the image_embedder, or keep "
    "the bundled two"
)

_TOWERS = ("vision", "clip-vision")


def may_have_one_space(images: EngineConfig, texts: EngineConfig) -> bool:
    """Whether two embedders were trained to embed into one space.

    Known of the bundled two, and of the two towers of one CLIP or SigLIP model. Two engines of the user's own are taken
    at their word; a run then checks that their rows have one length, before anything is charged.
    """
    own = [engine.kind not in KINDS for engine in (images, texts)]
    if all(own):
        return True
    if images.kind not in _TOWERS:
        return False
    if images.model == BUNDLED_PAIR:
        return (texts.kind, texts.model) == (EMBEDDED.text_embedder.kind, EMBEDDED.text_embedder.model)
    return texts.kind == "clip-text" and (texts.model, texts.revision) == (images.model, images.revision)
