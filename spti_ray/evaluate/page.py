"""The page of an evaluation: its figures and pictures. INTERNAL: it shows private images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spti_ray.config import DataConfig
from spti_ray.evaluate.bootstrap import Floats
from spti_ray.evaluate.image_sets import ImageSet
from spti_ray.evaluate.lines import lead_line, ordered
from spti_ray.evaluate.neighbours import nearest_pairs, nearest_records
from spti_ray.evaluate.reference import Reference
from spti_ray.evaluate.result import STATEMENT, EvaluationResult
from spti_ray.internal_pages import data_uri, write_page
from spti_ray.private.dataset import load_shard
from spti_ray.private.holdout import Part
from spti_ray.private.kinds import Unit
from spti_ray.private.survey import thumbnail

_RECORDS, _PAIRS = 24, 12


@dataclass(frozen=True, repr=False)
class Shown:
    """What the pictures are of: the images of a set that were evaluated, by their numbers, and the private records."""

    images: ImageSet
    numbers: Sequence[int]
    features_NE: Floats
    reference: Reference
    data: DataConfig
    unit: Unit
    label_names: tuple[str, ...]


def write_evaluation_page(path: Path, results: Sequence[EvaluationResult], shown: Shown) -> None:
    """Write the page, which only its owner may read.

    Args:
        path: of the file, in a private folder.
        results: all results, of which the page has every figure.
        shown: what its pictures are of.

    Raises:
        DataError: the private images can't be read any more.
    """
    near = nearest_records(shown.features_NE, shown.reference.features_PE, _RECORDS)
    wanted = {int(shown.reference.indexes_P[row]) for _, row, _ in near}
    records = record_pictures(shown.data, shown.unit, shown.label_names, wanted)
    pairs = nearest_pairs(shown.features_NE, _PAIRS)
    write_page(
        path,
        "evaluation.html.j2",
        statement=STATEMENT,
        results=[(result, lead_line(result), ordered(result.metrics)) for result in results],
        name=shown.images.name,
        near=[
            (_picture(shown, image), records[int(shown.reference.indexes_P[row])], ratio)
            for image, row, ratio in near
            if int(shown.reference.indexes_P[row]) in records
        ],
        pairs=[(_picture(shown, image), _picture(shown, other), ratio) for image, other, ratio in pairs],
    )


def _picture(shown: Shown, row: int) -> str:
    return data_uri(thumbnail(shown.images.images[shown.numbers[row]]))


def record_pictures(
    data: DataConfig, unit: Unit, label_names: tuple[str, ...], wanted: set[int], part: Part = "voting"
) -> dict[int, str]:
    """PRIVATE: small pictures of these records, by index. The data are read again: nothing keeps their pixels.

    Raises:
        DataError: they can't be read any more.
    """
    found: dict[int, str] = {}
    for record in load_shard(data, unit, 0, 1, label_names, part=part):
        if record.index in wanted and record.image is not None:
            found[record.index] = data_uri(thumbnail(record.image))
        if len(found) == len(wanted):
            break
    return found
