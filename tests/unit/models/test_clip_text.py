"""The text tower of CLIP and SigLIP as a text embedder, and which embedders have one space."""

import numpy as np
import pytest
import torch
from transformers import SiglipConfig, SiglipModel

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.clip_text import ClipTextEmbedder
from spti_ray.models.embedders import VisionEmbedder
from spti_ray.models.judges import open_image_text_judge
from tests.unit.models.test_judges import TEXT, VISION, clip, images

__all__ = ["clip"]

TEXTS = ["a red cat", "a blue dog", "cat", "a dog a dog a dog a dog"]


def embedder(source, batch_size=3):
    return ClipTextEmbedder(EngineConfig(kind="clip-text", model=str(source), batch_size=batch_size))


def test_clips_texts_and_images_are_in_one_space(clip):
    rows = embedder(clip).embed_texts(TEXTS)
    assert rows.shape == (4, 8) and rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    of_images = VisionEmbedder(EngineConfig(kind="vision", model=str(clip), batch_size=2)).embed_images(images(3))
    judged = open_image_text_judge(str(clip), batch_size=4).similarities(images(3), TEXTS)
    np.testing.assert_allclose(of_images @ rows.T, judged, atol=1e-5)
    np.testing.assert_allclose(embedder(clip, 1).embed_texts(TEXTS), rows, atol=1e-5)
    assert embedder(clip).identity()["kind"] == "clip-text" and embedder(clip).embed_texts([]).shape[0] == 0


def test_siglips_texts_are_those_of_its_own_model(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip")
    model = SiglipModel(SiglipConfig(vision_config=VISION, text_config=TEXT | {"projection_size": 16}))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((clip / name).read_bytes())
    made = embedder(folder)
    tokens = made._tokenizer(TEXTS, padding="max_length", truncation=True, max_length=6, return_tensors="pt")
    with torch.inference_mode():
        whole = model.eval()(pixel_values=torch.zeros(1, 3, 28, 28), **tokens).text_embeds
    np.testing.assert_allclose(made.embed_texts(TEXTS), whole.numpy(), atol=1e-5)


def test_a_model_of_another_kind_is_refused_in_one_line():
    with pytest.raises(ModelMissing, match="is of kind bert, and clip-text takes clip, siglip") as caught:
        embedder("bundled:minilm")
    assert "\n" not in str(caught.value)
