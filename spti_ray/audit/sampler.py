"""The sampler audit: do the noise's draws follow the discrete Gaussian's exact probabilities, independently?

Three tests for each scale, each with an exact or asymptotic p-value:

- fit: chi-square over the values, tails pooled. Finds wrong shapes, shifts, rounded float noise at small scales.
- scale: the mean of the squares against its exact mean and variance. Finds a scale that is off by 2 %.
- independence: the largest of all autocorrelations of the draws in the order drawn, over several calls. Finds draws or
  whole calls that repeat, at any distance.

A correct sampler fails with probability at most alpha, all tests together (Bonferroni). A sampler that passes can still
be wrong in ways that these tests don't detect, such as draws that somebody can predict.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from scipy import stats

from spti_ray.audit.discrete_gaussian import probabilities
from spti_ray.dp.mechanism import NoiseSource, OpenDPNoise
from spti_ray.step_progress import Told, untold
from spti_ray.types import CountArray

ALPHA = 1e-6

SIGMAS = (0.5, 0.8, 3.742, 22.26)
"""Two small ones where the lattice matters, and those of one query at epsilon 1 and of ten queries at epsilon 0.5."""

DRAWS = 150_000
"""Per scale: a scale that is 2 % off goes undetected with probability below 1e-6."""

_CALLS = 15
_MIN_EXPECTED = 20
"""Smallest expected number of draws in a cell of the chi-square test, so that its asymptotic p-value holds."""


@dataclass(frozen=True)
class SamplerResult:
    """What the sampler audit found."""

    noise: str
    sigmas: tuple[float, ...]
    draws: int
    """Per sigma."""
    p_value: float
    """The smallest of all tests, times their number."""
    worst: str
    """Which test had it."""
    alpha: float
    passed: bool
    seconds: float

    def line(self) -> str:
        """The result in one line, for people."""
        verdict = "consistent with the discrete Gaussian" if self.passed else "NOT the discrete Gaussian"
        return (
            f"sampler audit: {self.draws} draws at each sigma of {', '.join(map(str, self.sigmas))}, p = "
            f"{self.p_value:.3g} (least likely: {self.worst}; alpha {self.alpha:g}): {verdict}"
        )


def run_sampler_audit(
    noise: NoiseSource | None = None,
    sigmas: tuple[float, ...] = SIGMAS,
    draws: int = DRAWS,
    told: Told = untold,
) -> SamplerResult:
    """Test a noise source at each sigma.

    Args:
        noise: None: `OpenDPNoise`.
        draws: draws at each sigma.
        told: is told how far it is.

    Raises:
        ValueError: there are too few draws, or a sigma is so small that hardly any values differ.
    """
    if draws < 1_000 or not sigmas or min(sigmas) < 0.4:
        raise ValueError("the sampler audit needs at least 1000 draws at sigmas of at least 0.4")
    began = time.monotonic()
    noise = noise or OpenDPNoise()
    found: dict[str, float] = {}
    for number, sigma in enumerate(sigmas):
        told("sampler audit", number, len(sigmas))
        sample = _draw(noise, sigma, draws)
        found[f"fit at sigma {sigma}"] = fit_p_value(sample, sigma)
        found[f"scale at sigma {sigma}"] = scale_p_value(sample, sigma)
        found[f"independence at sigma {sigma}"] = independence_p_value(sample)
    worst = min(found, key=lambda name: found[name])
    p_value = min(1.0, len(found) * found[worst])
    return SamplerResult(
        noise=noise.name,
        sigmas=sigmas,
        draws=draws,
        p_value=p_value,
        worst=worst,
        alpha=ALPHA,
        passed=p_value > ALPHA,
        seconds=time.monotonic() - began,
    )


def _draw(noise: NoiseSource, sigma: float, draws: int) -> CountArray:
    """int64 [draws], in the order drawn, from several calls."""
    sizes = [len(part) for part in np.array_split(np.arange(draws), _CALLS)]
    return np.concatenate([noise.add_noise(np.zeros(size, dtype=np.int64), sigma) for size in sizes])


def fit_p_value(sample: CountArray, sigma: float) -> float:
    """Chi-square goodness of fit of the draws to the discrete Gaussian, with the tails pooled into the end cells."""
    reach = math.ceil(10 * sigma)
    pmf = probabilities(reach, sigma)
    expected = pmf * len(sample)
    inner = np.flatnonzero(np.minimum(np.cumsum(expected), np.cumsum(expected[::-1])[::-1]) >= _MIN_EXPECTED)
    low, high = int(inner[0]) - reach, int(inner[-1]) - reach  # the end cells hold all that lies beyond them
    observed = np.bincount(np.clip(sample, low, high) - low, minlength=high - low + 1)
    shares = pmf[inner[0] : inner[-1] + 1].copy()
    shares[0], shares[-1] = pmf[: inner[0] + 1].sum(), pmf[inner[-1] :].sum()
    return float(stats.chisquare(observed, shares / shares.sum() * len(sample)).pvalue)


def scale_p_value(sample: CountArray, sigma: float) -> float:
    """Two-sided p-value of the mean square under its exact mean and variance (normal by the central limit theorem)."""
    reach = math.ceil(20 * sigma)
    pmf = probabilities(reach, sigma)
    squares = np.arange(-reach, reach + 1).astype(np.float64) ** 2
    mean = float((pmf * squares).sum())
    variance = float((pmf * (squares - mean) ** 2).sum())
    z = (float((sample.astype(np.float64) ** 2).mean()) - mean) / math.sqrt(variance / len(sample))
    return float(2 * stats.norm.sf(abs(z)))


def independence_p_value(sample: CountArray) -> float:
    """p-value of the largest circular autocorrelation over all lags up to half the sample; 0 if all draws are equal.

    For independent draws each is normal with variance 1 / n; the p-value is that of one, times the number of lags.
    """
    centred = sample - sample.mean()
    power = float((centred**2).sum())
    if power == 0:
        return 0.0
    number = len(sample)
    correlations = np.fft.irfft(np.abs(np.fft.rfft(centred)) ** 2, n=number)[1 : (number + 1) // 2] / power
    z = float(np.abs(correlations).max()) * math.sqrt(number)
    return min(1.0, float(2 * stats.norm.sf(z)) * len(correlations))
