"""How a pipeline is set up, on the bundled one: what of it a CPU can show (tests/gpu has the rest)."""

import logging
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from spti_ray.models.bundled import ModelMissing
from spti_ray.models.factory import EMBEDDED, build_engine, engines_config

TEXTS, SEEDS = ["a red apple", "a blue car"], [1, 2]


def renderer(**options):
    """In float32 and two steps."""
    settings = {"dtype": "float32", "batch_size": 2, "options": EMBEDDED.renderer.options | {"steps": 2} | options}
    return build_engine("renderer", EMBEDDED.renderer.model_copy(update=settings))


@pytest.fixture(scope="module")
def plain():
    return renderer().render(TEXTS, SEEDS)


def test_one_negative_prompt_holds_for_every_image_of_a_batch(plain):
    engine = renderer(extra={"negative_prompt": "a red apple"})
    together = engine.render(TEXTS, SEEDS)
    assert not any(np.array_equal(a, b) for a, b in zip(together, plain, strict=True))
    assert np.array_equal(engine.render(TEXTS[1:], SEEDS[1:])[0], together[1])


def test_a_larger_image_can_be_decoded_in_tiles_and_one_by_one():
    engine = renderer(vae_tiling=True, vae_slicing=True, height=128, width=96, steps=1)
    images = engine.render(TEXTS, SEEDS)
    assert engine._pipeline.vae.use_tiling and engine._pipeline.vae.use_slicing
    assert [image.shape for image in images] == [(128, 96, 3)] * 2


def test_nothing_is_offloaded_from_a_gpu_that_is_not_there():
    with pytest.raises(ValueError, match=r"options\.offload: .*num_gpus is 0"):
        renderer(offload="model")


def test_the_cpus_memory_is_not_tried_out(caplog):
    with caplog.at_level(logging.INFO):
        assert renderer(fit_batch=True).config.batch_size == 2
    assert "fit_batch" in caplog.text


@pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao (extra gpu)")
def test_torchao_keeps_weights_in_8_bits_and_the_image_stays_nearly_the_same(plain):
    engine = renderer(quantization={"backend": "torchao", "arguments": {"quant_type": "Int8WeightOnlyConfig"}})
    linear = [module for module in engine._pipeline.unet.modules() if isinstance(module, torch.nn.Linear)]
    assert linear and {type(module.weight).__name__ for module in linear} == {"Int8Tensor"}
    assert {type(parameter) for parameter in engine._pipeline.text_encoder.parameters()} == {torch.nn.Parameter}
    difference = np.abs(np.stack(engine.render(TEXTS, SEEDS)).astype(int) - np.stack(plain))
    assert 0 < difference.mean() < 2
    assert engine.identity()["quantization"] == "torchao"


@pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao (extra gpu)")
@pytest.mark.parametrize(
    ("quantization", "words"),
    [
        ({"components": ["transformer"]}, r"quantization\.components: .* has no transformer; it has .*unet"),
        ({"arguments": {"quant_type": "Int3Config"}}, r"quantization: .*Int3Config"),
        ({"arguments": {"bits": 3}}, r"quantization: .*bits"),
    ],
)
def test_a_quantisation_that_can_not_be_is_told_in_one_line(quantization, words):
    with pytest.raises(ValueError, match=words) as caught:
        renderer(quantization={"backend": "torchao"} | quantization)
    assert "\n" not in str(caught.value)


def test_a_library_that_is_missing_is_told_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelMissing, match="pip install bitsandbytes"):
        renderer(quantization={"backend": "bitsandbytes_4bit"})


def test_quantisation_is_checked_when_the_configuration_is_read():
    with pytest.raises(ValueError, match=r"runtime\.engines\.renderer\.options\.quantization\.backend"):
        engines_config({"renderer": {"options": {"quantization": {"backend": "int7"}}}})
