"""What a safety checker flags is black, and is no image: the real checker's class, with weights that flag or do not."""

import numpy as np
import pytest
import torch

from spti_ray.config import EngineConfig
from spti_ray.models.factory import build_engine
from spti_ray.models.flagged import MOST_SEEDS, unflagged
from spti_ray.types import derive_seed
from tests.tiny_pipelines import save_stable_diffusion

TEXTS, SEEDS = ["a red cat", "a blue bird", "a dog"], [1, 2, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sd")
    save_stable_diffusion(path, with_safety_checker=True)
    return str(path)


def renderer(folder, **options):
    settings = {"steps": 1, "height": 64, "width": 64} | options
    config = EngineConfig(kind="diffusers", model=folder, dtype="float32", batch_size=2, options=settings)
    return build_engine("renderer", config)


def flag_everything(engine):
    with torch.no_grad():
        engine._pipeline.safety_checker.concept_embeds_weights.fill_(-2.0)


def test_a_flagged_image_is_none_and_no_black_square(folder):
    engine = renderer(folder)
    images = engine.render(TEXTS, SEEDS)
    assert all(image.any() for image in images)
    flag_everything(engine)
    assert engine.render(TEXTS, SEEDS) == [None] * 3
    assert engine.vary(images, TEXTS, SEEDS, 1.0) == [None] * 3


def test_a_checker_that_is_switched_off_flags_nothing_and_an_image_is_the_same_without_it(folder):
    asked, unasked = renderer(folder), renderer(folder, safety_checker=False)
    assert asked._pipeline.safety_checker is not None and unasked._pipeline.safety_checker is None
    assert np.array_equal(asked.render(TEXTS, SEEDS), unasked.render(TEXTS, SEEDS))


def test_what_is_flagged_is_asked_again_from_seeds_of_its_own_and_always_the_same_ones():
    bad = {2, derive_seed(2, 1, "flagged"), *(derive_seed(3, n, "flagged") for n in range(MOST_SEEDS)), 3}
    asked = []

    def render(jobs):
        asked.append([seed for _, seed in jobs])
        return [None if seed in bad else np.full((1, 1, 3), seed % 251, np.uint8) for _, seed in jobs]

    images = unflagged(render, TEXTS, SEEDS)
    assert [image is None for image in images] == [False, False, True]
    assert images[1][0, 0, 0] == derive_seed(2, 2, "flagged") % 251
    assert [len(seeds) for seeds in asked] == [3, 2, 2]
    alone = unflagged(render, TEXTS[1:2], SEEDS[1:2])
    assert np.array_equal(alone[0], images[1]), "whatever else is asked for"
