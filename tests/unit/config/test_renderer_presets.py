"""package_data/engines/renderers.yaml: every pipeline takes what its entry gives it. No weights are here."""

import diffusers
import pytest
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from spti_ray.config.engine_presets import renderer_presets
from spti_ray.models.diffusers_pipeline import call_arguments
from spti_ray.models.factory import engines_config
from spti_ray.models.options import DiffusersOptions
from tests.unit.conftest import config_with

ENTRIES = renderer_presets()

PIPELINES = {
    "stabilityai/stable-diffusion-xl-base-1.0": diffusers.StableDiffusionXLPipeline,
    "stabilityai/sdxl-turbo": diffusers.StableDiffusionXLPipeline,
    "stabilityai/stable-diffusion-3.5-large": diffusers.StableDiffusion3Pipeline,
    "stabilityai/stable-diffusion-3.5-large-turbo": diffusers.StableDiffusion3Pipeline,
    "black-forest-labs/FLUX.1-schnell": diffusers.FluxPipeline,
    "black-forest-labs/FLUX.2-klein-4B": diffusers.Flux2KleinPipeline,
    "Tongyi-MAI/Z-Image-Turbo": diffusers.ZImagePipeline,
    "Qwen/Qwen-Image": diffusers.QwenImagePipeline,
}
"""What each model's `model_index.json` names."""


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_a_renderer_whose_pipeline_takes_its_options(name):
    config = engines_config(config_with(runtime__engines={"renderer": f"preset:{name}"}).runtime.engines).renderer
    assert config.num_gpus == 1 and config.options.get("text_encoder") is None
    pipeline = PIPELINES[config.model]
    assert pipeline in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()
    options = DiffusersOptions.model_validate(config.options)
    assert set(call_arguments(pipeline, options)) >= {"num_inference_steps", "height", "width"}
    if options.quantization:
        components = pipeline.__init__.__annotations__
        assert set(options.quantization.components) <= set(components)


def test_every_model_that_is_known_has_an_entry():
    assert {entry["model"] for entry in ENTRIES.values()} == set(PIPELINES)
