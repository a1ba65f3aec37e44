"""The noise: a discrete Gaussian on integer counts.

Formal guarantee: `OpenDPNoise.add_noise(counts_K, sigma)` releases counts_K + Z, where the coordinates of Z are
independent draws of the discrete Gaussian N_Z(0, sigma^2) (Canonne, Kamath, Steinke 2020, arXiv 2004.00010), sampled
exactly from the operating system's entropy. There is no float noise, no NumPy generator and no seed on this path.
`SeededNoise` exists for tests and simulations only; whatever it touches is marked not private.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol, cast

import numpy as np

from spti_ray.types import CountArray

# OpenDP's i64 arithmetic saturates silently, which would change the noise's distribution. Within these bounds a
# result that reaches the ends of int64 would need noise of more than 2^21 sigma.
MAX_COUNT = 2**61
MAX_SIGMA = float(2**40)


class NoiseSource(Protocol):
    """Adds independent noise to each coordinate, once per call. `private` is False for anything simulated."""

    @property
    def private(self) -> bool: ...

    @property
    def name(self) -> str: ...

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        """counts_K plus noise with scale `sigma` (in votes); a new array, `counts_K` is left alone.

        Raises ValueError when sigma or the counts are outside what the sampler represents exactly.
        """
        ...


class OpenDPNoise:
    """OpenDP's `make_gaussian` on i64 vectors under the L2 distance: exact sampler, operating system's entropy."""

    private = True

    def __init__(self) -> None:
        self.name = f"opendp {version('opendp')} make_gaussian (discrete Gaussian, OS entropy)"

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        _check(counts_K, sigma)
        return np.asarray(_gaussian(sigma)(counts_K.tolist()), dtype=np.int64)


class SeededNoise:
    """Rounded normal draws from a seeded NumPy generator: reproducible, NOT private, for tests only."""

    private = False

    def __init__(self, seed: int) -> None:
        self.name = f"SIMULATED noise with seed {seed} (not private)"
        self._generator = np.random.default_rng(seed)

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        _check(counts_K, sigma)
        return counts_K + np.rint(self._generator.normal(0.0, sigma, len(counts_K))).astype(np.int64)


def _check(counts_K: CountArray, sigma: float) -> None:
    """Refuse what would saturate or be no noise at all. The messages never show a count."""
    if not (math.isfinite(sigma) and 0 < sigma <= MAX_SIGMA):
        raise ValueError(f"noise scale sigma must be in (0, {MAX_SIGMA:.0f}], not {sigma}")
    if counts_K.dtype != np.int64 or counts_K.ndim != 1:
        raise ValueError("counts must be a one-dimensional int64 array")
    if counts_K.size and (int(counts_K.max()) > MAX_COUNT or int(counts_K.min()) < -MAX_COUNT):
        raise ValueError("counts are too large to be noised without overflow")


def _gaussian(sigma: float) -> Callable[[list[int]], list[int]]:
    """OpenDP's measurement for this scale. Imported here: opendp loads a native library, which planning can spare."""
    from opendp import domains, measurements, metrics, mod

    dp_domains, dp_metrics, dp_measurements = (cast(Any, module) for module in (domains, metrics, measurements))
    mod.enable_features("contrib")  # make_gaussian is behind this flag until OpenDP has reviewed its proof
    # Sensitivities are floats (sqrt(k)), so the metric's type is f64 while the data stay i64.
    space = dp_domains.vector_domain(dp_domains.atom_domain(T="i64")), dp_metrics.l2_distance(T="f64")
    return cast(Callable[[list[int]], list[int]], dp_measurements.make_gaussian(*space, scale=sigma))
