"""Are there images nearer to records than real records of others are? A count of copied records, with its error rate.

What is assumed of an image that is no copy: that it is no nearer to the records than a real record that is none of
them. Images that are like such records in distribution, or farther, keep the stated rate, whatever the distribution is.
An image plainer than any record (a blank, an average) may break it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.stats

from spti_ray.config import Section
from spti_ray.evaluate.bootstrap import Floats, Integers

FALSE_ALARMS = 0.05
"""The most frequently that any record is called copied where none is, for each set of images and judge."""

_RANK = 0.01


class Rule(Section):
    """Images are counted that are nearer than real records but the `rank` - 1 nearest.

    `limit`: the distance. `records`: how many records have such an image. `critical`: how many would be too many by
    chance; more than there are images if no number is. `p_value`: the chance of so many, if none is copied.
    """

    rank: int
    limit: float
    records: int
    critical: int
    p_value: float


class CopiedRecords(NamedTuple):
    """What the rules found. With a chance of at most `FALSE_ALARMS`, `at_least` is more than are copied.

    `near_N`: for each image whether it is nearer to its record than the limit of a rule that found something.
    `p_value`: of all rules together.
    """

    rules: tuple[Rule, ...]
    at_least: int
    p_value: float
    near_N: npt.NDArray[np.bool_]

    @property
    def flagged(self) -> bool:
        """Whether records are copied."""
        return self.at_least > 0


def copied_records(to_record_N: Floats, record_N: Integers, among_records_C: Floats) -> CopiedRecords:
    """Count the records that images copy.

    A record counts once, however many images are near it, since images of one text are alike. The nearest images of
    all are ranked among real records: with `rank` - 1 of these before them, the number of images is negative
    hypergeometric. At most m records are copied only if the others could be so near by chance; that is tested for each
    m, so the smallest m that is not rejected is a lower confidence bound.

    Args:
        to_record_N: the distance from each image to its nearest record.
        record_N: the number of that record's unit.
        among_records_C: the distance from each real unit of the other part to its nearest record.
    """
    num_images, num_real = len(to_record_N), len(among_records_C)
    ranks = sorted({1, max(1, int(_RANK * (num_real + 1) + 1e-9))})
    level = FALSE_ALARMS / len(ranks)
    ordered_C = np.sort(among_records_C)
    rules: list[Rule] = []
    near_N, at_least = np.zeros(num_images, bool), 0
    for rank in ranks:
        limit = float(ordered_C[rank - 1])
        inside_N = to_record_N < limit
        records = len(np.unique(record_N[inside_N]))
        critical = critical_number(num_images, num_real, rank, level)
        by_chance = chance(num_images, num_real, rank, records)
        rules.append(Rule(rank=rank, limit=limit, records=records, critical=critical, p_value=by_chance))
        if records >= critical:
            near_N |= inside_N
            at_least = max(at_least, records - critical + 1)
    return CopiedRecords(tuple(rules), at_least, min(1.0, len(ranks) * min(rule.p_value for rule in rules)), near_N)


def chance(num_images: int, num_real: int, rank: int, records: int) -> float:
    """The chance that so many images, or more, are nearer than the real one of this rank, if all are alike.

    That is so where among the `records` + `rank` - 1 nearest of all at most `rank` - 1 are real.
    """
    if records < 1:
        return 1.0
    if records > num_images:
        return 0.0
    nearest = min(records + rank - 1, num_images + num_real)
    return float(scipy.stats.hypergeom.cdf(rank - 1, num_images + num_real, num_real, nearest))


@cache
def critical_number(num_images: int, num_real: int, rank: int = 1, level: float = FALSE_ALARMS / 2) -> int:
    """The smallest number of records whose chance is at most `level`; `num_images` + 1 if there is none."""
    low, high = 1, num_images + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(num_images, num_real, rank, middle) <= level else (middle + 1, high)
    return low


@cache
def real_needed(num_images: int, records: int) -> int:
    """How many real units of the other part it takes for so many copied records to be called so.

    Raises:
        ValueError: `records` is not in 1 to `num_images`.
    """
    if not 1 <= records <= num_images:
        raise ValueError("records must be in 1 to num_images")
    low, high = 1, 1
    while critical_number(num_images, high) > records:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if critical_number(num_images, middle) <= records else (middle + 1, high)
    return low
