"""The datasheet of a release (after "Datasheets for Datasets", arXiv 1803.09010), filled from public facts only.

It is made from the configuration, the released items, the models' names and the certificate. Nothing in it is
derived from the private images except through the certified mechanism: no size, no counts, no examples of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from spti_ray.config import Config
from spti_ray.figures import rounded_up
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.types import ReleaseItem

_TEMPLATE = "datasheet.md.j2"
_VOTING_IN_WORDS = {
    "image": "The private images and a render of each text are compared by an image embedding.",
    "caption": "A caption of each private image and the texts are compared by a text embedding; no caption is released "
    "or used to write texts.",
    "joint": "Each private image is compared with a render of each text by an image embedding, and its caption with "
    "the text by a text embedding; the weighted similarities make one vote. No caption is released or used to write "
    "texts.",
}


def datasheet(
    folder: Path,
    config: Config,
    items: Sequence[ReleaseItem],
    models: Mapping[str, Mapping[str, str]],
    certificate: Mapping[str, Any] | None,
    written: FallbackCounts | None = None,
) -> str:
    """Return the datasheet as Markdown. `folder` is the release folder (the image size is read from one image)."""
    counts = Counter(item.label for item in items)
    labels = {label.name: counts[label.name] for label in config.evolution.labels}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown: values go through `inline`
        undefined=_Tolerant,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["inline"] = inline
    environment.filters["number"] = number
    environment.filters["up"] = rounded_up
    return environment.get_template(_TEMPLATE).render(
        config=config,
        num_images=len(items),
        num_texts=len({item.candidate_id for item in items}),
        size=_size(folder, items),
        labels=labels,
        voting=_VOTING_IN_WORDS[config.evolution.voting],
        models=models,
        certificate=certificate,
        written=list(written.lines()) if written else [],
    )


class _Tolerant(jinja2.ChainableUndefined):
    """A certificate without some field gives a datasheet without that line, never an error at the end of a run."""


def inline(value: object) -> str:
    """`value` as one line of Markdown text: no control characters, and nothing in it is markup."""
    text = re.sub(r"\s+", " ", str(value)).strip()
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def number(value: object) -> str:
    """Numbers readably: 6 significant digits for fractions, thousands separated for whole ones."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return inline(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.6g}"


def _size(folder: Path, items: Sequence[ReleaseItem]) -> tuple[int, int] | None:
    if not items:
        return None
    with Image.open(folder / items[0].file) as image:
        return image.size
