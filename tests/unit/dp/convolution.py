"""An independent reference for the accountants."""

import math

import numpy as np


def exact_delta(sigma: float, count: int, epsilon: float) -> float:
    """The delta of `count` composed discrete Gaussians, by no accountant: the loss is set by the noises' sum."""
    reach = math.ceil(12 * sigma)
    pmf = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    pmf /= pmf.sum()
    total = np.ones(1)
    for _ in range(count):
        total = np.convolve(total, pmf)  # of positive numbers: accurate also in the tails
    loss = (count / 2 + np.arange(-reach * count, reach * count + 1)) / sigma**2
    return float(total @ -np.expm1(np.minimum(0.0, epsilon - loss)))
