"""Which method of a renderer makes a batch."""

import numpy as np
import pytest

from spti_ray.models.pixels import to_png
from spti_ray.models.render_calls import render_call
from spti_ray.types import RenderBatch


def test_a_batch_of_texts_is_rendered():
    assert render_call(RenderBatch(("a", "b"), (1, 2))) == ("render", (["a", "b"], [1, 2]))


def test_a_batch_with_images_is_one_of_variations_and_its_images_are_decoded():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    method, (images, *others) = render_call(RenderBatch(("a",), (1,), (to_png(image),), 0.5))
    assert method == "vary" and others == [["a"], [1], 0.5]
    np.testing.assert_array_equal(images, [image])


@pytest.mark.parametrize("fields", [(("a",), ()), (("a",), (1, 2)), (("a", "b"), (1, 2), (b"png",), 0.5)])
def test_a_batch_has_a_seed_and_an_image_or_none_for_each_text(fields):
    with pytest.raises(ValueError, match="for each text"):
        RenderBatch(*fields)
