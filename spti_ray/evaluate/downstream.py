"""What images with labels are worth to a classifier: trained on them, and on as many real images, tested on real ones.

The classifier is `label_metrics.linear_probe`: a logistic regression (scikit-learn) on standardised features of the
judge. It says what the images teach about the labels that the judge can see, not what a network trained from their
pixels would reach. PRIVATE: all that is held here are features of private images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from spti_ray.evaluate.bootstrap import Estimate, Floats, Integers, estimate_mean, percentile_estimate, resample_weights
from spti_ray.evaluate.label_metrics import Labels, Pipeline, linear_probe
from spti_ray.evaluate.reference import EvaluationFailed, Reference

DRAWS = 5
"""How many choices of as many real images are trained on; their mean counts."""

_SAME = 1e-4
"""Of the usual distance to the nearest: one image gets the same features but for rounding."""

CLASSIFIER = "logistic regression on the judge's standardised features"


@dataclass(frozen=True, repr=False)
class Labelled:
    """PRIVATE: features [M, E], labels [M] and numbers of groups [M] of real images that have a label."""

    features_ME: Floats
    labels_M: Labels
    groups_M: Integers


def labelled(reference: Reference, rows: Integers) -> Labelled:
    """Those of the reference's rows that have a label; the reference must have some."""
    labels_P = np.asarray(reference.labels)
    kept = rows[labels_P[rows] != ""]
    return Labelled(reference.features_PE[kept], labels_P[kept], reference.groups_P[kept])


def check_held_out(held_out: Reference, reference: Reference) -> None:
    """Raise EvaluationFailed, with one line, if images that are held out are not, or can't be used."""
    if held_out.judge != reference.judge:
        raise EvaluationFailed("the held-out images were embedded by another judge; load them with this one")
    if held_out.labels is None or not any(held_out.labels):
        raise EvaluationFailed("the held-out images have no labels (--label-column)")
    distances = NearestNeighbors(n_neighbors=1).fit(reference.features_PE).kneighbors(held_out.features_PE)[0]
    if float(distances.min()) <= _SAME * float(np.median(distances)):
        raise EvaluationFailed("some held-out images are among those that voted; hold out others")


class Downstream(NamedTuple):
    """Accuracies on the tested images: of the images' classifier, the mean of those of as many real images, of all real
    ones; and the first over the second, None if the second is 0 or can't be had."""

    accuracy: Estimate
    at_size: float | None
    ceiling: Estimate
    ratio: Estimate | None


def measure_downstream(
    x_NE: Floats,
    labels_N: Labels,
    on_real: Pipeline,
    real: Labelled,
    tested: Labelled,
    resamples: int,
    rng: Callable[..., np.random.Generator],
) -> Downstream:
    """Train on N images and on as many real ones; test on real images that neither has seen.

    Args:
        x_NE: Features of the N images.
        labels_N: Their labels, at least two different ones.
        on_real: The classifier trained on all of `real`.
        real: The real images to train on, of at least two labels.
        tested: The real images to test on.
        resamples: How many bootstrap resamples of the tested images (by their groups) the intervals come from; 0 for
            none. The ratio's also go through the choices of as many real images. They tell nothing of other seeds of
            the run; a study does.
        rng: Gives a source of draws for what is named.
    """
    weights_RM = resample_weights(tested.groups_M, resamples, rng("b"))
    own_M = _correct(linear_probe(x_NE, labels_N), tested)
    choices: list[Floats] = []
    for i in range(DRAWS):
        rows = rng("ceiling", i).permutation(len(real.labels_M))[: len(x_NE)]
        if len(np.unique(real.labels_M[rows])) > 1:
            choices.append(_correct(linear_probe(real.features_ME[rows], real.labels_M[rows]), tested))
    return Downstream(
        estimate_mean(own_M, weights_RM),
        float(np.mean(choices)) if choices else None,
        estimate_mean(_correct(on_real, tested), weights_RM),
        accuracy_ratio(own_M, np.stack(choices), weights_RM) if choices else None,
    )


def accuracy_ratio(own_M: Floats, real_DM: Floats, weights_RM: Floats) -> Estimate | None:
    """The accuracy of one classifier over the mean accuracy of D others on the same M images.

    Args:
        own_M: 1 where the classifier is right, else 0.
        real_DM: The same of the others.
        weights_RM: Bootstrap weights of the images. Resample r is that of classifier r modulo D: the interval is of
            both.

    Returns: None if the others are never right.
    """
    usual = float(np.mean(real_DM))
    if not usual:
        return None
    value = float(np.mean(own_M)) / usual
    if not len(weights_RM):
        return Estimate(value)
    others_RM = real_DM[np.arange(len(weights_RM)) % len(real_DM)]
    others_R = (weights_RM * others_RM).sum(axis=1)
    if not others_R.all():
        return Estimate(value)
    return percentile_estimate(value, weights_RM @ own_M / others_R)


def _correct(probe: Pipeline, tested: Labelled) -> Floats:
    return (probe.predict(tested.features_ME) == tested.labels_M).astype(np.float64)
