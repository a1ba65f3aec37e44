"""The public probes of `spti measure`, made from released images alone.

`label_probe`: a linear classifier trained on the release, or a public one from a file. `coverage_probe`: is there a
released image within a radius? Both become a `Probe`, by which private records are right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spti_ray.config.loading import ConfigError
from spti_ray.probe import Probe
from spti_ray.types import FloatArray

Floats = npt.NDArray[np.float64]

_PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Tried for the ridge penalty, as shares of the mean squared singular value of the features."""

_CELLS_AT_A_TIME = 2**24
"""Cosines in memory while nearest images are found."""


def label_probe(
    features_NE: FloatArray, labels_N: Sequence[str], labels: tuple[str, ...], by_class: bool, ridge: float | None
) -> tuple[Probe, dict[str, Any]]:
    """A ridge classifier of released images, one row of weights for each label that has images.

    Least squares to +1 for the own label and 0 for others, with an intercept that is not penalised; a record gets the
    label of the largest score. Features are of length 1.

    Args:
        features_NE: embeddings of the released images.
        labels_N: their labels.
        labels: the run's labels; one without an image is never the answer.
        by_class: see `Probe`.
        ridge: the penalty; None for the one of `_PENALTIES` with the smallest leave-one-out error, squared.

    Returns:
        The probe, and what it is made of, for the record.

    Raises:
        ConfigError: the penalty is too large.
    """
    present = [label for label in labels if label in set(labels_N)]
    x_NE = features_NE.astype(np.float64)
    y_NC = (np.array(labels_N, dtype=object)[:, None] == np.array(present, dtype=object)[None, :]).astype(np.float64)
    mean_E, share_C = x_NE.mean(axis=0), y_NC.mean(axis=0)
    left_NR, values_R, right_RE = np.linalg.svd(x_NE - mean_E, full_matrices=False)
    projected_RC = left_NR.T @ (y_NC - share_C)
    size = float((values_R**2).mean()) or 1.0
    penalties = [ridge] if ridge is not None else [share * size for share in _PENALTIES]
    errors = [_left_out_error(left_NR, values_R, projected_RC, y_NC - share_C, penalty) for penalty in penalties]
    penalty = penalties[int(np.argmin(errors))]
    weights_EC = right_RE.T @ ((values_R / (values_R**2 + penalty))[:, None] * projected_RC)
    if not weights_EC.any():  # one label alone has images, or all images are alike
        weights_EC = np.ones_like(weights_EC)  # adds the same to every score
    offsets_C = share_C - mean_E @ weights_EC
    try:
        probe = Probe.rounded(weights_EC.T, offsets_C, _own_label(present, labels), labels, by_class)
    except ValueError:
        raise ConfigError(f"ridge: {penalty:g} leaves nothing of the probe's weights; make it smaller") from None
    return probe, {"probe": "ridge classifier of the released images", "ridge": penalty, "images": len(x_NE)}


def _left_out_error(
    left_NR: Floats, values_R: Floats, projected_RC: Floats, target_NC: Floats, penalty: float
) -> float:
    """The mean squared error on each image of the fit without it, in closed form (Allen's PRESS)."""
    shrunk_R = values_R**2 / (values_R**2 + penalty)
    fitted_NC = left_NR @ (shrunk_R[:, None] * projected_RC)
    # The intercept is an own direction, which is fitted fully: 1 / N of every image's leverage.
    leverage_N = (left_NR**2) @ shrunk_R + 1 / len(left_NR)
    kept_N = np.maximum(1 - leverage_N, 1e-9)
    return float((((target_NC - fitted_NC) / kept_N[:, None]) ** 2).mean())


def checkpoint_probe(
    path: Path, classes: Sequence[str], width: int, labels: tuple[str, ...], by_class: bool
) -> tuple[Probe, dict[str, Any]]:
    """A public linear classifier from a safetensors file.

    Args:
        path: of the file, with `weight` [C, E] and `bias` [C].
        classes: the label of each row.
        width: of the embeddings, E.
        labels: the run's labels.
        by_class: see `Probe`.

    Raises:
        ConfigError: the file can't be read, or does not fit classes or embeddings; one line.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
        weight_CE, bias_C = found["weight"].astype(np.float64), found["bias"].astype(np.float64)
    except (OSError, KeyError, ValueError, TypeError, SafetensorError):
        raise ConfigError(
            f"checkpoint.path: {path} is no safetensors file with weight [C, E] and bias [C] in floats"
        ) from None
    expected = (len(classes), width)
    if weight_CE.shape != expected or bias_C.shape != expected[:1]:
        raise ConfigError(
            f"checkpoint.path: {path} has weight {list(weight_CE.shape)} and bias {list(bias_C.shape)}, but the task "
            f"has {len(classes)} classes and the embedder {width} numbers"
        )
    try:
        probe = Probe.rounded(weight_CE, bias_C, _own_label(classes, labels), labels, by_class)
    except ValueError as error:
        raise ConfigError(f"checkpoint.path: {path}: {error}") from None
    return probe, {"probe": "linear classifier of a public checkpoint"}


def _own_label(answers: Sequence[str], labels: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """bool [A, L]: an answer is right for records of its own label."""
    return np.array([[answer == label for label in labels] for answer in answers], dtype=np.bool_)


def coverage_probe(
    features_NE: FloatArray, labels: tuple[str, ...], by_class: bool, radius: float | None, quantile: float | None
) -> tuple[Probe, dict[str, Any]]:
    """Whether a released image, of whatever label, is within a radius of a record, by cosine distance.

    The answers are the released images; where none of their cosines reaches 1 - radius, the last answer is taken,
    which is wrong for all.

    Args:
        features_NE: embeddings of the released images, of length 1.
        labels: the run's labels.
        by_class: see `Probe`.
        radius: of the cosine distance; None for a quantile.
        quantile: of the distances of the released images to their nearest others.

    Returns:
        The probe, and what it is made of, for the record.

    Raises:
        ConfigError: the quantile is that of fewer than two images, or is a distance of zero.
    """
    x_NE = features_NE.astype(np.float64)
    x_NE /= np.linalg.norm(x_NE, axis=1, keepdims=True)
    if radius is None:
        assert quantile is not None
        radius = _radius_of(x_NE, quantile)
    weights_AE = np.concatenate([x_NE, np.zeros((1, x_NE.shape[1]))])
    offsets_A = np.append(np.zeros(len(x_NE)), 1 - radius)
    right_AL = np.ones((len(weights_AE), len(labels)), dtype=np.bool_)
    right_AL[-1] = False
    made = {"probe": "nearest released image within the radius", "radius": radius, "images": len(x_NE)}
    return Probe.rounded(weights_AE, offsets_A, right_AL, labels, by_class), made


def _radius_of(x_NE: Floats, quantile: float) -> float:
    if len(x_NE) < 2:
        raise ConfigError("radius_quantile: the release has one image, which has no nearest other; give radius")
    nearest: list[float] = []
    block = max(1, _CELLS_AT_A_TIME // len(x_NE))
    for first in range(0, len(x_NE), block):
        cosines = x_NE[first : first + block] @ x_NE.T
        cosines[np.arange(len(cosines)), first + np.arange(len(cosines))] = -1.0
        nearest += (1 - cosines.max(axis=1)).tolist()
    radius = float(np.quantile(nearest, quantile))
    if radius <= 1e-6:
        raise ConfigError(
            f"radius_quantile: the {quantile:g} quantile of the released images' distances to their nearest others is "
            "zero, since many are alike; take a larger quantile, or give radius"
        )
    return radius
