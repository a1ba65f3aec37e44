"""All figures of a set of images: good images near their yardsticks, bad ones far from them."""

import json

import numpy as np
import pytest

from spti_ray.evaluate.evaluation import MIN_IMAGES, evaluate
from spti_ray.evaluate.reference import EvaluationFailed, Reference


class MeanPair:
    """FAKE: an image agrees with a text that says how bright it is."""

    def similarities(self, images, texts):
        brightness = np.array([[image.mean() / 255] for image in images])
        wanted = np.array([[float(text)] for text in texts])
        return (1 - np.abs(brightness - wanted.T)).astype(np.float32)

    def identity(self):
        return {"kind": "fake", "model": "brightness", "revision": "1"}


@pytest.fixture
def evaluated(real, judge):
    def of(images, texts=None, labels=None, reference=real, **options):
        return evaluate(images, texts, labels, reference, judge=judge, **({"resamples": 40} | options))

    return of


DISTANCES = ("frechet", "frechet_leading", "frechet_infinity", "kid", "cmmd")
SHARES = ("precision", "recall", "density", "coverage")


def test_images_like_the_real_ones_get_what_real_ones_get(evaluated, pictures_of):
    images = pictures_of(100, 11, 0, 128) + pictures_of(100, 12, 128, 256)
    result = evaluated(images)
    for name in ("vendi", *SHARES):
        assert result[name].value == pytest.approx(result[name].yardstick, rel=0.2), name
    for name in ("frechet", "frechet_leading"):
        assert result[name].value < 0.3
    assert result["kid"].low < 0.0 < result["kid"].high
    assert result["nearest_ratio"].value == pytest.approx(1.0, abs=0.15)


def test_images_of_one_kind_are_worse_by_every_figure(evaluated, pictures_of):
    result = evaluated(pictures_of(200, 13, 20, 26))
    for name in DISTANCES:
        assert result[name].value > 10 * max(result[name].yardstick, 0) + 1e-3, name
    for name in ("recall", "coverage"):
        assert result[name].value < 0.7 * result[name].yardstick, name
    assert result["vendi"].value < result["vendi"].yardstick
    assert result["label_distance"].value == pytest.approx(0.5, abs=0.1)


def test_copies_of_records_are_found_in_a_set_of_images(evaluated, pictures_of):
    copies = pictures_of(200, 1, 0, 128)[:50]
    assert evaluated(copies)["copied"].value == 1.0
    assert evaluated(pictures_of(50, 17))["copied"].value < 0.2


def test_downstream_accuracy_is_that_of_the_labels_learned(evaluated, pictures_of):
    images = pictures_of(50, 14, 0, 128) + pictures_of(50, 15, 128, 256)
    labels = ["dark"] * 50 + ["light"] * 50
    right, wrong = evaluated(images, labels=labels), evaluated(images, labels=labels[::-1])
    assert right["downstream_accuracy"].value > 0.95
    assert wrong["downstream_accuracy"].value < 0.05
    assert right["downstream_ceiling"].value == wrong["downstream_ceiling"].value > 0.95
    assert right["label_distance"].value == pytest.approx(0.0, abs=0.01)


def test_what_can_not_be_computed_says_why(evaluated, pictures_of, real, judge):
    result = evaluated(pictures_of(50, 16))
    assert result.skipped["clip_score"] == "the images have no texts"
    assert result.skipped["downstream_accuracy"] == "the images have no labels"
    with pytest.raises(KeyError, match="no labels"):
        result["downstream_accuracy"]
    unlabelled = Reference(real.features_PE, None, real.groups_P, 0, judge.identity())
    assert "label_distance" in evaluated(pictures_of(50, 16), reference=unlabelled).skipped


def test_a_text_that_fits_scores_more_than_the_others(evaluated, pictures_of):
    images = pictures_of(30, 18, 0, 100) + pictures_of(30, 19, 150, 256)
    texts = [f"{image.mean() / 255:.3f}" for image in images]
    result = evaluated(images, texts, image_text=MeanPair())
    assert result["clip_score"].value == pytest.approx(100, abs=0.2)
    assert result["clip_score"].yardstick < 90
    assert not any("voted" in warning for warning in result.warnings)
    marked = evaluated(images, texts, image_text=MeanPair(), image_text_voted=True)
    assert any("clip_score: by a network that voted" in warning for warning in marked.warnings)


def test_a_judge_that_voted_is_marked(evaluated, pictures_of):
    result = evaluated(pictures_of(50, 20), independent=False, voters=("image_embedder: colours",))
    assert result.independent is False and result.voters == ("image_embedder: colours",)
    assert any("the judge is a network that voted" in warning for warning in result.warnings)


def test_all_sets_are_compared_at_one_size_and_never_above_what_real_images_can_match(evaluated, pictures_of):
    assert evaluated(pictures_of(500, 21)).num_generated == 200
    result = evaluated(pictures_of(500, 21), size=60)
    assert (result.num_given, result.num_generated, result.num_reference, result.num_held_out) == (500, 60, 200, 200)


def test_few_images_are_warned_of(evaluated, pictures_of):
    few = evaluated(pictures_of(MIN_IMAGES, 22)).warnings
    assert any("10 images are fewer than 12 feature dimensions" in warning for warning in few)
    assert any("precision" in warning for warning in few)
    assert any("too narrow" in warning for warning in few)
    assert not any("fewer than" in warning for warning in evaluated(pictures_of(100, 22)).warnings)
    with pytest.raises(EvaluationFailed, match="too few"):
        evaluated(pictures_of(MIN_IMAGES - 1, 22))


def test_the_same_seed_gives_the_same_figures(evaluated, pictures_of):
    images = pictures_of(80, 23)
    assert evaluated(images, seed=5) == evaluated(images, seed=5)
    assert evaluated(images, seed=5)["frechet"].value != evaluated(images, seed=6)["frechet"].value


def test_another_judge_than_the_references_is_refused(real, judge, pictures_of):
    class Other(type(judge)):
        def identity(self):
            return {"kind": "fake", "model": "other", "revision": "1"}

    with pytest.raises(EvaluationFailed, match="another judge"):
        evaluate(pictures_of(50, 1), None, None, real, judge=Other())


def test_every_result_says_that_it_is_internal(evaluated, pictures_of):
    document = json.loads(evaluated(pictures_of(50, 24)).model_dump_json())
    assert document["statement"].startswith("internal: not differentially private")
