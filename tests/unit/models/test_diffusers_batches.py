"""An image depends on its text and seed alone, whatever else is in its batch: on tiny pipelines of real classes."""

import ast
from pathlib import Path

import diffusers
import numpy as np
import pytest
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from spti_ray.config import EngineConfig
from spti_ray.models.factory import build_engine
from spti_ray.models.installed_source import class_file
from spti_ray.models.pipeline_classes import (
    FIRST_GENERATOR_ALONE,
    ONE_AT_A_TIME,
    call_parameters,
    why_no_text_to_image,
)
from spti_ray.models.pipeline_needs import APART, packages_of
from tests.tiny_classes import TINY, save_tiny

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "renderers.md"
TEXTS, SEEDS = ["a cat", "a red dog on the mat in one short sentence"], [1, 2]


SIDE = {"GlmImagePipeline": 96, "HiDreamImagePipeline": 128}
"""Pixels: GLM-Image's are so many that its language model does not draw the same few tokens by chance, and HiDream
renders one area."""


def renderer(name, folder, batch_size=2):
    size = SIDE.get(name, 32)
    options = {"steps": 2, "height": size, "width": size}
    if "use_resolution_binning" in (call_parameters(name) or ()):
        options["extra"] = {"use_resolution_binning": False}
    config = EngineConfig(kind="diffusers", model=folder, dtype="float32", batch_size=batch_size, options=options)
    return build_engine("renderer", config)


@pytest.fixture(scope="module", params=TINY)
def pair(request, tmp_path_factory):
    """A class, and two renderers of it: in batches of two, and one at a time."""
    folder = save_tiny(request.param, tmp_path_factory.mktemp("tiny"))
    return request.param, renderer(request.param, folder), renderer(request.param, folder, batch_size=1)


def row(name, varies):
    """Its line in docs/reference/renderers.md."""
    at_a_time = "one at a time" if name in ONE_AT_A_TIME else "in batches"
    needs = [f"`{package}`" for package in packages_of(name)]
    needs += ["`options.text_encoder`"] if name in APART else []
    return f"| `{name}` | yes | {at_a_time} | {varies} | {', '.join(needs) or '-'} |"


def test_an_image_is_the_same_alone_and_in_a_batch(pair):
    name, together, alone = pair
    images = together.render(TEXTS, SEEDS)
    assert [image.shape for image in images] == [(SIDE.get(name, 32), SIDE.get(name, 32), 3)] * 2
    assert np.abs(images[0].astype(int) - images[1]).max() > 8, "noise of one seed is not that of another"
    (second,) = alone.render(TEXTS[1:], SEEDS[1:])
    assert np.abs(images[1].astype(int) - second).max() <= 2, "no more than rounding"


def test_a_variation_is_the_same_alone_and_in_a_batch_and_the_document_says_who_varies(pair):
    name, together, alone = pair
    rng = np.random.default_rng(0)
    origins = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in TEXTS]
    try:
        varied = together.vary(origins, TEXTS, SEEDS, 0.6)
    except ValueError as error:
        assert "method: pe-image" in str(error) and "\n" not in str(error)
        assert row(name, "no") in DOCUMENT.read_text()
        return
    (second,) = alone.vary(origins[1:], TEXTS[1:], SEEDS[1:], 0.6)
    assert np.abs(varied[1].astype(int) - second).max() <= 2
    assert row(name, "yes") in DOCUMENT.read_text()


def test_a_text_with_words_in_quotes_changes_no_other_image_of_its_batch(tmp_path):
    """HunyuanImage spells such words out, and guides its whole batch as these want it."""
    engine = renderer("HunyuanImagePipeline", save_tiny("HunyuanImagePipeline", tmp_path))
    alone = engine.render(TEXTS[:1], SEEDS[:1])
    beside = engine.render([TEXTS[0], 'a sign that says "red dog"'], SEEDS)
    assert np.abs(alone[0].astype(int) - beside[0]).max() <= 2, "no more than rounding"


def test_no_other_pipeline_of_the_installed_diffusers_takes_the_first_of_several_generators():
    root = Path(diffusers.__file__).parent
    found = set()
    for pipeline in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values():
        name = pipeline.__name__
        taken = call_parameters(name)
        if taken is not None and why_no_text_to_image(taken):
            continue  # of videos
        file = class_file("diffusers", "pipelines", name)
        assert file is not None
        own = (root / file).parent.glob("*.py")
        if any(takes_first_generator(path) for path in own):
            found.add(name)
    assert found == FIRST_GENERATOR_ALONE


def takes_first_generator(path):
    """Whether a source file has `generator[0]` for more than its device."""
    source = path.read_text(encoding="utf-8")
    if "generator[0]" not in source:
        return False
    tree = ast.parse(source)
    asked = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "device"}
    return any(
        isinstance(node, ast.Subscript) and ast.unparse(node) == "generator[0]" and id(node) not in asked
        for node in ast.walk(tree)
    )
