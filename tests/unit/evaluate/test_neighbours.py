"""Which images are shown beside which: the nearest, each once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.evaluate.neighbours import nearest_pairs, nearest_records


def test_images_are_shown_with_their_nearest_record_the_nearest_first():
    records = np.array([[0.0], [1.0], [2.0], [10.0]])
    images = np.array([[5.0], [9.5], [1.0]])
    near = nearest_records(images, records, 2)
    assert [(found.image, found.other, found.ratio) for found in near] == [(2, 1, 0.0), (1, 3, 0.5)]


@given(st.integers(2, 20), st.integers(1, 12), st.integers(0, 5))
def test_an_image_is_in_one_pair_at_most_and_no_pair_that_is_left_is_nearer(count, most, seed):
    images = np.random.default_rng(seed).normal(size=(count, 3))
    pairs = nearest_pairs(images, most)
    used = [place for pair in pairs for place in (pair.image, pair.other)]
    assert len(pairs) == min(most, count // 2) and len(set(used)) == len(used)
    distances = np.linalg.norm(images[:, None] - images[None], axis=2) + np.diag([np.inf] * count)
    assert np.isclose(distances[pairs[0].image, pairs[0].other], distances.min())
    assert [pair.ratio for pair in pairs] == sorted(pair.ratio for pair in pairs)
