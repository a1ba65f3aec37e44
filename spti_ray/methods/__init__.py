"""Which methods are there, and what does each need, make and protect? One file a method.

Nothing else asks which method is running: it asks for what the method declares (`config.method_traits`).
"""

from spti_ray.methods.captions import CAPTIONS
from spti_ray.methods.declaration import Candidates, Method, PrivateData, Protection
from spti_ray.methods.dp_finetune import DP_FINETUNE
from spti_ray.methods.pe_image import PE_IMAGE
from spti_ray.methods.random_texts import RANDOM
from spti_ray.methods.spti import SPTI
from spti_ray.methods.studio import Allotment, Studio

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        SPTI,
        PE_IMAGE,
        RANDOM,
        CAPTIONS,
        DP_FINETUNE,
    )
}
"""Every method by its name, in the order in which the reference lists them; the first is the default."""

__all__ = ["METHODS", "Allotment", "Candidates", "Method", "PrivateData", "Protection", "Studio"]
