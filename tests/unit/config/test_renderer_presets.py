"""package_data/engines/renderers.yaml: every pipeline takes what its entry gives it. No weights are here."""

import diffusers
import pytest
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from spti_ray.config.engine_presets import renderer_presets
from spti_ray.models.diffusers_pipeline import call_arguments
from spti_ray.models.factory import engines_config
from spti_ray.models.options import DiffusersOptions
from spti_ray.models.pipeline_files import KNOWN
from tests.unit.conftest import config_with

ENTRIES = renderer_presets()


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_a_renderer_whose_pipeline_takes_its_options(name):
    config = engines_config(config_with(runtime__engines={"renderer": f"preset:{name}"}).runtime.engines).renderer
    assert config.num_gpus == 1 and config.options.get("text_encoder") is None
    pipeline = getattr(diffusers, KNOWN[config.model])
    assert pipeline in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()
    options = DiffusersOptions.model_validate(config.options)
    assert set(call_arguments(pipeline, options)) >= {"num_inference_steps", "height", "width"}
    if options.quantization:
        components = pipeline.__init__.__annotations__
        assert set(options.quantization.components) <= set(components)


def test_every_model_that_is_known_has_an_entry():
    assert {entry["model"] for entry in ENTRIES.values()} == set(KNOWN)
