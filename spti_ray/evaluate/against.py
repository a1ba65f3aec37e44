"""Figures of one feature set against half A of the reference. Real images in its place give the yardstick."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from spti_ray.evaluate import diversity
from spti_ray.evaluate.bootstrap import Estimate, Floats, Integers, around, of_mean, resampled
from spti_ray.evaluate.frechet import frechet, frechet_infinity, moments
from spti_ray.evaluate.kernels import CMMD_SCALE, Kernels, cubic, gaussian
from spti_ray.evaluate.manifold import manifold, radii

LEADING = 32
"""Principal directions of the reference in which few samples are enough for a Fréchet distance."""

_WIDE, _FEW = 512, 20
"""Above so many dimensions a Fréchet distance or a Vendi score takes seconds, and has so many resamples."""


def resamples_of(metric: str, resamples: int, dimension: int) -> int:
    """How many of `resamples` a metric's interval comes from."""
    if metric == "frechet_infinity":
        return 0
    slow = dimension > _WIDE and metric in {"frechet", "frechet_leading", "vendi"}
    return min(resamples, _FEW) if slow else resamples


class HalfA:
    """Half A's features [M, E] and groups, and what every comparison with them needs."""

    def __init__(self, features_ME: Floats, groups_M: Integers) -> None:
        self._features_ME, self._groups_M = features_ME, groups_M
        self._leading = PCA(min(LEADING, *features_ME.shape), svd_solver="full").fit(features_ME)
        self._leading_ML = self._leading.transform(features_ME)
        self._kernels = {kernel: kernel(features_ME, features_ME) for kernel in (cubic, gaussian)}
        self._radii_M = radii(features_ME)

    def measure(self, x_NE: Floats, clusters_N: Integers, resamples: int, seed: int) -> dict[str, Estimate]:
        """Figures of the N images with features [N, E]; those of one cluster are resampled together."""
        rng = np.random.default_rng(seed)
        x_weights_RN = resampled(clusters_N, resamples, rng)
        y_weights_RM = resampled(self._groups_M, resamples, rng)
        both = list(zip(x_weights_RN, y_weights_RM, strict=True))
        few = both[: resamples_of("frechet", resamples, x_NE.shape[1])]
        found: dict[str, Estimate] = {}
        leading_NL = self._leading.transform(x_NE)
        for name, x, y in (
            ("frechet", x_NE, self._features_ME),
            ("frechet_leading", leading_NL, self._leading_ML),
        ):
            replicates = [frechet(moments(x, wx), moments(y, wy)) for wx, wy in few]
            found[name] = around(frechet(moments(x), moments(y)), replicates, lowest=0.0)
        found["frechet_infinity"] = Estimate(frechet_infinity(x_NE, self._features_ME, rng))
        for name, kernel, scale in (("kid", cubic, 1.0), ("cmmd", gaussian, CMMD_SCALE)):
            kernels = Kernels(kernel(x_NE, x_NE), kernel(x_NE, self._features_ME), self._kernels[kernel])
            replicates = [scale * kernels.mmd2(wx, wy) for wx, wy in both]
            found[name] = around(scale * kernels.mmd2(), replicates)
        near = manifold(x_NE, self._features_ME, self._radii_M)
        found["precision"] = of_mean(near.precision_N, x_weights_RN)
        found["recall"] = of_mean(near.recall_M, y_weights_RM)
        found["density"] = of_mean(near.density_N, x_weights_RN)
        found["coverage"] = of_mean(near.coverage_M, y_weights_RM)
        replicates = [diversity.vendi(x_NE, wx) for wx, _ in few]
        found["vendi"] = around(diversity.vendi(x_NE), replicates, lowest=1.0)
        return found
