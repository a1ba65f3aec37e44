"""What lies within reach of what: precision, recall, density, coverage, and copies of single records.

Distances are scikit-learn's. (The package prdc, of the papers' authors, prints how many real images there are; a test
compares with it.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from spti_ray.evaluate.bootstrap import Floats

NEAREST = 5
_COPY_QUANTILE = 0.01
_SAME = 1e-4


class Manifold(NamedTuple):
    """Per image: means of these are the four figures."""

    precision_N: Floats
    density_N: Floats
    recall_M: Floats
    coverage_M: Floats


def radii(features_NE: Floats) -> Floats:
    """Each sample's distance to the NEAREST-th other one."""
    return np.partition(euclidean_distances(features_NE), NEAREST, axis=1)[:, NEAREST]


def manifold(generated_NE: Floats, real_ME: Floats, radii_M: Floats) -> Manifold:
    """Of N generated and M real images, with `radii(real_ME)`; more than NEAREST of each.

    Precision and recall: Kynkäänniemi et al., arXiv 1904.06991. Density and coverage: Naeem et al., arXiv 2002.09797.
    """
    distances_NM = euclidean_distances(generated_NE, real_ME)
    near_real_NM = distances_NM < radii_M
    near_generated_NM = distances_NM < radii(generated_NE)[:, None]
    return Manifold(
        precision_N=near_real_NM.any(axis=1).astype(np.float64),
        density_N=near_real_NM.sum(axis=1) / NEAREST,
        recall_M=near_generated_NM.any(axis=0).astype(np.float64),
        coverage_M=near_real_NM.any(axis=0).astype(np.float64),
    )


class Nearness(NamedTuple):
    """Of generated images to single records. `copied_N`: 1 where an image is as near to a record as hardly any two are.

    `ratio`: median distance to the nearest record, over that of records to one another.
    """

    copied_N: Floats
    ratio: float


def nearness(generated_NE: Floats, real_ME: Floats) -> Nearness:
    """The memorisation check: a copy is nearer to a record than 99 in 100 records are to their nearest other one."""
    index = NearestNeighbors(n_neighbors=2).fit(real_ME)
    among_M = index.kneighbors(real_ME)[0][:, 1]
    to_real_N = index.kneighbors(generated_NE, n_neighbors=1)[0][:, 0]
    usual = float(np.median(among_M))
    # Records that are there twice make the quantile zero; equal images are still told from near ones.
    limit = max(float(np.quantile(among_M, _COPY_QUANTILE)), _SAME * usual)
    return Nearness((to_real_N <= limit).astype(np.float64), float(np.median(to_real_N)) / usual if usual else 0.0)
