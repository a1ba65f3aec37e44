import numpy as np

from spti_ray.models.pixels import to_png
from spti_ray.public.datasheet import Datasheet
from spti_ray.public.replacements import not_made_line
from spti_ray.types import ReleaseItem

FILES = ["images/00000.png", "images/00012.png"]


def test_images_that_were_not_made_are_counted_by_what_became_of_their_places():
    line = not_made_line(FILES, 3)
    assert line.startswith("images: 2 of 3 could not be made") and "1 replaced" in line and "1 missing" in line
    assert not_made_line(["images/00000.png", "images/00001.png"], 2) == ""


def test_the_datasheet_says_how_many_images_were_not_made(make_config, tmp_path):
    config = make_config(release__images=3)
    items = [ReleaseItem(file, "a cat", "all", 1, 0, f"g00-{n}", None, n) for n, file in enumerate(FILES)]
    (tmp_path / "images").mkdir()
    (tmp_path / FILES[0]).write_bytes(to_png(np.zeros((8, 8, 3), np.uint8)))
    text = Datasheet(tmp_path, config, items, {}, None).markdown()
    assert "**Images that were not made.** 2 of 3 could not be made" in text
    whole = [ReleaseItem(f"images/{n:05d}.png", "a cat", "all", 1, 0, "g", None, n) for n in range(3)]
    assert "not made" not in Datasheet(tmp_path, config, whole, {}, None).markdown()
