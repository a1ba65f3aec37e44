"""How many different images there are in effect."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.special
from sklearn.preprocessing import normalize

from spti_ray.evaluate.bootstrap import Floats


def vendi(features_NE: Floats, weights_N: Floats | None = None) -> float:
    """The Vendi score (Friedman and Dieng, arXiv 2210.02410) under the cosine: from 1, all alike, to N, all unlike.

    The exponential of the entropy of the eigenvalues of K / N; those of the E x E product are the same.
    """
    weights_N = np.ones(len(features_NE)) if weights_N is None else weights_N
    rows_NE = np.sqrt(weights_N / weights_N.sum())[:, None] * normalize(features_NE)
    product = rows_NE @ rows_NE.T if len(rows_NE) <= rows_NE.shape[1] else rows_NE.T @ rows_NE
    return float(np.exp(scipy.special.entr(np.clip(scipy.linalg.eigvalsh(product), 0.0, 1.0)).sum()))
