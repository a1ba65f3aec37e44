"""Image-to-text models that take no chat: Florence-2 with random weights (the bundled BLIP: tests/e2e)."""

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.factory import build_engine
from tests.tiny_models import save_florence2


def some_images(n=5):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + 9 * i, 30, 3), dtype=np.uint8) for i in range(n)]


@pytest.fixture(scope="module")
def florence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("florence")
    save_florence2(folder)
    return folder


def captioner(folder, **options):
    config = EngineConfig(kind="image-to-text", model=str(folder), batch_size=2, options={"max_tokens": 6} | options)
    return build_engine("captioner", config)


def test_florence_is_asked_by_the_name_of_a_task(florence):
    images, engine = some_images(), captioner(florence, prompt="<CAPTION>")
    captions = engine.caption(images)
    assert len(captions) == 5 and len(set(captions)) > 1
    assert all("<" not in caption for caption in captions)
    assert engine.caption(images[3:]) == captions[3:]
    # The task's own words are what the encoder reads: another task, another caption.
    assert captioner(florence, prompt="<OCR>").caption(images) != captions


def test_weights_that_a_file_lacks_are_not_made_up(florence, tmp_path):
    for file in florence.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    some = {name: value for name, value in weights.items() if "image_projection" not in name}
    save_file(some, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelMissing, match="lack weights"):
        captioner(tmp_path, prompt="<CAPTION>")
