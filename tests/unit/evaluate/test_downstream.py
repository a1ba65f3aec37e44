"""What labelled images teach a classifier, beside as many real ones, tested on images that nobody voted with."""

import numpy as np
import pytest

from spti_ray.evaluate.bootstrap import resample_weights
from spti_ray.evaluate.downstream import accuracy_ratio
from spti_ray.evaluate.evaluation import evaluate
from spti_ray.evaluate.lines import table_lines
from spti_ray.evaluate.reference import EvaluationFailed, Reference


def labelled_pictures(judge, pictures_of, seed, n=100, swap=False):
    images = pictures_of(n, seed, 0, 128) + pictures_of(n, seed + 1, 128, 256)
    labels = ("light",) * n + ("dark",) * n if swap else ("dark",) * n + ("light",) * n
    return Reference(judge.features(images).astype(np.float64), labels, np.arange(2 * n), 0, judge.identity(), "x")


@pytest.fixture
def held_out(judge, pictures_of):
    return labelled_pictures(judge, pictures_of, 31)


@pytest.fixture
def evaluated(real, judge, pictures_of):
    def of(labels=None, **options):
        images = pictures_of(50, 14, 0, 128) + pictures_of(50, 15, 128, 256)
        labels = labels or ["dark"] * 50 + ["light"] * 50
        return evaluate(images, None, labels, real, judge=judge, **({"resamples": 40} | options))

    return of


def test_the_ratio_is_that_of_the_two_accuracies_with_an_interval(evaluated, held_out):
    labels = ["dark"] * 50 + ["light"] * 50
    noisy = [label if i % 3 else "dark" for i, label in enumerate(labels)]
    result = evaluated(noisy, held_out=held_out)
    accuracy, ratio = result["downstream_accuracy"], result["downstream_ratio"]
    assert ratio.value == pytest.approx(accuracy.value / accuracy.yardstick)
    assert ratio.low <= ratio.value <= ratio.high and ratio.low < ratio.high and ratio.resamples == 40
    assert evaluated(labels)["downstream_ratio"].value == pytest.approx(1.0, abs=0.05)
    assert evaluated(labels, resamples=0)["downstream_ratio"].low is None


def test_classifiers_are_tested_on_the_held_out_images_and_on_no_other(evaluated, judge, pictures_of):
    # Their labels say the opposite of the reference's: who learnt from the reference is wrong on all of them.
    opposite = labelled_pictures(judge, pictures_of, 31, swap=True)
    result = evaluated(held_out=opposite)
    assert result["downstream_accuracy"].value < 0.05 and result["downstream_ceiling"].value < 0.05
    assert evaluated()["downstream_ceiling"].value > 0.95


def test_it_is_said_which_classifier_it_is_and_whether_what_it_is_tested_on_voted(evaluated, held_out):
    (line,) = (line for line in table_lines([evaluated(held_out=held_out)]) if line.startswith("downstream: "))
    assert line == (
        "downstream: logistic regression on the judge's standardised features, trained on the images, tested on 200 "
        "held-out real images, which did not vote"
    )
    (line,) = (line for line in table_lines([evaluated()]) if line.startswith("downstream: "))
    assert "200 records that no classifier saw; they voted" in line


def test_held_out_images_that_voted_or_have_no_labels_are_refused(evaluated, real, judge, held_out):
    some = Reference(
        np.concatenate([held_out.features_PE[:20], real.features_PE[:1] + 1e-7]),
        ("dark",) * 21,
        np.arange(21),
        0,
        judge.identity(),
    )
    with pytest.raises(EvaluationFailed, match="among those that voted"):
        evaluated(held_out=some)
    unlabelled = Reference(held_out.features_PE, None, held_out.groups_P, 0, judge.identity())
    with pytest.raises(EvaluationFailed, match="have no labels"):
        evaluated(held_out=unlabelled)


def test_the_interval_of_the_ratio_is_of_the_images_and_of_the_other_classifiers():
    rng = np.random.default_rng(0)
    own = (rng.random(400) < 0.6).astype(float)
    others = np.stack([(rng.random(400) < share).astype(float) for share in (0.7, 0.9)])
    weights = resample_weights(np.arange(400), 400, rng)
    found = accuracy_ratio(own, others, weights)
    assert found.value == pytest.approx(own.mean() / others.mean())
    assert found.low < own.mean() / others[1].mean() and found.high > own.mean() / others[0].mean()
    assert accuracy_ratio(own, np.zeros((2, 400)), weights) is None


def test_of_several_sets_the_first_column_has_its_interval(evaluated):
    lines = list(table_lines([evaluated(), evaluated(name="more")]))
    assert lines[2].split()[:3] == ["kid", "frechet_infinity", "cmmd"] and "downstream_ratio" in lines[2]
    assert " to " in lines[3]
