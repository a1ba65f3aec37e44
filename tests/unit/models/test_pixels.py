import io

import numpy as np
from PIL import Image

from spti_ray.models.pixels import from_png, to_png

IMAGE_HWC = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def test_png_keeps_every_pixel():
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(to_png(IMAGE_HWC)))), IMAGE_HWC)


def test_what_was_read_back_is_the_same_and_can_be_written_to():
    found = from_png(to_png(IMAGE_HWC))
    np.testing.assert_array_equal(found, IMAGE_HWC)
    found[0] = 0
