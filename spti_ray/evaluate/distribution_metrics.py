"""Distribution metrics of a feature set against half A of the reference: Fréchet, kernel, manifold and diversity."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from spti_ray.evaluate import diversity
from spti_ray.evaluate.bootstrap import Estimate, Floats, Integers, estimate_mean, estimate_with_error, resample_weights
from spti_ray.evaluate.frechet import frechet, frechet_infinity, moments
from spti_ray.evaluate.kernels import CMMD_SCALE, KernelMatrices, cubic, gaussian
from spti_ray.evaluate.manifold import manifold_metrics, neighbour_radii

LEADING = 32
"""Number of the reference's principal directions in which few samples are enough for a Fréchet distance."""

_MANY_DIMENSIONS, _FEW_RESAMPLES = 512, 20
"""Above so many feature dimensions a Fréchet distance or a Vendi score takes seconds, and gets so few resamples."""


def num_resamples(metric: str, resamples: int, dimension: int) -> int:
    """How many of the `resamples` asked for the interval of `metric` uses, for features of `dimension` dimensions."""
    if metric == "frechet_infinity":
        return 0
    slow = dimension > _MANY_DIMENSIONS and metric in {"frechet", "frechet_leading", "vendi"}
    return min(resamples, _FEW_RESAMPLES) if slow else resamples


class DistributionMetrics:
    """Measures feature sets against the M real images of half A. What every comparison needs is computed once."""

    def __init__(self, features_ME: Floats, groups_M: Integers) -> None:
        """Prepare the comparison.

        Args:
            features_ME: Features of half A's M images, of E dimensions each.
            groups_M: The number of each image's group. Images of one group are resampled together.
        """
        self._features_ME, self._groups_M = features_ME, groups_M
        self._leading = PCA(min(LEADING, *features_ME.shape), svd_solver="full").fit(features_ME)
        self._leading_ML = self._leading.transform(features_ME)
        self._kernels = {kernel: kernel(features_ME, features_ME) for kernel in (cubic, gaussian)}
        self._radii_M = neighbour_radii(features_ME)

    def measure(self, x_NE: Floats, clusters_N: Integers, resamples: int, seed: int) -> dict[str, Estimate]:
        """Measure N images. Real images in their place give the yardstick.

        Args:
            x_NE: Features of the N images.
            clusters_N: The number of each image's cluster. Images of one cluster are resampled together.
            resamples: How many bootstrap resamples the intervals come from; 0 for no intervals.
            seed: Public seed of the resamples.

        Returns:
            An estimate for each metric, by name.
        """
        rng = np.random.default_rng(seed)
        x_weights_RN = resample_weights(clusters_N, resamples, rng)
        y_weights_RM = resample_weights(self._groups_M, resamples, rng)
        both = list(zip(x_weights_RN, y_weights_RM, strict=True))
        few = both[: num_resamples("frechet", resamples, x_NE.shape[1])]
        found: dict[str, Estimate] = {}
        # The unbiased ones first: of few images the plain Fréchet distance is mostly how few they are.
        for name, kernel, scale in (("kid", cubic, 1.0), ("cmmd", gaussian, CMMD_SCALE)):
            kernels = KernelMatrices(kernel(x_NE, x_NE), kernel(x_NE, self._features_ME), self._kernels[kernel])
            replicates = [scale * kernels.mmd2(wx, wy) for wx, wy in both]
            found[name] = estimate_with_error(scale * kernels.mmd2(), replicates)
        found["frechet_infinity"] = Estimate(frechet_infinity(x_NE, self._features_ME, rng))
        leading_NL = self._leading.transform(x_NE)
        for name, x, y in (
            ("frechet", x_NE, self._features_ME),
            ("frechet_leading", leading_NL, self._leading_ML),
        ):
            replicates = [frechet(moments(x, wx), moments(y, wy)) for wx, wy in few]
            found[name] = estimate_with_error(frechet(moments(x), moments(y)), replicates, lowest=0.0)
        near = manifold_metrics(x_NE, self._features_ME, self._radii_M)
        found["precision"] = estimate_mean(near.precision_N, x_weights_RN)
        found["recall"] = estimate_mean(near.recall_M, y_weights_RM)
        found["density"] = estimate_mean(near.density_N, x_weights_RN)
        found["coverage"] = estimate_mean(near.coverage_M, y_weights_RM)
        replicates = [diversity.vendi(x_NE, wx) for wx, _ in few]
        found["vendi"] = estimate_with_error(diversity.vendi(x_NE), replicates, lowest=1.0)
        return found
