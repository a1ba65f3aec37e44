"""DP-SGD on the renderer's model, to compare with. Training comes first; what is here is what follows it.

Gradients and noise are floats, so no certificate vouches for its epsilon.
"""

from __future__ import annotations

from spti_ray.methods.declaration import Candidates, Method, PrivateData, Protection
from spti_ray.methods.studio import Studio
from spti_ray.types import Candidate, ReleaseItem


def make(studio: Studio) -> list[ReleaseItem]:
    """Render the public text of each label by the trained model."""
    quota = studio.quota()
    return studio.render(
        [
            (Candidate(f"g00-{index:05d}", text, label, generation=0), quota[label])
            for index, (label, text) in enumerate(studio.label_texts().items())
        ]
    )


DP_FINETUNE = Method(
    name="dp-finetune",
    help="DP-SGD on the renderer's model, uncertified",
    candidates=Candidates.NONE,
    private_data=PrivateData.TRAINING,
    protection=Protection.FLOAT_DP_SGD,
    roles=("renderer",),
    make=make,
)
