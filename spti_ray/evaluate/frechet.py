"""The Fréchet distance of two feature sets as Gaussians (Heusel et al., arXiv 1706.08500), and its limit.

scikit-learn has no such distance. torchmetrics takes eigenvalues of the product of the covariances, which is not
symmetric: slow, and ill defined for fewer samples than dimensions. Here a symmetric matrix with the same eigenvalues is
used; a test compares the two.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import scipy.linalg

from spti_ray.evaluate.bootstrap import Floats

_SIZES = 6
_DRAWS = 4


class Moments(NamedTuple):
    """Mean [E], covariance [E, E], and the scaled, centred samples [N, E] with root.T @ root = covariance."""

    mean_E: Floats
    covariance_EE: Floats
    root_NE: Floats


def moments(features_NE: Floats, weights_N: Floats | None = None) -> Moments:
    """The moments of N samples, at least two; a weight of 2 counts a sample twice."""
    weights_N = np.ones(len(features_NE)) if weights_N is None else weights_N
    total = weights_N.sum()
    mean_E = weights_N @ features_NE / total
    root_NE = np.sqrt(weights_N / (total - 1))[:, None] * (features_NE - mean_E)
    return Moments(mean_E, root_NE.T @ root_NE, root_NE)


def _root(of: Moments) -> Floats:
    """A matrix A with A.T @ A = covariance, and with no more rows than columns."""
    if len(of.root_NE) <= of.root_NE.shape[1]:
        return of.root_NE
    try:
        return scipy.linalg.cholesky(of.covariance_EE)
    except scipy.linalg.LinAlgError:  # singular: some features are sums of others
        return cast(Floats, np.linalg.qr(of.root_NE, mode="r"))  # the stubs know the other modes alone


def frechet(x: Moments, y: Moments) -> float:
    """The squared Fréchet distance |mx - my|^2 + tr(Cx + Cy - 2 (Cx Cy)^(1/2)), which FID reports.

    With Cx = A'A, the trace of (Cx Cy)^(1/2) is the sum of the square roots of the eigenvalues of A Cy A'.
    """
    few, other = (x, y) if len(x.root_NE) <= len(y.root_NE) else (y, x)
    root_RE = _root(few)
    eigenvalues_R = scipy.linalg.eigvalsh(root_RE @ other.covariance_EE @ root_RE.T)
    overlap = np.sqrt(np.clip(eigenvalues_R, 0.0, None)).sum()
    traces = np.trace(x.covariance_EE) + np.trace(y.covariance_EE)
    return max(0.0, float(np.square(x.mean_E - y.mean_E).sum() + traces - 2 * overlap))


def frechet_infinity(x_NE: Floats, y_ME: Floats, rng: np.random.Generator) -> float:
    """The distance extrapolated to infinitely many samples on both sides (Chong and Forsyth, arXiv 1911.07023).

    When both sets shrink in proportion, the bias falls as 1/N. So a line is fitted to the distances of subsets, from
    half of the samples to all, over 1/N, and read at 1/N = 0. With fewer samples than dimensions it is no line.

    Args:
        x_NE: Features of N images.
        y_ME: Features of M images.
        rng: Chooses the subsets.
    """
    shares, distances = [], []
    for share in np.linspace(0.5, 1.0, _SIZES):
        n, m = max(2, round(share * len(x_NE))), max(2, round(share * len(y_ME)))
        for _ in range(_DRAWS if share < 1 else 1):
            x, y = rng.permutation(len(x_NE))[:n], rng.permutation(len(y_ME))[:m]
            shares.append(share)
            distances.append(frechet(moments(x_NE[x]), moments(y_ME[y])))
    return float(np.polyfit(1.0 / np.asarray(shares), distances, 1)[1])
