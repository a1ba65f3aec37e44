#!/usr/bin/env bash
# dp-accounting 0.6.0 (numpy 2.3.5, scipy 1.17.1): privacy loss distributions are documented as pessimistic, but composing
# them goes through a floating-point Fourier transform whose error is a share of the whole mass. At a delta of 1e-12 the
# certified epsilon of composed discrete Gaussians can come out BELOW the true one.
#
# Seen: sigma 42.67, 161 compositions, delta 1e-12: the library says 1.99993, a direct convolution 2.0000003. At delta
# 1e-6 the order is as documented: 1.27954 and 1.27951.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet dp-accounting==0.6.0 numpy==2.3.5 scipy==1.17.1
"$work/env/bin/python" - <<'PY'
import math
import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld

sigma, count = 42.66753088012523, 161

def library(delta):
    step = 0.015 / sigma
    one = pld.from_discrete_gaussian_mechanism(sigma, sensitivity=1, value_discretization_interval=step, use_connect_dots=True)
    return one.self_compose(count).get_epsilon_for_delta(delta)

def truth(delta):
    """The sum of the noises by repeated direct convolution: sums of positive products, no transform."""
    reach = math.ceil(12 * sigma)
    one = np.exp(-np.arange(-reach, reach + 1.0) ** 2 / (2 * sigma**2)); one /= one.sum()
    total, power, left = np.ones(1), one, count
    cut = math.ceil(12 * sigma * math.sqrt(count))
    keep = lambda w: w if len(w) // 2 <= cut else w[len(w) // 2 - cut : len(w) // 2 + cut + 1]
    while left:
        if left & 1: total = keep(np.convolve(total, power))
        left >>= 1
        if left: power = keep(np.convolve(power, power))
    middle = len(total) // 2
    loss = (count / 2 + np.arange(-middle, middle + 1)) / sigma**2
    spent = lambda e: float((total[loss > e] * -np.expm1(e - loss[loss > e])).sum())
    low, high = 0.0, 50.0
    for _ in range(200):
        mid = (low + high) / 2
        low, high = (mid, high) if spent(mid) > delta else (low, mid)
    return high

for delta in (1e-6, 1e-12):
    print(f"delta {delta:g}: library {library(delta):.9f}, direct convolution {truth(delta):.9f}")
assert library(1e-6) >= truth(1e-6)
assert library(1e-12) < truth(1e-12), "the library is pessimistic here now"
PY
