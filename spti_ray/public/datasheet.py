"""Makes the datasheet of a release (after "Datasheets for Datasets", arXiv 1803.09010) from public facts only.

Its head is what the Hugging Face Hub reads of a data card: exports have the datasheet as their `README.md`. Parts of it
are in `croissant.json` too, as plain sentences.

Its sources are the configuration, the released items, the models' names and the certificate. Nothing in it comes from
the private images, except through the certified mechanism: no size, no counts, no examples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jinja2
from PIL import Image

from spti_ray.config import CardConfig, Config
from spti_ray.config.method_traits import candidates_are_images, declaration_of, holds_subjects
from spti_ray.figures import rounded_up
from spti_ray.methods import PrivateData
from spti_ray.public.card_head import card_head
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.filtered import Filtered
from spti_ray.public.label_shares import LabelCounts, shares_of
from spti_ray.public.replacements import not_made_line
from spti_ray.types import SIMULATED, ReleaseItem

_TEMPLATE = "datasheet.md.j2"
_VOTING_IN_WORDS = {
    "image": "The private images and a render of each text are compared by an image embedding.",
    "caption": "A caption of each private image and the texts are compared by a text embedding; no caption is released "
    "or used to write texts.",
    "joint": "Each private image is compared with a render of each text by an image embedding, and its caption with "
    "the text by a text embedding; the weighted similarities make one vote. No caption is released or used to write "
    "texts.",
}


@dataclass(frozen=True)
class Signed:
    """Who signed the images of a release: the common name of the certificate, and whether it was made for a test."""

    by: str
    is_test: bool


Part = Literal["warnings", "summary", "contents", "how", "privacy", "uses", "limits"]
"""A block of the template."""


class Datasheet:
    """The datasheet of a release, as Markdown and in parts as sentences.

    Args:
        folder: The release's folder; the size of images is read from the first one.
        config: The run's configuration.
        items: The released items.
        models: The models by role: {kind, model, revision}.
        certificate: The certificate, or None if the release is not private.
        fallbacks: How many texts are fallbacks.
        label_counts: The noised number of records of each label, where the shares of labels were voted for.
        filtered: What the filters of the release did, if it has any.
        has_xmp: Whether each image says in XMP that it is synthetic.
        signed: Who signed the images.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        items: Sequence[ReleaseItem],
        models: Mapping[str, Mapping[str, str]],
        certificate: Mapping[str, Any] | None,
        fallbacks: FallbackCounts | None = None,
        label_counts: LabelCounts | None = None,
        filtered: Filtered | None = None,
        has_xmp: bool = False,
        signed: Signed | None = None,
    ) -> None:
        self._values = _values(folder, config, items, models, certificate, fallbacks, label_counts, filtered)
        self._values |= {"has_xmp": has_xmp, "signed": signed}

    def markdown(self) -> str:
        """All of it."""
        return _template(inline).render(self._values)

    def sentences(self, part: Part) -> list[str]:
        """The paragraphs and list items of a part, each as one line of plain text. Empty if it says nothing."""
        template = _template(_squeezed)
        text = "".join(template.blocks[part](template.new_context(self._values)))
        return _plain(text)


@cache
def _template(as_text: Callable[[object], str]) -> jinja2.Template:
    """The template, into which `as_text` writes values that may be anything."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown: values go through `inline`
        undefined=_Tolerant,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["inline"] = as_text
    environment.filters["number"] = number
    environment.filters["up"] = rounded_up
    return environment.get_template(_TEMPLATE)


def _values(
    folder: Path,
    config: Config,
    items: Sequence[ReleaseItem],
    models: Mapping[str, Mapping[str, str]],
    certificate: Mapping[str, Any] | None,
    fallbacks: FallbackCounts | None,
    label_counts: LabelCounts | None,
    filtered: Filtered | None,
) -> dict[str, Any]:
    """What the template is filled with, by name."""
    counts = Counter(item.label for item in items)
    labels = {label.name: counts[label.name] for label in config.evolution.labels}
    method = declaration_of(config)
    evolution = config.evolution
    themes = [evolution.num_themes(number) for number in config.candidate_generations]
    all_themed = all(themes)
    return dict(
        head=card_head(config, len(items), labels, certificate is not None),
        card=config.release.card,
        published=_published(config.release.card),
        config=config,
        method=method,
        voted_on=method.private_data is not PrivateData.NOT_READ,
        are_images=candidates_are_images(config),
        num_images=len(items),
        num_texts=len({item.candidate_id for item in items}),
        size=_size(folder, items),
        labels=labels,
        classes=sorted(counts),
        label_counts=label_counts or {},
        label_shares=shares_of(label_counts or {}),
        themes=[count for count in themes if count],
        all_themed=all_themed,
        asked_about="theme(s)" if all_themed else "theme(s) or candidate(s)" if evolution.themes else "candidate(s)",
        held=holds_subjects(config),
        voting=_VOTING_IN_WORDS[config.evolution.voting],
        models=models,
        simulated=simulated_in(models),
        certificate=certificate,
        not_made="" if filtered else not_made_line([item.file for item in items], config.release.images),
        filtered=list(filtered.lines()) if filtered else [],
        filters=filtered.settings if filtered else {},
        fallbacks=list(fallbacks.lines()) if fallbacks else [],
        cut_texts=list(fallbacks.cut_lines()) if fallbacks else [],
    )


def simulated_in(models: Mapping[str, Mapping[str, Any]]) -> str:
    """The roles whose engines were simulated, for people, by name; empty for a run that was no test."""
    simulated = sorted(role for role, identity in models.items() if identity.get("model") == SIMULATED)
    return ", ".join(simulated).replace("_", " ")


class _Tolerant(jinja2.ChainableUndefined):
    """A field that a certificate lacks leaves out a line of the datasheet; it never fails a run at its end."""


def inline(value: object) -> str:
    """`value` as one line of Markdown text in which nothing is markup."""
    text = re.sub(r"\s+", " ", str(value)).strip()
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def _squeezed(value: object) -> str:
    """`value` as one line of text."""
    return re.sub(r"\s+", " ", str(value)).strip()


def _plain(markdown: str) -> list[str]:
    """The paragraphs and list items of a part of the template without its markup, each with the heading it is under."""
    found, heading = [""], ""
    for line in (line.removeprefix("> ").strip() for line in markdown.splitlines()):
        if line.startswith("#"):
            heading = f"{line.lstrip('# ')}: "
        is_item = re.match(r"(-|\d+\.) ", line)
        if is_item or not line or line.startswith(("#", ">")):
            found.append("")
        if line and not line.startswith(("#", ">")):
            found[-1] = f"{found[-1] or heading} {line.removeprefix('- ') if is_item else line}"
    return [_squeezed(text.replace("**", "").replace("`", "")) for text in found if text]


def number(value: object) -> str:
    """A number for people: fractions with 6 significant digits, whole numbers with separated thousands."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return inline(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.6g}"


def _published(card: CardConfig) -> list[str]:
    """What the publisher said of version, name, place and date."""
    said = {"version": card.version, "by": card.creator, "at": card.url, "on": card.published}
    return [f"{how} {inline(value)}" for how, value in said.items() if value]


def _size(folder: Path, items: Sequence[ReleaseItem]) -> tuple[int, int] | None:
    if not items:
        return None
    with Image.open(folder / items[0].file) as image:
        return image.size
