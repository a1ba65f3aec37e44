"""Renders of captions: a fair sample, for the owner's eyes, with nothing of a caption left behind."""

import pickle
import stat

import numpy as np
import pytest
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.models.protocols import EngineDead
from spti_ray.private.caption_renders import CAPTION_FAILED, CaptionedShard
from spti_ray.private.captions import PrivateText
from spti_ray.private.safe_errors import ShardError
from tests.taint.scan import find_in_files

SECRET = "zq7canary"
LABELS = ("cats", "dogs")


@pytest.fixture
def data(tmp_path):
    for label, count in (("cats", 9), ("dogs", 5), ("cows", 3)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(count):
            colour = (20 * i + 5, 255 if label == "dogs" else 0, 7)
            Image.new("RGB", (8, 8), colour).save(tmp_path / "data" / label / f"{i}.png")
    (tmp_path / "data" / "cats" / "torn.png").write_bytes(b"no image")
    return DataConfig(path=str(tmp_path / "data"))


class Engines:
    """Captions that name the picture's colour, and renders of that colour; counts its calls."""

    def __init__(self, fails=lambda image: False):
        self.captioned, self.rendered, self.batches = 0, [], []
        self._fails = fails

    def caption(self, images):
        self.batches.append(len(images))
        if any(self._fails(image) for image in images):
            raise ValueError(f"can't caption {SECRET}")
        self.captioned += len(images)
        return [PrivateText(f"{SECRET} {image[0, 0, 0]} {image[0, 0, 1]}") for image in images]

    def render(self, captions, seeds):
        self.rendered += seeds
        colours = [[int(word) for word in text.reveal().split()[1:]] for text in captions]
        return [
            np.full((4, 4, 3), [*colour, seed % 200], np.uint8) for colour, seed in zip(colours, seeds, strict=True)
        ]


def shard(data, tmp_path, wanted, shard_id=0, num_shards=1):
    return CaptionedShard(
        data, shard_id=shard_id, num_shards=num_shards, unit="record", label_names=LABELS, wanted=wanted, seed=3,
        folder=tmp_path / "internal" / "images", batch_size=4,
    )  # fmt: skip


def made(tmp_path):
    return sorted(path.name for path in (tmp_path / "internal" / "images").glob("*.png"))


def test_each_label_gets_as_many_images_as_wanted_of_a_sample_of_its_records(data, tmp_path):
    engines = Engines()
    shard(data, tmp_path, {"cats": 4, "dogs": 2}).make(engines.caption, engines.render)
    assert made(tmp_path) == [f"000-00000-00000{i}.png" for i in range(4)] + [f"001-00000-00000{i}.png" for i in (0, 1)]
    pixels = [np.asarray(Image.open(tmp_path / "internal" / "images" / name))[0, 0] for name in made(tmp_path)]
    assert [colour[1] for colour in pixels] == [0] * 4 + [255] * 2
    reds = {int(colour[0]) for colour in pixels[:4]}
    assert len(reds) == 4 and reds != {5, 25, 45, 65}, "a sample, not the first ones"
    assert set(engines.batches) == {4}, "one shape"


def test_with_few_records_each_has_several_images_from_seeds_of_their_own(data, tmp_path):
    engines = Engines()
    shard(data, tmp_path, {"dogs": 12}).make(engines.caption, engines.render)
    assert len(made(tmp_path)) == 12 and len(set(engines.rendered)) == 12


def test_shards_make_different_records(data, tmp_path):
    for shard_id in (0, 1):
        engines = Engines()
        shard(data, tmp_path, {"cats": 20, "dogs": 20}, shard_id, 2).make(engines.caption, engines.render)
    images = [np.asarray(Image.open(tmp_path / "internal" / "images" / name))[0, 0] for name in made(tmp_path)]
    assert len({tuple(colour[:2].tolist()) for colour in images}) == 14, "every usable record of both labels"


def test_images_that_are_there_are_not_made_again(data, tmp_path):
    wanted = {"cats": 4, "dogs": 2}
    first = Engines()
    shard(data, tmp_path, wanted).make(first.caption, first.render)
    folder = tmp_path / "internal" / "images"
    whole = {name: (folder / name).read_bytes() for name in made(tmp_path)}
    (folder / "000-00000-000002.png").unlink()
    again = Engines()
    shard(data, tmp_path, wanted).make(again.caption, again.render)
    assert len(again.rendered) == 1
    assert {name: (folder / name).read_bytes() for name in made(tmp_path)} == whole


def test_no_caption_is_left_in_any_file_and_all_is_the_owners_only(data, tmp_path):
    engines = Engines()
    one = shard(data, tmp_path, {"cats": 4, "dogs": 2})
    one.make(engines.caption, engines.render)
    assert engines.captioned and find_in_files([tmp_path / "internal"]) == []
    for path in (tmp_path / "internal" / "images").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "internal" / "images").stat().st_mode) == 0o700
    assert repr(one) == "<CaptionedShard 0 of 1>"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(one)


def test_a_record_that_fails_alone_is_told_by_its_index_and_the_others_are_made(data, tmp_path):
    engines = Engines(fails=lambda image: image[0, 0, 0] == 65 and image[0, 0, 1] == 255)
    one = shard(data, tmp_path, {"cats": 9, "dogs": 5})
    one.make(engines.caption, engines.render)
    assert len(made(tmp_path)) == 13
    problems = dict(one.problems())
    assert list(problems.values()).count(CAPTION_FAILED) == 1
    assert "truncated or corrupt" in problems.values() or len(problems) == 5, "and those without an image"
    assert SECRET not in str(problems)


def test_engines_that_fail_on_a_blank_image_too_end_it_in_one_content_free_line(data, tmp_path):
    engines = Engines(fails=lambda image: True)
    with pytest.raises(ShardError, match="shard 0: the captioner or renderer fails") as caught:
        shard(data, tmp_path, {"cats": 2}).make(engines.caption, engines.render)
    assert SECRET not in str(caught.value) and caught.value.__context__ is None

    def dead(images):
        raise EngineDead(SECRET)

    with pytest.raises(EngineDead) as died:
        shard(data, tmp_path, {"cats": 2}).make(dead, engines.render)
    assert SECRET not in str(died.value)


def test_a_record_without_a_caption_has_no_image_and_ends_nothing(data, tmp_path):
    engines = Engines()

    def caption(images):
        captions = engines.caption(images)
        return [None if image[0, 0, 0] in (25, 255) else text for image, text in zip(images, captions, strict=True)]

    def render(captions, seeds):
        told = [
            text if SECRET in text.reveal() else PrivateText(f"{text.reveal().split()[0]} 9 9") for text in captions
        ]
        return engines.render(told, seeds)

    of = shard(data, tmp_path, {"cats": 20, "dogs": 20})
    of.make(caption, render)
    reasons = [reason for _, reason in of.problems()]
    assert reasons.count(CAPTION_FAILED) == 2, "one cat, one dog; blanks, which are 255, have none either"
    reds = {int(np.asarray(Image.open(path))[0, 0, 0]) for path in (tmp_path / "internal" / "images").glob("*.png")}
    assert 25 not in reds and len(reds) == 8
