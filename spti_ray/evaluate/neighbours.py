"""Which generated images are nearest to private records, and which to each other, by a judge's features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from spti_ray.evaluate.bootstrap import Floats


class Near(NamedTuple):
    """Two images: rows of their features, and their distance over the median of that among its kind."""

    image: int
    other: int
    ratio: float


def nearest_records(generated_NE: Floats, real_ME: Floats, most: int) -> list[Near]:
    """PRIVATE: the generated images that are nearest to a private record, the nearest first.

    Args:
        generated_NE: Features of N generated images.
        real_ME: Features of M records, more than one.
        most: How many are wanted.

    Returns:
        Each image with its nearest record; ratio 1 is as near as records are to one another (median).
    """
    index = NearestNeighbors(n_neighbors=2).fit(real_ME)
    usual = float(np.median(index.kneighbors(real_ME)[0][:, 1])) or 1.0
    distances_N1, records_N1 = index.kneighbors(generated_NE, n_neighbors=1)
    order = np.argsort(distances_N1[:, 0], kind="stable")[:most]
    return [Near(int(i), int(records_N1[i, 0]), float(distances_N1[i, 0]) / usual) for i in order]


def nearest_pairs(generated_NE: Floats, most: int) -> list[Near]:
    """The pairs of generated images that are nearest to each other, the nearest first; an image is in one pair at most.

    Args:
        generated_NE: Features of N generated images.
        most: How many pairs are wanted.

    Returns:
        Pairs; ratio 1 is as near as the images are to their nearest other one (median).
    """
    distances_NN = euclidean_distances(generated_NE)
    np.fill_diagonal(distances_NN, np.inf)
    usual = float(np.median(distances_NN.min(axis=1))) or 1.0
    found: list[Near] = []
    while len(found) < most and np.isfinite(distances_NN).any():
        i, j = divmod(int(distances_NN.argmin()), len(distances_NN))
        found.append(Near(min(i, j), max(i, j), float(distances_NN[i, j]) / usual))
        distances_NN[[i, j], :] = distances_NN[:, [i, j]] = np.inf
    return found
