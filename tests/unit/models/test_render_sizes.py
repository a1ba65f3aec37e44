"""Sizes that a pipeline would change or refuse are known before it is loaded."""

import json

import pytest

from spti_ray.config import EngineConfig
from spti_ray.config.loading import ConfigError
from spti_ray.models import render_sizes
from spti_ray.models.factory import EMBEDDED, build_engine
from spti_ray.models.render_sizes import check_render_size, size_multiple, size_of_area
from spti_ray.planning.checks import check_new
from tests.tiny_classes import save_tiny
from tests.tiny_pipelines import save_flux
from tests.unit.conftest import config_with


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flux")
    save_flux(folder)
    return str(folder)


def engine(model, height, width, **more):
    options = {"steps": 1, "height": height, "width": width} | more
    return EngineConfig(kind="diffusers", model=model, dtype="float32", batch_size=1, options=options)


def test_a_size_that_flux_would_round_down_is_refused_at_planning(flux):
    with pytest.raises(ValueError, match=r"options\.height: is 72, .* multiples of 16 pixels: 64 or 80$"):
        check_render_size(engine(flux, 72, 64))
    settings = {"kind": "diffusers", "model": flux, "options": {"height": 64, "width": 72}}
    with pytest.raises(ConfigError, match=r"^runtime\.engines\.renderer\.options\.width: is 72"):
        check_new(config_with(runtime__engines={"renderer": settings}))


def test_the_size_that_is_made_is_the_one_that_is_known(flux, monkeypatch):
    """And where nothing is known of a pipeline, an image of another size than asked for is no image."""
    assert build_engine("renderer", engine(flux, 80, 64)).render(["a cat"], [1])[0].shape == (80, 64, 3)
    monkeypatch.setattr(render_sizes, "_RULES", ())
    check_render_size(engine(flux, 72, 64))
    with pytest.raises(ValueError, match="asked for 72 x 64 pixels, but FluxPipeline made 64 x 64"):
        build_engine("renderer", engine(flux, 72, 64)).render(["a cat"], [1])


def test_the_bundled_renderers_sizes_are_checked_too():
    bundled = EMBEDDED.renderer
    check_new(config_with(runtime__engines="embedded"))
    with pytest.raises(ValueError, match="multiples of 8 pixels: 56 or 64"):
        check_render_size(bundled.model_copy(update={"options": bundled.options | {"height": 60}}))


@pytest.mark.parametrize(
    ("name", "parts", "multiple"),
    [
        ("StableDiffusionXLPipeline", {"vae": {"block_out_channels": [1] * 4}}, 8),
        ("StableDiffusion3Pipeline", {"vae": {"block_out_channels": [1] * 4}, "transformer": {"patch_size": 2}}, 16),
        ("Flux2KleinPipeline", {"vae": {"block_out_channels": [1] * 4}}, 16),
        ("QwenImagePipeline", {"vae": {"temperal_downsample": [False, True, True]}}, 16),
        ("ZImagePipeline", {"vae": {"block_out_channels": [1] * 4}}, 16),
        ("SanaPipeline", {"vae": {"encoder_block_out_channels": [1] * 6}}, 32),
        ("PixArtSigmaPipeline", {"vae": {"block_out_channels": [1] * 4}, "transformer": {"patch_size": 2}}, 16),
        ("KolorsPipeline", {"vae": {"block_out_channels": [1] * 4}}, 8),
        ("HunyuanImagePipeline", {"vae": {"spatial_compression_ratio": 16}}, 16),
        ("HunyuanImagePipeline", {}, 32),
        ("NobodyKnowsPipeline", {}, 1),
    ],
)
def test_multiples_are_the_checkpoints_own(name, parts, multiple, tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    for part, settings in parts.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(settings))
    assert size_multiple(EngineConfig(kind="diffusers", model=str(tmp_path))) == multiple


def test_hidream_renders_one_area_whatever_is_asked(tmp_path):
    """In latents of one pixel, 128 x 128; of its authors' VAE 1024 x 1024."""
    model = save_tiny("HiDreamImagePipeline", tmp_path)
    with pytest.raises(ValueError, match=r"options: height and width are 64 and 64, .*in this shape 128 and 128$"):
        check_render_size(engine(model, 64, 64))
    with pytest.raises(ValueError, match=r"are 64 and 128, .*in this shape 90 and 180$"):
        check_render_size(engine(model, 64, 128))
    with pytest.raises(ValueError, match=r"are 64 and 128, .*in this shape 90 and 180$"):
        check_render_size(engine(model, 64, None))
    check_render_size(engine(model, 90, 180))
    check_render_size(engine(model, 64, 256))
    check_render_size(engine(model, None, None))
    with pytest.raises(ValueError, match=r"are 512 and 512, .*in this shape 1024 and 1024$"):
        check_render_size(engine("HiDream-ai/HiDream-I1-Dev", 512, 512))
    assert build_engine("renderer", engine(model, 64, 256)).render(["a cat"], [1])[0].shape == (64, 256, 3)


@pytest.mark.parametrize("scale", [1, 8])
def test_what_is_told_of_hidreams_sizes_is_made_as_it_is_told(scale):
    for height in range(8 * scale, 256 * scale, 22 * scale):
        for width in range(8 * scale, 256 * scale, 10 * scale):
            told = size_of_area(height, width, scale)
            for _ in range(16):
                told = size_of_area(*told, scale)
            assert size_of_area(*told, scale) == told


@pytest.mark.parametrize(
    ("model", "multiple"),
    [("black-forest-labs/FLUX.1-schnell", 16), ("stabilityai/sdxl-turbo", 8), ("Qwen/Qwen-Image", 16), ("a/b", 1)]
    + [("hunyuanvideo-community/HunyuanImage-2.1-Diffusers", 32), ("Kwai-Kolors/Kolors-diffusers", 8)],
)
def test_of_a_model_that_was_never_downloaded_they_are_its_familys(model, multiple, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert size_multiple(EngineConfig(kind="diffusers", model=model)) == multiple
