"""The last look at the images of a release: what they say, and that nothing is written twice."""

import hashlib

import numpy as np
import pytest

from spti_ray.models.pixels import to_png
from spti_ray.provenance.marks import BARE, Marks
from spti_ray.provenance.png_chunks import with_xmp, xmp_of
from spti_ray.public.finished_images import finish_images

PNGS = [to_png(np.full((8, 8, 3), shade, np.uint8)) for shade in range(3)]


def test_images_that_say_something_else_or_nothing_are_written_again_and_others_are_not(tmp_path):
    files = ["images/0.png", "images/1.png", "images/2.png"]
    (tmp_path / "images").mkdir()
    for file, content in zip(files, (PNGS[0], with_xmp(PNGS[1], "old"), with_xmp(PNGS[2], "new")), strict=True):
        (tmp_path / file).write_bytes(content)
    (tmp_path / files[0]).chmod(0o600)
    before = [(tmp_path / file).stat().st_ino for file in files]

    hashes = finish_images(tmp_path, files, Marks("new"))

    written = [(tmp_path / file).read_bytes() for file in files]
    assert written == [with_xmp(png, "new") for png in PNGS]
    assert hashes == [hashlib.sha256(png).hexdigest() for png in written]
    assert [(tmp_path / file).stat().st_ino == inode for file, inode in zip(files, before, strict=True)] == [
        False,
        False,
        True,
    ]
    assert (tmp_path / files[0]).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("said", [None, "of an origin"])
def test_without_xmp_images_say_nothing(tmp_path, said):
    (tmp_path / "0.png").write_bytes(with_xmp(PNGS[0], said))
    finish_images(tmp_path, ["0.png"], BARE)
    assert xmp_of((tmp_path / "0.png").read_bytes()) is None
