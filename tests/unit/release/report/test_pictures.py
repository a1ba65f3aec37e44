import base64
import io

import numpy as np
from PIL import Image

from spti_ray.models.pixels import to_png
from spti_ray.provenance.png_chunks import with_xmp
from spti_ray.release.report.pictures import Pictures


def test_the_first_variant_is_the_picture_of_a_candidate(built):
    pictures = Pictures(built[0], 10_000)
    uris = pictures.of_candidates({"g00-00003": 0, "g01-00000": 1}, 64)
    assert set(uris) == {"g00-00003", "g01-00000"}
    assert pictures.bytes_left < 10_000
    assert Pictures(built[0], 10).of_candidates({"g00-00003": 0}, 64) == {}


def test_a_picture_of_a_released_image_says_what_the_image_says(tmp_path):
    images = tmp_path / "release" / "images"
    images.mkdir(parents=True)
    (images / "0.png").write_bytes(with_xmp(to_png(np.zeros((64, 64, 3), np.uint8)), "<x/>"))
    picture = Pictures(tmp_path, 10**6).of_file("images/0.png", 32)
    assert picture and picture.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as small:
        assert small.size == (32, 32) and small.info["xmp"] == b"<x/>"
