import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from spti_ray.models.pixels import from_png, to_png

IMAGE_HWC = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def test_png_keeps_every_pixel():
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(to_png(IMAGE_HWC)))), IMAGE_HWC)


def test_what_was_read_back_is_the_same_and_can_be_written_to():
    found = from_png(to_png(IMAGE_HWC))
    np.testing.assert_array_equal(found, IMAGE_HWC)
    found[0] = 0


@given(
    image=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    level=st.integers(0, 9),
    turned=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_any_level_keeps_every_pixel_and_gives_the_same_bytes_again(image, level, turned):
    image = image[::-1, ::-1] if turned else image  # not contiguous
    png = to_png(image, level)
    np.testing.assert_array_equal(from_png(png), image)
    with Image.open(io.BytesIO(png)) as opened:
        assert opened.mode == "RGB" and opened.verify() is None  # all check sums
    assert to_png(from_png(png), level) == png


def test_without_a_level_the_bytes_are_those_of_earlier_builds():
    buffer = io.BytesIO()
    Image.fromarray(IMAGE_HWC).save(buffer, format="PNG", optimize=False)
    assert to_png(IMAGE_HWC) == to_png(IMAGE_HWC, 6) == buffer.getvalue()
