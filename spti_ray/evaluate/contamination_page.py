"""The page of a contamination audit: its figures, what they show, and the nearest pairs. INTERNAL: private images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spti_ray.evaluate.contamination import Compared, ContaminationFigures, Near, Parts
from spti_ray.evaluate.contamination_subject import Subject
from spti_ray.evaluate.contamination_words import Kind
from spti_ray.evaluate.image_sets import ImageSet
from spti_ray.evaluate.page import record_pictures
from spti_ray.evaluate.reference import Reference
from spti_ray.internal_pages import data_uri, write_page
from spti_ray.private.survey import thumbnail


@dataclass(frozen=True, repr=False)
class Pictures:
    """What the pictures are of: the sets of images and the records, by the first judge."""

    subject: Subject
    sets: Mapping[Kind, ImageSet]
    parts: Parts
    compared: Sequence[Compared]


def write_contamination_page(
    path: Path, document: Mapping[str, Any], figures: Sequence[ContaminationFigures], pictures: Pictures
) -> None:
    """Write the page, which only its owner may read.

    Args:
        path: of the file, in a private folder.
        document: what is in the JSON beside it.
        figures: of each set and judge.
        pictures: what is shown.

    Raises:
        DataError: the private images can't be read any more.
    """
    parts, subject = pictures.parts, pictures.subject
    near = {compared.figures.name: (compared.near_voted, compared.near_held_out) for compared in pictures.compared}
    voted = _pictures(pictures, parts.voted, [one for voted, _ in near.values() for one in voted], True)
    held_out = _pictures(pictures, parts.held_out, [one for _, held in near.values() for one in held], False)
    shown = [
        (
            kind,
            _pairs(images, near[kind][0], voted, parts.voted),
            _pairs(images, near[kind][1], held_out, parts.held_out),
        )
        for kind, images in pictures.sets.items()
    ]
    write_page(
        path,
        "contamination.html.j2",
        document=document,
        figures=figures,
        shown=shown,
        other_data=parts.other_data,
        num_held_out=len(parts.to_voted_U),
        num_voted=len(parts.to_held_out_U),
        guarantee=subject.guarantee,
        unit=subject.config.unit_in_words,
    )


def _pictures(pictures: Pictures, records: Reference, near: Sequence[Near], voted: bool) -> dict[int, str]:
    """PRIVATE: small pictures of records, by index."""
    subject = pictures.subject
    data, part = (subject.voted, "voting") if voted else (subject.held_out, subject.part)
    wanted = {int(records.indexes_P[one.record]) for one in near}
    return record_pictures(data, subject.config.privacy.unit, subject.label_names, wanted, part)


def _pairs(
    images: ImageSet, near: Sequence[Near], pictures: Mapping[int, str], records: Reference
) -> list[tuple[str, str, Near]]:
    indexes = ((one, int(records.indexes_P[one.record])) for one in near)
    return [
        (data_uri(thumbnail(images.images[one.image])), pictures[index], one)
        for one, index in indexes
        if index in pictures
    ]
