"""Label metrics: the distance of label distributions, and a linear probe trained on images and tested on real ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from spti_ray.evaluate.bootstrap import Estimate, Floats, percentile_estimate

Labels = npt.NDArray[np.str_]


def label_distance(generated_N: Labels, real_M: Labels, weights_RN: Floats) -> Estimate:
    """The total variation distance between two label distributions: 0 if they are equal, 1 if they share no label.

    Args:
        generated_N: Labels of the generated images.
        real_M: Labels of the real images.
        weights_RN: Bootstrap weights of the generated images, for the interval.
    """
    names = np.unique(np.concatenate([generated_N, real_M]))
    one_hot_NL = (generated_N[:, None] == names).astype(np.float64)
    real_L = (real_M[:, None] == names).mean(axis=0)
    value = 0.5 * float(np.abs(one_hot_NL.mean(axis=0) - real_L).sum())
    if not len(weights_RN):
        return Estimate(value)
    shares_RL = weights_RN @ one_hot_NL / weights_RN.sum(axis=1, keepdims=True)
    return percentile_estimate(value, 0.5 * np.abs(shares_RL - real_L).sum(axis=1))


def chance_label_distance(real_M: Labels, n: int, rng: np.random.Generator, draws: int = 200) -> float:
    """The mean distance that `n` labels have when they are drawn from the real ones themselves: the yardstick."""
    names, counts = np.unique(real_M, return_counts=True)
    real_L = counts / counts.sum()
    shares = rng.multinomial(n, real_L, size=draws) / n if len(names) > 1 else np.ones((draws, 1))
    return float(0.5 * np.abs(shares - real_L).sum(axis=1).mean())


def linear_probe(features_NE: Floats, labels_N: Sequence[str] | Labels) -> Pipeline:
    """Fit a linear probe: logistic regression on standardised features. There must be at least two labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features_NE, np.asarray(labels_N))
