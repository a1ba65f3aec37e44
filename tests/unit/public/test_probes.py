"""Probes are made of public values alone, and ask what they say."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from spti_ray.config.loading import ConfigError
from spti_ray.probe import Probe
from spti_ray.public.probes import _left_out_error, checkpoint_probe, coverage_probe, label_probe
from spti_ray.types import EMBEDDING_SCALE

LABELS = ("x", "y", "z")


def answers(probe: Probe, rows) -> list[int]:
    rows = np.asarray(rows, np.float64)
    rows = np.rint(rows / np.linalg.norm(rows, axis=1, keepdims=True) * EMBEDDING_SCALE).astype(np.int64)
    return (rows @ probe.weights_AE.T.astype(np.int64) + probe.offsets_A).argmax(axis=1).tolist()


def blobs(num=60, width=8, seed=0):
    rng = np.random.default_rng(seed)
    own = rng.integers(0, 3, num)
    rows = np.eye(3, width)[own] + 0.15 * rng.normal(size=(num, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), [LABELS[i] for i in own]


def test_a_label_probe_that_is_trained_on_the_release_gives_others_their_label():
    probe, made = label_probe(*blobs(), LABELS, False, None)
    rows, own = blobs(seed=1)
    right = [LABELS[answer] == label for answer, label in zip(answers(probe, rows), own, strict=True)]
    assert np.mean(right) > 0.95 and made["images"] == 60 and probe.right_AL.tolist() == np.eye(3).tolist()


def test_a_label_without_an_image_is_never_the_answer_and_one_label_alone_always():
    rows, own = blobs()
    keep = [label != "y" for label in own]
    probe, _ = label_probe(rows[keep], [label for label in own if label != "y"], LABELS, False, None)
    assert probe.right_AL.tolist() == [[True, False, False], [False, False, True]]
    alone, _ = label_probe(rows[:5], ["y"] * 5, LABELS, False, None)
    assert answers(alone, rows) == [0] * len(rows) and alone.right_AL.tolist() == [[False, True, False]]
    alike, _ = label_probe(np.repeat(rows[:1], 6, axis=0), ["x", "y", "y", "y", "x", "z"], LABELS, False, None)
    assert answers(alike, rows) == [1] * len(rows)


def test_the_leave_one_out_error_is_that_of_fits_without_each_image():
    rows, own = blobs(12, 4)
    x, y, penalty = rows.astype(np.float64), np.array([[label == name for name in LABELS] for label in own], float), 0.3
    left, values, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    centred = y - y.mean(axis=0)
    errors = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        mean, share = x[rest].mean(axis=0), y[rest].mean(axis=0)
        z = x[rest] - mean
        weights = np.linalg.solve(z.T @ z + penalty * np.eye(4), z.T @ (y[rest] - share))
        errors.append((y[i] - share - (x[i] - mean) @ weights) ** 2)
    found = _left_out_error(left, values, left.T @ centred, centred, penalty)
    assert found == pytest.approx(np.mean(errors), rel=1e-6)


def test_coverage_is_the_distance_to_the_nearest_released_image():
    angles = np.array([0.0, 1.0])
    released = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    probe, made = coverage_probe(released, LABELS, False, 0.02, None)
    asked = np.array([0.0, 0.19, 0.21, 0.5, 1.19, 1.21])  # 1 - cos(0.2) is 0.0199, and that of 0.2003 is 0.02
    rows = np.stack([np.cos(asked), np.sin(asked)], axis=1)
    assert answers(probe, rows) == [0, 0, 2, 2, 1, 2]
    assert probe.right_AL.tolist() == [[True] * 3, [True] * 3, [False] * 3] and made["radius"] == 0.02


def test_a_radius_by_quantile_comes_from_the_release_alone():
    angles = np.array([0.0, 0.1, 0.3, 0.7])
    released = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    _, made = coverage_probe(released, LABELS, False, None, 1.0)
    assert made["radius"] == pytest.approx(1 - np.cos(0.4), rel=1e-3)
    with pytest.raises(ConfigError, match="one image"):
        coverage_probe(released[:1], LABELS, False, None, 0.5)
    with pytest.raises(ConfigError, match="zero, since many are alike"):
        coverage_probe(np.repeat(released, 3, axis=0), LABELS, False, None, 0.5)


def test_a_public_checkpoint_must_fit_classes_and_embeddings(tmp_path):
    path = tmp_path / "probe.safetensors"
    save_file({"weight": np.eye(3, 8, dtype=np.float32)[[1, 0, 2]], "bias": np.zeros(3, np.float32)}, path)
    probe, _ = checkpoint_probe(path, ("y", "x", "z"), 8, LABELS, True)
    assert answers(probe, np.eye(3, 8)) == [1, 0, 2] and probe.right_AL[0].tolist() == [False, True, False]
    with pytest.raises(ConfigError, match=r"has weight \[3, 8\] and bias \[3\], but the task has 2 classes"):
        checkpoint_probe(path, ("y", "x"), 8, LABELS, True)
    with pytest.raises(ConfigError, match="the embedder 4 numbers"):
        checkpoint_probe(path, LABELS, 4, LABELS, True)
    save_file({"weight": np.full((3, 8), np.nan, np.float32), "bias": np.zeros(3, np.float32)}, path)
    with pytest.raises(ConfigError, match="finite"):
        checkpoint_probe(path, LABELS, 8, LABELS, True)
    path.write_bytes(b"no tensors")
    with pytest.raises(ConfigError, match="no safetensors file"):
        checkpoint_probe(path, LABELS, 8, LABELS, True)
