"""The lifetime epsilon of a dataset. Rule held here: it holds also if a run's noise is chosen after earlier releases.

Composition of privacy loss distributions is proven for noise that is fixed in advance. A budget B at delta is kept by
refusing each query that would raise `lifetime_epsilon` above B. That rule is a privacy filter in two cases:

- One sigma for all queries. B then fixes in advance how many queries are ever allowed. To stop early, or to choose the
  run in which a query is made, is post-processing of the composition of that many.
- Several sigmas, chosen adaptively. A query with k votes per record is k / (2 sigma^2)-zero-concentrated DP (Canonne,
  Kamath, Steinke 2020, arXiv 2004.00010). If queries are allowed only while the sum of these stays below a fixed rho,
  all of them together are rho-zCDP, also if each depends on all answers before (Feldman and Zrnic 2021, arXiv
  2008.11193). Epsilon increases with the sum, so a bound on epsilon bounds the sum.

One gap is left between the cases. Suppose that a budget holds, and that the releases decided *whether* a second sigma
is ever used. Outcomes without one are (B, delta)-indistinguishable by the first case, outcomes with one by the second;
for both together (B, 2 delta) is proven. For continuous Gaussians the gap would not exist, since their fully adaptive
composition depends on the sum of 1/sigma^2 only (Smith and Thakurta 2022, arXiv 2210.17520); for discrete ones we know
of no proof. There is no gap if all sigmas are fixed before the first release.

Without a budget that was fixed in advance, the figure is that of the queries made, provided that their number did not
depend on releases.
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
    """What a dataset's budget still allows instead of a refused run: either a smaller epsilon, or fewer generations.

    `epsilon` is the largest privacy.epsilon that fits with all else unchanged; None if not even 0.01 does.
    `generations` is how many fit at about the refused run's sigma, 0 if none, and `generations_epsilon` the
    privacy.epsilon to configure *with* them: fewer generations at the same epsilon would only mean less noise.
    """

    epsilon: float | None
    generations: int
    generations_epsilon: float | None


def lifetime_epsilon(terms: Sequence[tuple[float, int]], delta: float, accountant: int = ACCOUNTANT) -> float:
    """Epsilon at `delta` of all queries of a dataset.

    More terms never lower it, in any order, and it is never below the privacy loss distribution's figure for the
    queries of any one sigma.

    Args:
        terms: (sigma, count) pairs: `count` mechanisms of sensitivity 1.
        accountant: the version of the accounting that computes the figure.

    Raises:
        ValueError: as `pld_epsilon`.
    """
    counts: dict[float, int] = {}
    for sigma, count in terms:
        if count:
            counts[sigma] = counts.get(sigma, 0) + count
    if len(counts) < 2:
        return pld_epsilon(terms, delta, accountant)
    rho = math.fsum(count / (2 * sigma * sigma) for sigma, count in counts.items())
    # At the same rho the figure from zCDP is larger than the distribution's (by 0.5 % at the closest we found, where
    # sigma is 0.3), so a second sigma raises the figure. That is no theorem, since both are upper bounds. The maximum
    # makes sure that no query lowers the figure, which would let the filter allow too much.
    return max(zcdp_epsilon(rho, delta), *(pld_epsilon([term], delta, accountant) for term in counts.items()))


def lifetime_advantage(terms: Sequence[tuple[float, int]], accountant: int = ACCOUNTANT) -> float:
    """Upper bound on the total variation distance, for terms as in `lifetime_epsilon`.

    For one sigma it is the certified delta at epsilon 0. For several it is the bound of Bretagnolle and Huber, since
    their sum rho bounds the Kullback-Leibler divergence however they were chosen.
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
    """The largest run like `plan` that fits what is left of a budget. Takes a second or two.

    Both answers are calibrated and checked like a run that is being opened.

    Args:
        spent: (sigma, count) pairs that are charged already.
        plan: the refused run's; no answer has a larger epsilon.

    Raises:
        ValueError: `budget_delta` is out of the accountant's reach.
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
    # An epsilon too small to be calibrated is below every one that fits: it counts as fitting in this search, and is
    # sorted out in the next line.
    over = bisect_left(asked, True, key=lambda epsilon: not fits(epsilon, plan.generations, if_out_of_reach=True))
    epsilons = [epsilon for epsilon in asked[max(0, over - 1) : over] if fits(epsilon, plan.generations)]
    # The sigmas of earlier runs are tried too: without a second sigma the cheaper composition holds.
    again = [needed(sigma, plan.generations) for sigma in {sigma for sigma, count in spent if count}]
    epsilons += [epsilon for epsilon in again if epsilon <= plan.epsilon and fits(epsilon, plan.generations)]

    fewer = range(1, plan.generations + 1)
    generations = bisect_left(fewer, True, key=lambda count: not fits(needed(plan.sigma, count), count))
    return Affordable(
        epsilon=max(epsilons, default=None),
        generations=generations,
        generations_epsilon=needed(plan.sigma, generations) if generations else None,
    )
