"""Each bundled model's training, for two steps: what it leaves is loaded by the stock classes and by the engines."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import BertTokenizer, BlipForConditionalGeneration, CLIPVisionModelWithProjection

from jobs.embedded import autoencoder, captioner, denoiser, encoder, evaluate
from jobs.embedded.augment import original, view
from jobs.embedded.data import load
from spti_ray.models.diffusers_renderer import DiffusersRenderer
from spti_ray.models.embedders import VisionEmbedder
from spti_ray.models.factory import EMBEDDED
from spti_ray.models.transformers_captioner import TransformersCaptioner

pytestmark = pytest.mark.slow  # a minute of a model that is loaded or trained; no rule of privacy hangs on it

SMALL_AUTOENCODER = {**autoencoder.CONFIG, "block_out_channels": (8, 8, 8, 8), "latent_channels": 4}
SMALL_DENOISER = {**denoiser.CONFIG, "block_out_channels": (32, 32), "in_channels": 4, "out_channels": 4}
IMAGES = [np.full((128, 128, 3), 200, np.uint8), np.zeros((40, 40, 3), np.uint8)]


def short(recipe):
    return replace(recipe, steps=2, batch=4, warmup=1)


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    """Most CPUs emulate bfloat16, in which the recipes train: tests/unit/jobs/test_embedded_loop.py."""
    monkeypatch.setattr(torch, "autocast", lambda device, dtype: nullcontext())


def test_the_encoder_is_a_stock_clip_vision_model(work):
    encoder.make(work, short(encoder.RECIPE))
    folder = work / "encoder" / "model"
    assert CLIPVisionModelWithProjection.from_pretrained(folder).config.projection_dim == 384
    engine = VisionEmbedder(EMBEDDED.image_embedder.model_copy(update={"model": str(folder)}))
    assert np.allclose(np.linalg.norm(engine.embed_images(IMAGES), axis=1), 1, atol=1e-5)
    encoder.make(work, short(encoder.RECIPE))  # finished: not trained again


def test_the_encoder_in_training_computes_what_the_stock_class_does():
    model = encoder.Training(encoder.CONFIG).eval()
    images = torch.rand(3, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        stock = model.encoder(images).image_embeds
        ours = model.embed(images, 1.0, torch.Generator())
    assert torch.allclose(ours, torch.nn.functional.normalize(stock, dim=-1), atol=1e-5)


def test_the_captioner_is_a_stock_blip_with_its_own_vocabulary(work):
    captioner.make(work, short(captioner.RECIPE))
    folder = work / "captioner" / "model"
    model = BlipForConditionalGeneration.from_pretrained(folder)
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("a red apple").input_ids, skip_special_tokens=True) == "a red apple"
    assert model.config.text_config.vocab_size == len(tokenizer) < 200
    engine = TransformersCaptioner(EMBEDDED.captioner.model_copy(update={"model": str(folder)}))
    assert all("[" not in caption for caption in engine.caption(IMAGES))


def test_the_captioner_learns_to_begin_and_to_end(work):
    data = load(work)
    texts = [captioner.coloured(data, icon) for icon in range(len(data.names))]
    tokenizer = captioner.tokenizer_of(texts)
    tokens = captioner.tokens_of(tokenizer, data)
    assert (tokens[:, 0] == captioner.SPECIAL.index("[DEC]")).all()
    assert ((tokens == captioner.SPECIAL.index("[SEP]")).sum(1) == 1).all()
    assert tokenizer.batch_decode(tokens, skip_special_tokens=True) == texts


def test_the_renderer_is_a_stock_stable_diffusion_pipeline(work):
    autoencoder.make(work, short(autoencoder.RECIPE), SMALL_AUTOENCODER)
    denoiser.make(work, short(denoiser.RECIPE), SMALL_DENOISER)
    folder = work / "denoiser" / "model"
    assert StableDiffusionPipeline.from_pretrained(folder, text_encoder=None).vae_scale_factor == 8
    changed = {"model": str(folder), "batch_size": 2, "dtype": "float32"}
    engine = DiffusersRenderer(EMBEDDED.renderer.model_copy(update=changed))
    first, again = engine.render(["a red apple", "a dog"], [1, 2]), engine.render(["a red apple", "a dog"], [1, 2])
    assert first[0].shape == (64, 64, 3) and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_token_states_are_those_of_the_pipelines_text_encoder(work):
    states, nothing = denoiser.token_states(
        work, [text for icon in range(18) for text in denoiser.captions(load(work), icon)]
    )
    engine = DiffusersRenderer(EMBEDDED.renderer.model_copy(update={"dtype": "float32"}))
    text = denoiser.captions(load(work), 0)[0]
    wanted, empty = engine._pipeline.encode_prompt([text], "cpu", 1, True)
    for ours, theirs in ((torch.from_numpy(states[np.array([0])])[0], wanted[0]), (nothing, empty[0])):
        assert (ours - theirs).float().norm() < 0.02 * theirs.float().norm()


def test_a_view_without_strength_is_the_drawing_and_with_it_another_one():
    pixels = torch.full((2, 96, 96, 3), 255, dtype=torch.uint8)
    pixels[:, 30:60, 30:60] = torch.tensor([200, 30, 40], dtype=torch.uint8)
    plain = view(pixels, torch.Generator().manual_seed(0), strength=0.0)
    assert (plain - original(pixels)).abs().mean() < 0.02
    moved = view(pixels, torch.Generator().manual_seed(0))
    assert moved.shape == (2, 3, 64, 64) and moved.min() >= -1 and moved.max() <= 1
    assert not torch.equal(moved[0], moved[1])


def test_found_counts_the_right_name_first_and_among_five():
    names = np.eye(8, dtype=np.float32)
    seen = np.array(
        [[1, 0, 0, 0, 0, 0, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.5, 0, 0, 0], [1, 1, 1, 1, 1, 0.5, 0, 0]], np.float32
    )
    assert evaluate.found(seen, names, np.array([0, 4, 5])) == {"top-1": pytest.approx(0.333, abs=1e-3), "top-5": 0.667}
