"""Kernel distances (maximum mean discrepancy), unbiased at any sample size; the kernels are scikit-learn's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.preprocessing import normalize

from spti_ray.evaluate.bootstrap import Floats

_CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0


def cubic(x_NE: Floats, y_ME: Floats) -> Floats:
    """KID's kernel, (x.y / E + 1)^3 (Binkowski et al., arXiv 1801.01401): [N, M] from [N, E] and [M, E]."""
    return polynomial_kernel(x_NE, y_ME, degree=3, coef0=1)


def gaussian(x_NE: Floats, y_ME: Floats) -> Floats:
    """CMMD's kernel: Gaussian of width 10 on features of length 1 (Jayasumana et al., arXiv 2401.09603): [N, M]."""
    return rbf_kernel(normalize(x_NE), normalize(y_ME), gamma=0.5 / _CMMD_SIGMA**2)


@dataclass(frozen=True, repr=False)
class KernelMatrices:
    """Kernel values among N samples x, between them and M samples y, and among the y."""

    xx_NN: Floats
    xy_NM: Floats
    yy_MM: Floats

    def mmd2(self, weights_N: Floats | None = None, weights_M: Floats | None = None) -> float:
        """The unbiased estimate of the squared discrepancy, which may be negative. Weights say how often samples count.

        A sample makes no pair with itself, however often it counts.
        """
        weights_N = np.ones(len(self.xx_NN)) if weights_N is None else weights_N
        weights_M = np.ones(len(self.yy_MM)) if weights_M is None else weights_M
        across = weights_N @ self.xy_NM @ weights_M / (weights_N.sum() * weights_M.sum())
        return float(_of_pairs(self.xx_NN, weights_N) + _of_pairs(self.yy_MM, weights_M) - 2 * across)


def _of_pairs(kernel_NN: Floats, weights_N: Floats) -> float:
    squares_N = np.square(weights_N)
    pairs = weights_N @ kernel_NN @ weights_N - squares_N @ np.diagonal(kernel_NN)
    return pairs / (weights_N.sum() ** 2 - squares_N.sum())
