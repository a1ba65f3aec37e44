"""Whether a run's noised votes can be told from noise: a test of their spread, which costs no privacy.

If records voted at random, each of the n candidates (or themes) of a label would get their average number of votes,
with a variance of about that number, in noise of variance sigma^2. Then

    sum over candidates of (y_i - mean)^2 / (sigma^2 + max(0, mean))

has a chi-squared distribution with n - 1 degrees of freedom (the dispersion test of Cochran, "Some methods for
strengthening the common chi-squared tests", Biometrics 1954), and those of labels and generations add up. A larger
value says that records prefer some candidates. It does not say that what they prefer is like them: any candidates are
nearer to some records than others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.01
"""Share of runs on votes at random of which it would be said that their votes are more than noise."""


@dataclass(frozen=True)
class Spread:
    """The statistic of some histograms, and its degrees of freedom."""

    statistic: float
    freedom: int

    @property
    def p_value(self) -> float:
        """The chance of such a spread, or a larger one, if records voted at random."""
        from scipy.special import chdtrc  # takes a second

        return float(chdtrc(self.freedom, self.statistic)) if self.freedom else 1.0

    @property
    def is_more_than_noise(self) -> bool:
        """Whether the votes can be told from noise."""
        return self.p_value < LEVEL


def spread_of(counts: Sequence[int], labels: Sequence[str], sigma: float) -> Spread:
    """The spread of one noised histogram.

    Args:
        counts: Noised counts.
        labels: The label of what each count is of: records of a label vote among themselves.
        sigma: The noise's standard deviation, above 0.
    """
    statistic, freedom = 0.0, 0
    counts_K, labels_K = np.asarray(counts, dtype=np.float64), np.asarray(labels)
    for label in np.unique(labels_K):
        of_label = counts_K[labels_K == label]
        mean = float(of_label.mean())
        statistic += float(((of_label - mean) ** 2).sum()) / (sigma**2 + max(0.0, mean))
        freedom += len(of_label) - 1
    return Spread(statistic, freedom)


def together(spreads: Iterable[Spread]) -> Spread:
    """That of all generations of a run."""
    found = list(spreads)
    return Spread(sum(spread.statistic for spread in found), sum(spread.freedom for spread in found))


def in_words(spread: Spread) -> str:
    """What the test says, in a sentence."""
    if spread.is_more_than_noise:
        chance = f"{spread.p_value:.2g}" if spread.p_value >= 1e-6 else "less than 0.000001"
        return f"The votes spread more than noise and voting at random would make them (p = {chance})."
    return (
        f"The votes can't be told from noise (p = {spread.p_value:.2g}; below {LEVEL:g} they could): what is released "
        "is what the models make by themselves. Themes (evolution.themes), fewer candidates, more private images or a "
        "larger epsilon would help."
    )
