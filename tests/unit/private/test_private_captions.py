"""A caption's wrapper: `reveal` is the only way to its text."""

import copy
import json
import logging
import pickle
import traceback

import pytest
from ray import cloudpickle

from spti_ray.private.captions import PrivateText

SECRET = "CANARY-51c8"


@pytest.fixture
def caption():
    return PrivateText(f"a photo of {SECRET}")


def test_the_text_can_be_revealed(caption):
    assert caption.reveal() == f"a photo of {SECRET}"


def test_a_caption_shows_nothing_of_itself(caption, caplog):
    logging.getLogger("test").warning("%r %r", caption, [caption])
    for text in (repr(caption), repr([caption]), f"{caption!r}", ascii(caption), repr({"x": caption}), caplog.text):
        assert SECRET not in text and "private" in text
    with pytest.raises(TypeError):
        vars(caption)
    assert SECRET not in repr(dir(caption))


@pytest.mark.parametrize(
    "use",
    [
        str,
        bytes,
        lambda caption: f"{caption}",
        lambda caption: f"{caption:>20}",
        lambda caption: "{}".format(caption),  # noqa: UP032
        lambda caption: "%s" % caption,  # noqa: UP031
        lambda caption: "a " + caption,
        lambda caption: caption + "a",
        lambda caption: " ".join([caption]),
        lambda caption: "a photo" in caption,
        lambda caption: caption in "a photo",
        lambda caption: caption < "b",
        lambda caption: sorted([caption, PrivateText("b")]),
        lambda caption: "a photo".replace("a", caption),
        list,
        len,
        json.dumps,
        lambda caption: print(caption),
    ],
)
def test_a_caption_can_not_become_part_of_a_text(caption, use):
    with pytest.raises(TypeError) as caught:
        use(caption)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "dump",
    [
        pickle.dumps,
        cloudpickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda caption: pickle.dumps([caption], 1),
        lambda caption: caption.__reduce_ex__(4),
        lambda caption: caption.__getstate__(),
    ],
)
def test_a_caption_refuses_to_be_pickled_or_copied(caption, dump):
    with pytest.raises(TypeError, match="private") as caught:
        dump(caption)
    assert SECRET not in str(caught.value)


def test_captions_are_not_compared_by_content(caption):
    assert caption == caption and caption != PrivateText(caption.reveal()) and caption != caption.reveal()
    assert len({caption, PrivateText(caption.reveal())}) == 2


def test_a_caption_that_a_log_line_formats_is_not_shown(caption, capsys):
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler())
    logger.warning("caption: %s", caption)
    assert SECRET not in "".join(capsys.readouterr())
