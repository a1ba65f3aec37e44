"""The judge is another network than those that voted."""

import shutil

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.evaluate.judge_choice import choose_judges, describe_voters, pair_voted, voters_of
from spti_ray.models.bundled import package_file

BLIP, CLIP = "bundled:sticker-blip", "bundled:sticker-clip"


@pytest.fixture
def voters(make_config):
    def of(voting, engines="embedded"):
        return voters_of(make_config(evolution__voting=voting, runtime__engines=engines))

    return of


def test_who_voted_is_read_from_the_configuration(voters):
    assert describe_voters(voters("image")) == (f"image_embedder: {CLIP}",)
    assert describe_voters(voters("caption")) == (f"captioner: {BLIP}", "text_embedder: bundled:minilm")
    assert len(voters("joint")) == 3


def test_the_default_judge_did_not_vote(voters):
    assert choose_judges((), voters("image")) == [(BLIP, True)]
    # Caption voting: the captioner's own tower would judge its captions' images.
    assert choose_judges((), voters("caption")) == [(CLIP, True)]
    assert choose_judges((), {}) == [(BLIP, True)]


def test_where_both_bundled_networks_voted_the_judge_is_marked(voters):
    assert choose_judges((), voters("joint")) == [(BLIP, False)]


def test_a_voter_is_never_the_only_judge(voters):
    with pytest.raises(ConfigError, match="add --judge bundled:sticker-blip"):
        choose_judges((CLIP,), voters("image"))
    assert choose_judges((CLIP, BLIP), voters("image")) == [(CLIP, False), (BLIP, True)]


def test_a_copy_of_the_voter_is_known_by_its_weights(voters, tmp_path):
    copied = shutil.copytree(package_file("models/sticker-clip"), tmp_path / "mine")
    assert choose_judges((str(copied), BLIP), voters("image"))[0] == (str(copied), False)


def test_a_short_name_is_the_model_that_it_stands_for(voters):
    named = voters("image", {"image_embedder": {"model": "openai/clip-vit-large-patch14-336"}})
    assert choose_judges(("clip", BLIP), named) == [("clip", False), (BLIP, True)]
    # Two models from the hub without a fixed revision are not one model.
    assert choose_judges(("dinov2",), named) == [("dinov2", True)]


def test_the_score_of_image_and_text_is_the_voters_if_either_tower_voted(voters):
    assert pair_voted(CLIP, voters("image")) and pair_voted(CLIP, voters("caption"))
    assert not pair_voted("clip", voters("joint"))


def test_inception_voted_if_the_image_embedder_is_inception(voters, tmp_path):
    engine = {"kind": "inception", "model": "/on/another/machine.pt"}
    assert choose_judges((f"inception:{tmp_path}", BLIP), voters("image", {"image_embedder": engine})) == [
        (f"inception:{tmp_path}", False),
        (BLIP, True),
    ]
