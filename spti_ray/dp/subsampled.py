"""The epsilon of DP-SGD (Abadi et al. 2016, arXiv 1607.00133). Rule held here: every figure is an upper bound.

It is the Gaussian mechanism on Poisson samples, composed over steps. In a step each unit takes part independently with
probability q and contributes a vector of length at most C; the sum gets Gaussian noise of standard deviation
C * noise_multiplier. Neighbouring sets differ by adding or removing one unit, as for votes.

Figures come from privacy loss distributions (dp-accounting, connect-the-dots), evaluated at delta less a bound on the
errors of the transforms; where that bound uses up too much of delta, from Renyi DP. Nothing is rounded towards less
privacy. They hold for exact real arithmetic; `finetuning` says what a trainer's floating-point noise leaves of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from spti_ray.dp.accounting import epsilon_allowing_for_errors
from spti_ray.dp.calibration import SIGMA_STEP, analytic_gaussian_sigma

_LEAST_NOISE = 0.3
"""Smaller multipliers cost the accountant gigabytes. An epsilon that would allow them gets this much noise instead."""

_MAX_NOISE = 1e4
_MAX_STEPS = 100_000
_RATE_BITS = 24
"""A float32 uniform draw is a multiple of 2^-24; a rate that is one too is realised exactly."""


@dataclass(frozen=True)
class SgdPlan:
    """The noise of a training run, fixed before its first step. All fields are public.

    `achieved_epsilon` <= `epsilon` is certified at `delta` for `max_steps` steps under add/remove of one unit.
    """

    epsilon: float
    delta: float
    sample_rate: float
    steps: int
    spare_steps: int
    noise_multiplier: float
    achieved_epsilon: float

    @property
    def max_steps(self) -> int:
        """Steps paid for: those of the training, and spares for steps that crashes lose."""
        return self.steps + self.spare_steps


def sample_rate(batch_size: float, records_estimate: float) -> float:
    """The sampling rate q = batch_size / records_estimate, rounded down to a multiple of 2^-24.

    Both arguments are public settings.

    Raises:
        ValueError: q is not in [2^-24, 1]; one line.
    """
    rate = math.floor(batch_size / records_estimate * 2**_RATE_BITS) / 2**_RATE_BITS
    if not 0 < rate <= 1:
        raise ValueError(
            f"a batch of {batch_size:g} of about {records_estimate:g} records is a sampling rate outside of (0, 1]"
        )
    return rate


@lru_cache(maxsize=64)
def calibrate_sgd(epsilon: float, delta: float, rate: float, steps: int, spare_steps: int = 0) -> SgdPlan:
    """Find the smallest noise, to 0.1 %, whose certified epsilon at `delta` is at most `epsilon` for all paid steps.

    Args:
        rate: as from `sample_rate`.

    Raises:
        ValueError: settings are out of range, or can't be certified; one line.
    """
    if not 0 < epsilon <= 100 or not 0 < delta < 0.5:
        raise ValueError(f"epsilon must be in (0, 100] and delta in (0, 0.5), not {epsilon} and {delta}")
    if steps < 1 or spare_steps < 0 or steps + spare_steps > _MAX_STEPS:
        raise ValueError(f"steps and spare steps must be from 1 to {_MAX_STEPS} together")
    count = steps + spare_steps

    def is_enough(noise: float) -> bool:
        return sgd_epsilon(noise, rate, count, delta) <= epsilon

    # Sampling lowers the noise by about the factor q at most. The search starts from above, since small multipliers
    # take the accountant longest.
    high = max(_LEAST_NOISE, 2 * rate * math.sqrt(count) * analytic_gaussian_sigma(epsilon, delta))
    while not is_enough(high):
        high *= 2
        if high > _MAX_NOISE:
            raise ValueError(f"epsilon {epsilon} at delta {delta} over {count} steps is beyond what can be certified")
    low = max(_LEAST_NOISE, high / 2)
    while low > _LEAST_NOISE and is_enough(low):
        low, high = max(_LEAST_NOISE, low / 2), low
    if is_enough(low):
        high = low
    elif high > low:
        high = _smallest(epsilon, delta, rate, count, low, high)
    # The search used one grid of losses for all multipliers; the result must be certified on its own grid.
    while not is_enough(high):
        high *= SIGMA_STEP
    return SgdPlan(epsilon, delta, rate, steps, spare_steps, high, sgd_epsilon(high, rate, count, delta))


def _smallest(epsilon: float, delta: float, rate: float, count: int, low: float, high: float) -> float:
    """The library's search between `low`, which costs too much, and `high`, which does not."""
    from dp_accounting import mechanism_calibration  # pyright: ignore[reportMissingTypeStubs]

    library: Any = mechanism_calibration
    return float(
        library.calibrate_dp_mechanism(
            lambda: _accountant(_grid(low, rate)),
            lambda noise: _event(cast(float, noise), rate, count),  # pyright: ignore[reportUnknownLambdaType]
            epsilon,
            delta,
            library.ExplicitBracketInterval(low, high),
            tol=1e-3 * low,
        )
    )


@lru_cache(maxsize=1024)
def sgd_epsilon(noise_multiplier: float, rate: float, steps: int, delta: float) -> float:
    """The certified epsilon at `delta` of `steps` steps; 0 for no steps, infinite without noise."""
    if steps == 0:
        return 0.0
    accountant, event = _accountant(_grid(noise_multiplier, rate)), _event(noise_multiplier, rate, steps)
    accountant.compose(event)
    if noise_multiplier == 0:
        return float(accountant.get_epsilon(delta))
    found = epsilon_allowing_for_errors(accountant._pld, steps, delta)
    return found if math.isfinite(found) and delta > 1e-7 else min(found, _renyi_epsilon(event, delta))


def _renyi_epsilon(event: Any, delta: float) -> float:
    """A larger upper bound that needs no transform: it is computed in logarithms."""
    from dp_accounting.rdp import rdp_privacy_accountant  # pyright: ignore[reportMissingTypeStubs]

    untyped: Any = rdp_privacy_accountant
    accountant = untyped.RdpAccountant()
    accountant.compose(event)
    return float(accountant.get_epsilon(delta))


def _grid(noise_multiplier: float, rate: float) -> float:
    """The step of the grid of privacy losses; every step gives upper bounds. See `accounting._grid_step`.

    A fiftieth of the standard deviation of one training step's loss, which is about q / noise.
    """
    return min(1e-2, max(1e-4, 0.02 * rate / noise_multiplier)) if noise_multiplier > 0 else 1e-4


def _accountant(grid: float) -> Any:
    # Imported here: dp-accounting pulls in SciPy, which takes about a second.
    from dp_accounting import privacy_accountant  # pyright: ignore[reportMissingTypeStubs]
    from dp_accounting.pld import pld_privacy_accountant as pld  # pyright: ignore[reportMissingTypeStubs]

    untyped: Any = pld
    return untyped.PLDAccountant(privacy_accountant.NeighboringRelation.ADD_OR_REMOVE_ONE, grid)


def _event(noise_multiplier: float, rate: float, steps: int) -> Any:
    from dp_accounting import dp_event  # pyright: ignore[reportMissingTypeStubs]

    gaussian = dp_event.GaussianDpEvent(noise_multiplier)
    return dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(rate, gaussian), steps)
