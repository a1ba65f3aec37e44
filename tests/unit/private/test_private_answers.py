"""Answers of private records to a public probe, against plain reference code."""

import numpy as np
import pytest

from spti_ray.private.answers import cast_answers
from spti_ray.private.views import NO_LABEL, Views, VotingError, quantise
from spti_ray.probe import Probe

NAMES = ("x", "y")
X, Y = [1.0, 0.0], [0.0, 1.0]


def views(rows, labels, groups=None) -> Views:
    matrix = quantise(np.array(rows, np.float32))
    codes = None if groups is None else np.array(groups, np.int64)
    return Views({"image": matrix}, np.array(labels, np.int32), NAMES, codes)


def classifier(by_class=False) -> Probe:
    """Takes the first number for label x, the second for y."""
    return Probe.rounded(np.eye(2), np.zeros(2), np.eye(2, dtype=np.bool_), NAMES, by_class)


def test_each_record_is_right_or_wrong_by_its_own_label():
    found = views([X, X, Y, Y, Y, [0.0, 0.0]], [0, 1, 1, 1, 0, 0])
    assert cast_answers(found, classifier()).tolist() == [3, 2]
    assert cast_answers(found, classifier(by_class=True)).tolist() == [1, 1, 2, 1]


def test_a_record_without_a_listed_label_or_an_embedding_fills_no_cell():
    assert cast_answers(views([X, [np.nan, 1.0], X], [NO_LABEL, 0, 0]), classifier()).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("rows", "labels", "counts"),
    [
        ([X, X, Y], [0, 0, 0], [1, 0]),
        ([X, Y], [0, 0], [0, 1]),  # a tie is wrong
        ([Y, X, X], [0, 1, 1], [0, 1]),  # the label is the first record's, and the others take no part
        ([[0.0, 0.0], X, Y, Y], [0, 1, 1, 1], [1, 0]),  # the first that is usable
    ],
)
def test_a_group_is_right_if_more_than_half_of_its_records_are(rows, labels, counts):
    assert cast_answers(views(rows, labels, [7] * len(rows)), classifier()).tolist() == counts


def test_scores_are_those_of_whole_numbers_however_large():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 384))
    probe = Probe.rounded(
        rng.normal(size=(9, 384)), 3 * rng.normal(size=9), rng.random((9, 2)) < 0.5, NAMES, by_class=True
    )
    found = views(rows, rng.integers(0, 2, 300))
    vectors = found.vectors_PE["image"][np.arange(300)]
    expected = [0, 0, 0, 0]
    for vector, code in zip(vectors.tolist(), found.labels_P.tolist(), strict=True):
        scores = [
            sum(a * b for a, b in zip(weights, vector, strict=True)) + int(offset)
            for weights, offset in zip(probe.weights_AE.tolist(), probe.offsets_A, strict=True)
        ]
        expected[2 * code + int(not probe.right_AL[scores.index(max(scores)), code])] += 1
    assert cast_answers(found, probe).tolist() == expected


def test_a_probe_for_other_records_is_refused():
    found = views([X], [0])
    with pytest.raises(VotingError, match="other labels"):
        cast_answers(found, Probe.rounded(np.eye(2), np.zeros(2), np.ones((2, 1), np.bool_), ("all",)))
    with pytest.raises(VotingError, match="different embedding dimensions"):
        cast_answers(found, Probe.rounded(np.eye(3), np.zeros(3), np.ones((3, 2), np.bool_), NAMES))
