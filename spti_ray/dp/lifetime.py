"""What all queries of a dataset cost together, over runs whose noise may be chosen after seeing earlier releases.

Composition of privacy loss distributions is proven for noise that is fixed in advance. A budget B at delta is kept by
refusing each query that would raise `lifetime_epsilon` above B, and that rule is a privacy filter in two cases:

- One noise scale for all queries. B fixes in advance how many are ever allowed. Whoever decides, by what they have
  seen, to stop early or in which run to ask post-processes the composition of that many.
- Several scales, chosen as one likes. A query with k votes is k / (2 sigma^2)-zero-concentrated DP (Canonne, Kamath,
  Steinke 2020, arXiv 2004.00010). Allowing queries only while their sum stays below a fixed rho makes everything
  together rho-zCDP, also if each query depends on all answers before (Feldman and Zrnic 2021, arXiv 2008.11193). The
  figure increases with the sum, so a bound on the figure is a bound on the sum.

One gap is left between the cases. Suppose that a budget holds, and that what was released decided *whether* a second
scale is ever used. The releases without one are (B, delta)-indistinguishable by the first case, those with one by the
second, and what is proven for both together is (B, 2 delta). Between continuous Gaussians the second case could not
add to the first (their fully adaptive composition depends on the sum of 1/sigma^2 only: Smith and Thakurta 2022, arXiv
2210.17520); for the discrete we know of no proof. It does not arise when scales are fixed before the first release.

Without a budget in advance the figure is that of the queries made, provided their number did not depend on releases.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.dp.accounting import ACCOUNTANT, advantage, pld_epsilon, zcdp_epsilon
from spti_ray.dp.calibration import NoisePlan, calibrate

_EPSILONS = tuple(float(f"{digits}e{power}") for power in (-4, -3, -2, -1) for digits in range(100, 1000)) + (100.0,)
"""Every epsilon from 0.01 to 100 that has three significant digits."""


@dataclass(frozen=True)
class Affordable:
    """What a dataset's budget still allows instead of a refused run, with nothing else of its configuration changed.

    `epsilon` is the largest privacy.epsilon that fits, None if not even 0.01 does. `generations` is how many would fit
    at about the refused run's sigma (0 if none), and `generations_epsilon` the privacy.epsilon that must be configured
    *with* them: fewer generations at the same epsilon only mean less noise.
    """

    epsilon: float | None
    generations: int
    generations_epsilon: float | None


def lifetime_epsilon(terms: Sequence[tuple[float, int]], delta: float, accountant: int = ACCOUNTANT) -> float:
    """Epsilon at `delta` of all queries of a dataset: (sigma, count) means `count` of sensitivity 1.

    More terms never lower it, in whatever order they come, and it is never below the privacy loss distribution's
    figure for the queries of any one sigma. ValueError as in `pld_epsilon`.
    """
    counts: dict[float, int] = {}
    for sigma, count in terms:
        if count:
            counts[sigma] = counts.get(sigma, 0) + count
    if len(counts) < 2:
        return pld_epsilon(terms, delta, accountant)
    rho = math.fsum(count / (2 * sigma * sigma) for sigma, count in counts.items())
    # zCDP's figure exceeds the distribution's at the same rho (by 0.5 % at the closest we found, where sigma is 0.3),
    # so the second sigma makes it jump up. That it does is no theorem, since both are upper bounds: hence the maximum,
    # without which a query could lower the figure and so widen what the filter lets through.
    return max(zcdp_epsilon(rho, delta), *(pld_epsilon([term], delta, accountant) for term in counts.items()))


def lifetime_advantage(terms: Sequence[tuple[float, int]], accountant: int = ACCOUNTANT) -> float:
    """Upper bound on the total variation distance, for terms as in `lifetime_epsilon`.

    Of one sigma the certified delta at epsilon 0. Of several, whose sum rho bounds the Kullback-Leibler divergence
    however they were chosen, the bound of Bretagnolle and Huber.
    """
    counts: dict[float, int] = {}
    for sigma, count in terms:
        counts[sigma] = counts.get(sigma, 0) + count
    if len(counts) < 2:
        return advantage(tuple(counts.items()), accountant)
    return math.sqrt(-math.expm1(-math.fsum(count / (2 * sigma * sigma) for sigma, count in counts.items())))


def largest_that_fits(
    spent: Sequence[tuple[float, int]], budget_epsilon: float, budget_delta: float, plan: NoisePlan
) -> Affordable:
    """What of `plan` fits a budget of which the terms `spent` are gone; a second or two of work.

    Both answers were calibrated and checked like a run that is being opened. `epsilon` is at most the plan's.
    ValueError when `budget_delta` is out of the accountant's reach.
    """

    def fits(epsilon: float, generations: int, if_out_of_reach: bool = False) -> bool:
        try:
            wanted = calibrate(epsilon, plan.delta, plan.votes_per_record, generations, plan.spare_slots)
        except ValueError:
            return if_out_of_reach
        terms = [*spent, (wanted.sigma, wanted.votes_per_record * wanted.slots)]
        return lifetime_epsilon(terms, budget_delta) <= budget_epsilon

    def needed(sigma: float, generations: int) -> float:
        """The smallest of `_EPSILONS` that would buy this sigma, or infinity."""
        count = plan.votes_per_record * (generations + plan.spare_slots)
        at = bisect_left(_EPSILONS, pld_epsilon([(sigma, count)], plan.delta))
        return _EPSILONS[at] if at < len(_EPSILONS) else math.inf

    asked = _EPSILONS[: bisect_right(_EPSILONS, plan.epsilon)]
    # What is too small to be calibrated lies below what fits, if anything does; the next line sorts it out.
    over = bisect_left(asked, True, key=lambda epsilon: not fits(epsilon, plan.generations, if_out_of_reach=True))
    epsilons = [epsilon for epsilon in asked[max(0, over - 1) : over] if fits(epsilon, plan.generations)]
    # The noise of earlier runs is worth trying by itself: while there is no second sigma, the cheaper rule holds.
    again = [needed(sigma, plan.generations) for sigma in {sigma for sigma, count in spent if count}]
    epsilons += [epsilon for epsilon in again if epsilon <= plan.epsilon and fits(epsilon, plan.generations)]

    fewer = range(1, plan.generations + 1)
    generations = bisect_left(fewer, True, key=lambda count: not fits(needed(plan.sigma, count), count))
    return Affordable(
        epsilon=max(epsilons, default=None),
        generations=generations,
        generations_epsilon=needed(plan.sigma, generations) if generations else None,
    )
