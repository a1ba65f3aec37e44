"""Diversity: the Vendi score, the effective number of different images."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.special
from sklearn.preprocessing import normalize

from spti_ray.evaluate.bootstrap import Floats


def vendi(features_NE: Floats, weights_N: Floats | None = None) -> float:
    """The Vendi score (Friedman and Dieng, arXiv 2210.02410) with the cosine kernel.

    It is the exponential of the entropy of the eigenvalues of K / N, where K is the [N, N] kernel matrix. The [E, E]
    product has the same eigenvalues, so the smaller of the two is used.

    Args:
        features_NE: Features of N images.
        weights_N: How often each image counts; once by default.

    Returns:
        From 1 (all alike) to N (all different).
    """
    weights_N = np.ones(len(features_NE)) if weights_N is None else weights_N
    rows_NE = np.sqrt(weights_N / weights_N.sum())[:, None] * normalize(features_NE)
    product = rows_NE @ rows_NE.T if len(rows_NE) <= rows_NE.shape[1] else rows_NE.T @ rows_NE
    return float(np.exp(scipy.special.entr(np.clip(scipy.linalg.eigvalsh(product), 0.0, 1.0)).sum()))
