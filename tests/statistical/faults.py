"""Noise sources with a fault, for the tests of the audits: an audit that misses them is worth nothing."""

from collections.abc import Callable

import numpy as np

from spti_ray.dp.mechanism import OpenDPNoise
from spti_ray.types import CountArray

REAL = OpenDPNoise()


class Faulty:
    """`add_noise(counts, sigma)` as given, in place of the real one."""

    private, name = True, "planted fault"

    def __init__(self, add_noise: Callable[[CountArray, float], CountArray]) -> None:
        self.add_noise = add_noise


def scaled(factor: float) -> Faulty:
    """The real sampler, asked for `factor` times the noise; 0 for none."""
    return Faulty(lambda counts_K, sigma: REAL.add_noise(counts_K, factor * sigma) if factor else counts_K.copy())


def rounded_normal() -> Faulty:
    """What a careless rewrite would do: float noise, rounded."""
    generator = np.random.default_rng()
    return Faulty(lambda c, sigma: c + np.rint(generator.normal(0, sigma, len(c))).astype(np.int64))


def shifted() -> Faulty:
    return Faulty(lambda counts_K, sigma: REAL.add_noise(counts_K, sigma) + 1)


def same_noise_in_each_call() -> Faulty:
    """A seed that is set anew for each histogram."""
    kept: dict[tuple[int, float], CountArray] = {}

    def add_noise(counts_K: CountArray, sigma: float) -> CountArray:
        key = len(counts_K), sigma
        if key not in kept:
            kept[key] = REAL.add_noise(np.zeros_like(counts_K), sigma)
        return counts_K + kept[key]

    return Faulty(add_noise)


def same_noise_for_neighbours() -> Faulty:
    """One draw for two counts."""

    def add_noise(counts_K: CountArray, sigma: float) -> CountArray:
        half = REAL.add_noise(np.zeros(-(-len(counts_K) // 2), dtype=np.int64), sigma)
        return counts_K + np.repeat(half, 2)[: len(counts_K)]

    return Faulty(add_noise)


def nonzero_counts_only() -> Faulty:
    """A sparse histogram: candidates without votes get no noise."""
    return Faulty(lambda counts_K, sigma: np.where(counts_K == 0, 0, REAL.add_noise(counts_K, sigma)))
