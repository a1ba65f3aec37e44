"""The noise. Rule held here: exact discrete Gaussian noise on integer counts, from the operating system's entropy.

Formal guarantee: `OpenDPNoise.add_noise(counts_K, sigma)` releases counts_K + Z, where the coordinates of Z are
independent draws of the discrete Gaussian N_Z(0, sigma^2) (Canonne, Kamath, Steinke 2020, arXiv 2004.00010), sampled
exactly from the operating system's entropy. There is no float noise, no NumPy generator and no seed on this path.
`SeededNoise` is for tests and simulations only; a run that used it is marked not private.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol, cast

import numpy as np

from spti_ray.types import CountArray

# OpenDP's i64 arithmetic saturates silently, which would change the noise's distribution. Within these bounds only
# noise of more than 2^21 sigma could reach the ends of int64.
MAX_COUNT = 2**61
MAX_SIGMA = float(2**40)


class NoiseSource(Protocol):
    """Adds independent noise to each count."""

    @property
    def private(self) -> bool:
        """False for simulated noise, which protects nothing."""
        ...

    @property
    def name(self) -> str:
        """What it is, for the ledger and the certificate."""
        ...

    def add_noise(self, counts_K: CountArray, sigma: float) -> CountArray:
        """Add one draw to each count.

        Args:
            counts_K: int64 [K]; left unchanged.
            sigma: the noise's scale, in votes.

        Returns:
            The noised counts, a new int64 [K].

        Raises:
            ValueError: sigma or the counts are outside what the sampler represents exactly; shows no count.
        """
        ...


class OpenDPNoise:
    """OpenDP's `make_gaussian` on i64 vectors under the L2 distance: an exact sampler, fed by the system's entropy."""

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
    """Raise ValueError for what would saturate or get no noise. The messages never show a count."""
    if not (math.isfinite(sigma) and 0 < sigma <= MAX_SIGMA):
        raise ValueError(f"noise scale sigma must be in (0, {MAX_SIGMA:.0f}], not {sigma}")
    if counts_K.dtype != np.int64 or counts_K.ndim != 1:
        raise ValueError("counts must be a one-dimensional int64 array")
    if counts_K.size and (int(counts_K.max()) > MAX_COUNT or int(counts_K.min()) < -MAX_COUNT):
        raise ValueError("counts are too large to be noised without overflow")


def _gaussian(sigma: float) -> Callable[[list[int]], list[int]]:
    """OpenDP's measurement for this scale. Imported here: planning does not need its native library."""
    from opendp import domains, measurements, metrics, mod

    dp_domains, dp_metrics, dp_measurements = (cast(Any, module) for module in (domains, metrics, measurements))
    mod.enable_features("contrib")  # make_gaussian is behind this flag until OpenDP has reviewed its proof
    # Sensitivities are floats (sqrt(k)), so the metric's type is f64 while the data stay i64.
    space = dp_domains.vector_domain(dp_domains.atom_domain(T="i64")), dp_metrics.l2_distance(T="f64")
    return cast(Callable[[list[int]], list[int]], dp_measurements.make_gaussian(*space, scale=sigma))
