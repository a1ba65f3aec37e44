"""Vision towers that vote: tiny ones of the families that users name, random weights (the bundled one: tests/e2e)."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    ViTMAEConfig,
    ViTMAEModel,
)

from spti_ray.config import EngineConfig
from spti_ray.models import batching
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.factory import build_engine

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = TINY | {"intermediate_size": 16, "image_size": 28, "patch_size": 14}
TEXT = TINY | {"intermediate_size": 16, "vocab_size": 8, "max_position_embeddings": 6}
SIZE = {"height": 28, "width": 28}


def some_images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 60), (100, 30), (64, 64))]


def save_clip(folder):
    CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessorPil(size=SIZE, crop_size=SIZE).save_pretrained(folder)


def save_clip_of_laion(folder):
    """Both towers, with the size of the projection at the top of the configuration and nowhere else."""
    CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessorPil(size=SIZE, crop_size=SIZE).save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for tower in ("vision_config", "text_config"):
        config[tower].pop("projection_dim", None)
    path.write_text(json.dumps(config))


def save_siglip(folder):
    SiglipModel(SiglipConfig(vision_config=VISION, text_config=TEXT)).save_pretrained(folder)
    SiglipImageProcessorPil(size=SIZE).save_pretrained(folder)


def save_siglip2(folder):
    """The kind that keeps an image's proportions (NaFlex); the others of SigLIP 2 have SigLIP's own layout."""
    vision = TINY | {"intermediate_size": 16, "num_patches": 16, "patch_size": 14}
    Siglip2Model(Siglip2Config(vision_config=vision, text_config=TEXT)).save_pretrained(folder)
    Siglip2ImageProcessorPil(patch_size=14, max_num_patches=16).save_pretrained(folder)


def save_dinov2(folder):
    Dinov2Model(Dinov2Config(**TINY, image_size=28, patch_size=14)).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size=SIZE).save_pretrained(folder)


def embedder(folder, **settings):
    return build_engine("image_embedder", EngineConfig(kind="vision", model=str(folder), batch_size=2, **settings))


@pytest.mark.parametrize(
    ("save", "dimension"),
    [(save_clip, 8), (save_clip_of_laion, 8), (save_siglip, 16), (save_siglip2, 16), (save_dinov2, 16)],
)
def test_rows_are_of_length_1_and_do_not_depend_on_the_batch(tmp_path, monkeypatch, save, dimension):
    torch.manual_seed(0)
    save(tmp_path)
    engine, images = embedder(tmp_path), some_images()
    rows_BE = engine.embed_images(images)
    assert rows_BE.shape == (3, dimension) and rows_BE.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows_BE, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows_BE[2:], engine.embed_images(images[2:]), atol=1e-6)
    assert np.abs(rows_BE[0] - rows_BE[1]).max() > 1e-3
    assert engine.embed_images([]).shape == (0, dimension)
    assert engine.identity()["kind"] == "vision" and len(engine.identity()["revision"]) == 12
    monkeypatch.setattr(batching, "on_cpu", lambda dtype: dtype)  # also where this machine's would emulate it
    half = embedder(tmp_path, dtype="bfloat16").embed_images(images)
    assert half.dtype == np.float32 and 0 < np.abs(half - rows_BE).max() < 0.1


@pytest.mark.parametrize("save", [save_clip, save_siglip, save_siglip2, save_dinov2])
def test_images_prepared_one_by_one_are_to_the_bit_what_the_processor_makes_of_a_batch(tmp_path, save):
    save(tmp_path)
    engine, images = embedder(tmp_path), some_images()
    together = engine._tower._inputs(images)
    for i, one in enumerate(engine.prepare_images(images)):
        assert set(one) == set(together)
        assert all(torch.equal(one[name][0], together[name][i]) for name in one)
    # In batches of two, the last of which is filled up.
    batches = [engine._tower([images[0], images[1]]), engine._tower([images[2], images[2]])[:1]]
    rows_BE = torch.nn.functional.normalize(torch.cat(batches), dim=-1).numpy()
    np.testing.assert_array_equal(engine.embed_prepared(engine.prepare_images(images)), rows_BE)
    np.testing.assert_array_equal(engine.embed_images(images), rows_BE)


def test_an_image_processor_that_leaves_images_at_their_sizes_is_refused(tmp_path):
    save_dinov2(tmp_path)
    BitImageProcessorPil(size={"shortest_edge": 28}, do_center_crop=False).save_pretrained(tmp_path)
    with pytest.raises(ModelMissing, match="does not bring images to one size"):
        embedder(tmp_path)


def test_a_model_without_one_row_per_image_is_refused(tmp_path):
    config = ViTMAEConfig(**VISION, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2)
    ViTMAEModel(config).save_pretrained(tmp_path)
    SiglipImageProcessorPil(size=SIZE).save_pretrained(tmp_path)
    with pytest.raises(ModelMissing, match="no output of one row per image"):
        embedder(tmp_path)
