"""Training data of the bundled models: names joined, drawings restyled, captions made."""

import numpy as np
import pytest

from jobs.embedded import data
from jobs.embedded.icons import SETS, rasterise, read_icons, restyled
from jobs.embedded.text import captions
from tests.unit.jobs.conftest import GRADIENT

SVG = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{GRADIENT}</svg>'


def test_icons_are_named_by_unicode_whether_or_not_their_set_knows_characters(work):
    found = {(icon.source, icon.emoji.name) for icon in read_icons(work / "npm")}
    assert found == {(each.name, name) for each in SETS for name in ("red apple", "dog face", "red heart")}


def test_sets_of_the_private_vendors_are_not_among_those_learnt_from():
    assert not {each.name for each in SETS} & {"fluent-emoji-flat", "noto-v1", "fxemoji", "streamline-emojis"}


def test_nothing_that_draws_learns_from_share_alike_sets():
    assert not [each.name for each in SETS if each.drawn and "SA" in each.licence]


def test_data_hold_every_icon_in_every_style_and_are_made_once(work):
    made = data.load(work)
    icons = 3 * len(SETS)
    assert made.pixels.shape == (icons, data.STYLES, data.SIZE, data.SIZE, 3) and len(made.names) == icons
    assert dict(zip(made.names, made.colours, strict=True)) == {
        "red apple": "red",
        "dog face": "brown",
        "red heart": "red",
    }
    assert sorted(set(np.array(made.sources)[made.drawn])) == sorted(each.name for each in SETS if each.drawn)
    before = (work / "icons.parquet").stat().st_mtime_ns
    data.make(work)
    assert (work / "icons.parquet").stat().st_mtime_ns == before


def test_restyled_drawings_keep_the_shape_and_differ_in_the_rest():
    styles = [rasterise(restyled(SVG, np.random.default_rng(seed)), 32) for seed in range(12)]
    assert np.array_equal(styles[3], rasterise(restyled(SVG, np.random.default_rng(3)), 32))
    inked = [style.min(axis=2) < 250 for style in styles]
    vendor = rasterise(SVG, 32).min(axis=2) < 250
    assert len({style.tobytes() for style in styles}) >= 9  # now and then nothing is changed
    # An outline adds a pixel around; a line drawing leaves the inside white, and is rare.
    overlaps = sorted((ink & vendor).sum() / (ink | vendor).sum() for ink in inked)
    assert overlaps[2] > 0.7


@pytest.mark.parametrize(
    ("colour", "word"),
    [((250, 20, 20), "red"), ((120, 70, 20), "brown"), ((30, 30, 30), "black"), ((40, 90, 220), "blue")],
)
def test_a_drawings_colour_is_that_of_most_of_its_ink(colour, word):
    image = np.full((20, 20, 3), 255, np.uint8)
    image[5:15, 5:15] = colour
    image[5:8, 5:8] = (0, 200, 0)
    assert data.colour_word(image) == word


def test_captions_begin_with_the_bare_name_and_name_a_colour_once(work):
    made = data.load(work)
    dog, apple = captions(made, made.names.index("dog face")), captions(made, made.names.index("red apple"))
    assert dog[0] == "dog face" and "a brown dog face" in dog and "dog face, dog, pet" in dog
    assert "a red apple" in apple and not [text for text in apple if "red red" in text]
