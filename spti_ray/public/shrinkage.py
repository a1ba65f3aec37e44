"""Shrinks noised counts towards those of their families: similar candidates tell what one candidate's noise hides.

This is post-processing of the noised histogram, and costs no privacy. A family is a parent and its children in one
population (only siblings if the parent was replaced). A child resembles its parent, so their true counts are similar.
The noise's variance sigma^2 is known. The nested normal model

    y_i = c_i + noise, noise ~ N(0, sigma^2);   c_i ~ N(m_f, tau^2) in family f;   m_f ~ N(mu, omega^2)

has the posterior mean (the best linear unbiased predictor; Robinson, "That BLUP is a good thing", Statistical Science
1991; in empirical-Bayes form Morris, "Parametric empirical Bayes inference", JASA 1983)

    m_f  = mean + n_f omega^2 / (n_f omega^2 + sigma^2 + tau^2) * (family mean - mean)
    c_i  = m_f + tau^2 / (tau^2 + sigma^2) * (y_i - m_f)

where tau^2 and omega^2 are estimated by analysis of variance, and are at least zero: tau^2 from the spread within
families less sigma^2, omega^2 from the spread between families (Henderson's method 1, Biometrics 1953). A population
without families, such as generation 0, is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spti_ray.types import Candidate


def family_ids(candidates: Sequence[Candidate]) -> list[str]:
    """The id of each candidate's family: its own id if it has children here or no parent, else its parent's id."""
    parents = {candidate.parent_id for candidate in candidates}
    return [
        candidate.id if candidate.id in parents else candidate.parent_id or candidate.id for candidate in candidates
    ]


def shrink_counts(candidates: Sequence[Candidate], counts: Sequence[int], sigma: float) -> list[float]:
    """Estimate the candidates' true counts by the model above.

    Args:
        candidates: The candidates.
        counts: Their noised counts.
        sigma: The standard deviation of the noise.

    Returns:
        An estimate for each candidate.
    """
    y_K = np.asarray(counts, dtype=np.float64)
    families, member_K = np.unique(family_ids(candidates), return_inverse=True)
    size_F = np.bincount(member_K).astype(np.float64)
    within, between = len(y_K) - len(families), len(families) - 1
    if within < 1 or between < 1:
        return y_K.tolist()
    mean_F, mean = np.bincount(member_K, weights=y_K) / size_F, y_K.mean()
    spread = max(float(((y_K - mean_F[member_K]) ** 2).sum()) / within, sigma**2)
    if spread == 0.0:
        return y_K.tolist()
    tau = spread - sigma**2
    size = (len(y_K) - float((size_F**2).sum()) / len(y_K)) / between
    omega = max(0.0, (float((size_F * (mean_F - mean) ** 2).sum()) / between - spread) / size)
    m_F = mean + size_F * omega / (size_F * omega + spread) * (mean_F - mean)
    return (m_F[member_K] + tau / spread * (y_K - m_F[member_K])).tolist()
