"""Manifold metrics (precision, recall, density, coverage), and whether images are copies of single records.

Distances are scikit-learn's. The package prdc of the papers' authors is not used, since it prints how many real images
there are; a test compares with it.
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


class ManifoldMetrics(NamedTuple):
    """Values per image; the four metrics are their means."""

    precision_N: Floats
    density_N: Floats
    recall_M: Floats
    coverage_M: Floats


def neighbour_radii(features_NE: Floats) -> Floats:
    """The distance [N] from each sample to the NEAREST-th nearest other one."""
    return np.partition(euclidean_distances(features_NE), NEAREST, axis=1)[:, NEAREST]


def manifold_metrics(generated_NE: Floats, real_ME: Floats, radii_M: Floats) -> ManifoldMetrics:
    """Precision, recall, density and coverage.

    Precision and recall: Kynkäänniemi et al., arXiv 1904.06991. Density and coverage: Naeem et al., arXiv 2002.09797.

    Args:
        generated_NE: Features of N generated images, more than NEAREST.
        real_ME: Features of M real images, more than NEAREST.
        radii_M: `neighbour_radii(real_ME)`, which is the same for all generated sets.
    """
    distances_NM = euclidean_distances(generated_NE, real_ME)
    near_real_NM = distances_NM < radii_M
    near_generated_NM = distances_NM < neighbour_radii(generated_NE)[:, None]
    return ManifoldMetrics(
        precision_N=near_real_NM.any(axis=1).astype(np.float64),
        density_N=near_real_NM.sum(axis=1) / NEAREST,
        recall_M=near_generated_NM.any(axis=0).astype(np.float64),
        coverage_M=near_real_NM.any(axis=0).astype(np.float64),
    )


class CopyCheck(NamedTuple):
    """How near generated images are to single records.

    `copied_N`: 1 where an image is nearer to a record than nearly all records are to each other, else 0.
    `ratio`: the median distance from an image to its nearest record, over that from a record to its nearest other one.
    """

    copied_N: Floats
    ratio: float


def check_copies(generated_NE: Floats, real_ME: Floats) -> CopyCheck:
    """Check for memorisation: a copy is nearer to a record than 99 % of the records are to their nearest other one.

    Args:
        generated_NE: Features of N generated images.
        real_ME: Features of M real images.
    """
    index = NearestNeighbors(n_neighbors=2).fit(real_ME)
    among_M = index.kneighbors(real_ME)[0][:, 1]
    to_real_N = index.kneighbors(generated_NE, n_neighbors=1)[0][:, 0]
    usual = float(np.median(among_M))
    # Duplicate records make the quantile zero. The lower limit still tells equal images from near ones.
    limit = max(float(np.quantile(among_M, _COPY_QUANTILE)), _SAME * usual)
    return CopyCheck((to_real_N <= limit).astype(np.float64), float(np.median(to_real_N)) / usual if usual else 0.0)
