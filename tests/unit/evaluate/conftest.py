"""A judge without weights: the mean colours of an image's quarters, which is enough to tell images apart."""

import numpy as np
import pytest

from spti_ray.evaluate.reference import Reference


class ColourJudge:
    """FAKE: 12 features of each image."""

    def features(self, images):
        rows = [
            [half.mean(axis=(0, 1)) for rows in np.array_split(image, 2) for half in np.array_split(rows, 2, axis=1)]
            for image in images
        ]
        return np.asarray(rows, np.float32).reshape(len(images), 12) / 64

    def identity(self):
        return {"kind": "fake", "model": "colours", "revision": "1"}


def pictures(n, seed, low=0, high=256):
    return list(np.random.default_rng(seed).integers(low, high, size=(n, 4, 4, 3)).astype(np.uint8))


@pytest.fixture
def judge():
    return ColourJudge()


@pytest.fixture
def real():
    """A reference of 400 pictures; the dark half is labelled so."""
    images = pictures(200, 1, 0, 128) + pictures(200, 2, 128, 256)
    features_PE = ColourJudge().features(images).astype(np.float64)
    labels = ("dark",) * 200 + ("light",) * 200
    return Reference(features_PE, labels, np.arange(400), 3, ColourJudge().identity())


@pytest.fixture
def pictures_of():
    return pictures
