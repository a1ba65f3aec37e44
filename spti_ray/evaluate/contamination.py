"""Does a foundation model know the private records? Images against records that voted and records that never did.

PRIVATE: all figures are computed from the records without noise. What each comparison shows, and what it does not, is
said with it: both parts of a dataset may have been in a model's training data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from spti_ray.config import Section
from spti_ray.evaluate.bootstrap import Floats, Integers
from spti_ray.evaluate.contamination_words import SHOWS, Kind
from spti_ray.evaluate.copied_records import FALSE_ALARMS, CopiedRecords, Rule, copied_records, real_needed
from spti_ray.evaluate.membership import (
    Membership,
    held_out_needed,
    membership,
    most_true_positives,
    nearest_of_unit,
    too_few,
)
from spti_ray.evaluate.reference import EvaluationFailed, Reference

_SAME = 1e-4
_MANY = 10
"""Copied records of which the page says how many held-out ones would show them."""


class MembershipFigures(Membership):
    """And what it shows. `most_auc`, `most_tpr`: what epsilon allows; None where it says nothing."""

    most_auc: float | None = None
    most_tpr: float | None = None
    shows: str


class CopyFigures(Section):
    """Which records of one part images copy, by the distances of the other part's units as the yardstick.

    `nearest`: the smallest, the 1 % and the median distance of images to these records; `nearest_real`: of the other
    part's units. `needed`: how many copied records it takes to be flagged; `needed_for_ten`: how many units the other
    part must have for ten copied records to be flagged.
    """

    of: str
    num_records: int
    compared_with: int
    flagged: bool
    at_least: int
    p_value: float
    false_alarms: float = FALSE_ALARMS
    rules: tuple[Rule, ...]
    nearest: tuple[float, float, float]
    nearest_real: tuple[float, float, float]
    needed: int
    needed_for_ten: int
    shows: str


class ContaminationFigures(Section):
    """One set of images by one judge."""

    name: str
    judge: dict[str, str]
    independent: bool
    num_images: int
    membership: MembershipFigures
    copies: tuple[CopyFigures, CopyFigures]
    """Of records that voted, and of records that never did."""


class Near(NamedTuple):
    """An image and the record nearest to it; the rows of both.

    `distance`: between them. `real_nearer`: how many real units of the other part are as near to a record, or nearer.
    `copied`: whether a rule counts it.
    """

    image: int
    record: int
    distance: float
    real_nearer: int
    copied: bool


class Compared(NamedTuple):
    """The figures of a set, and its nearest images for each part: PRIVATE."""

    figures: ContaminationFigures
    near_voted: list[Near]
    near_held_out: list[Near]


class Parts:
    """PRIVATE: the records that voted and those that never did, by one judge, and how near they are to each other.

    Raises:
        EvaluationFailed: there are too few units that never voted for the stated rate.
    """

    def __init__(self, voted: Reference, held_out: Reference, *, other_data: bool) -> None:
        """`other_data`: whether the held-out records are no part of the dataset, but data of their own."""
        self.voted, self.held_out, self.other_data = voted, held_out, other_data
        if (units := len(np.unique(held_out.groups_P))) < held_out_needed():
            raise EvaluationFailed(too_few("group" if units < len(held_out.groups_P) else "record"))
        self.to_voted_U, self.to_held_out_U = (
            nearest_of_unit(_nearest(one.features_PE, other.features_PE)[0], one.groups_P)
            for one, other in ((held_out, voted), (voted, held_out))
        )
        usual = float(np.median(self.to_held_out_U)) or 1.0
        self.num_same = int((self.to_voted_U <= _SAME * usual).sum())


def compare(
    features_NE: Floats,
    parts: Parts,
    kind: Kind,
    *,
    judge: dict[str, str],
    independent: bool,
    guarantee: tuple[float, float] | None,
    seed: int,
    most: int = 24,
) -> Compared:
    """Compare one set of images with both parts of the records.

    Args:
        features_NE: of the images, by the judge of `parts`.
        parts: the records.
        kind: what the images are.
        judge, independent: the judge's identity, and whether it did not vote.
        guarantee: epsilon and delta of the images, where they have any and were made of these records.
        seed: of the permutations, public.
        most: how many nearest images are wanted for each part.
    """
    of_voted, near_voted = _copies(features_NE, parts.voted, parts.to_voted_U, most)
    of_held_out, near_held_out = _copies(features_NE, parts.held_out, parts.to_held_out_U, most)
    voted_U, held_out_U = (
        nearest_of_unit(_nearest(part.features_PE, features_NE)[0], part.groups_P)
        for part in (parts.voted, parts.held_out)
    )
    found, shows = membership(voted_U, held_out_U, seed), SHOWS[kind]
    # Only where a hash divided one dataset are both parts alike, so that the guarantee says something of the test.
    bounds = {}
    if guarantee is not None and not parts.other_data:
        bounds = {
            "most_auc": most_true_positives(0.5, *guarantee),
            "most_tpr": most_true_positives(found.fpr, *guarantee),
        }
    figures = ContaminationFigures(
        name=kind,
        judge=judge,
        independent=independent,
        num_images=len(features_NE),
        membership=MembershipFigures(
            **found.model_dump(), **bounds, shows=shows.membership_of_others if parts.other_data else shows.membership
        ),
        copies=(
            _figures("records that voted", of_voted, parts.voted, shows.copies_of_voted),
            _figures("records that never voted", of_held_out, parts.held_out, shows.copies_of_held_out),
        ),
    )
    return Compared(figures, near_voted, near_held_out)


class _Copies(NamedTuple):
    found: CopiedRecords
    to_record_N: Floats
    real_U: Floats


def _copies(features_NE: Floats, records: Reference, real_U: Floats, most: int) -> tuple[_Copies, list[Near]]:
    """Copies of one part's records, and the nearest image of each of the `most` nearest of them."""
    to_record_N, record_N = _nearest(features_NE, records.features_PE)
    found = copied_records(to_record_N, records.groups_P[record_N], real_U)
    ordered_U, seen, near = np.sort(real_U), set[int](), list[Near]()
    for image in np.argsort(to_record_N, kind="stable").tolist():
        record, distance = int(record_N[image]), float(to_record_N[image])
        if record in seen or len(near) == most:
            continue
        seen.add(record)
        nearer = int(np.searchsorted(ordered_U, distance, "right"))
        near.append(Near(image, record, distance, nearer, bool(found.near_N[image])))
    return _Copies(found, to_record_N, real_U), near


def _figures(of: str, copies: _Copies, records: Reference, shows: str) -> CopyFigures:
    found, num_images = copies.found, len(copies.to_record_N)
    return CopyFigures(
        of=of,
        num_records=len(records.features_PE),
        compared_with=len(copies.real_U),
        flagged=found.flagged,
        at_least=found.at_least,
        p_value=found.p_value,
        rules=found.rules,
        nearest=_summary(copies.to_record_N),
        nearest_real=_summary(copies.real_U),
        needed=min(rule.critical for rule in found.rules),
        needed_for_ten=real_needed(num_images, min(_MANY, num_images)),
        shows=shows,
    )


def _summary(distances: Floats) -> tuple[float, float, float]:
    low, middle = np.quantile(distances, (0.01, 0.5))
    return float(distances.min()), float(low), float(middle)


def _nearest(from_NE: Floats, to_ME: Floats) -> tuple[Floats, Integers]:
    """The distance from each row of the first to its nearest of the second, and the row of that."""
    distances_N1, rows_N1 = NearestNeighbors(n_neighbors=1).fit(to_ME).kneighbors(from_NE)
    return distances_N1[:, 0], np.asarray(rows_N1[:, 0], np.int64)
