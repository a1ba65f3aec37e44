"""How much of a text a renderer reads."""

import inspect

import diffusers
import pytest

from spti_ray.config import EngineConfig, PromptsConfig
from spti_ray.models.factory import EMBEDDED
from spti_ray.models.text_window import _LONGER, TextWindow
from tests.tiny_classes import save_tiny
from tests.tiny_pipelines import CLIP_TOKENS, save_flux, save_stable_diffusion

PROMPTS = PromptsConfig(domain="things")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_flux(folder / "flux")
    save_stable_diffusion(folder / "sd")
    return folder


def window(model, **extra):
    found = TextWindow.of(EngineConfig(kind="diffusers", model=str(model), options={"extra": extra}))
    assert found is not None
    return found


def test_it_is_the_checkpoints_own_and_of_two_encoders_the_larger(models):
    assert window(models / "sd").tokens == CLIP_TOKENS
    two = window(models / "flux")
    assert (two.tokens, two.tokenizer) == (512, "tokenizer_2")
    assert window(models / "flux", max_sequence_length=256).tokens == 256
    assert TextWindow.of(EMBEDDED.renderer).tokens == 24
    assert window("stabilityai/sdxl-turbo").tokens == 77
    assert TextWindow.of(EngineConfig(kind="openai-images", model="m")) is None


def test_a_window_that_no_call_can_change_is_the_pipelines_own(tmp_path):
    found = window(save_tiny("HunyuanImagePipeline", tmp_path))
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    assert (found.tokens, found.tokenizer) == (pipeline.tokenizer_max_length, "tokenizer")


def test_kolors_tokens_are_counted_as_its_pipeline_does(tmp_path):
    found = window(save_tiny("KolorsPipeline", tmp_path))
    count, tokenizer = found.counter(), diffusers.DiffusionPipeline.from_pretrained(tmp_path).tokenizer
    for text in ("a red cat on the mat", "", "a " * 400):
        assert count(text) == len(tokenizer(text).input_ids)
    assert found.tokens == 256


def test_tokens_are_counted_as_the_pipelines_tokenizer_counts_them(models):
    count = window(models / "sd").counter()
    tokenizer = diffusers.StableDiffusionPipeline.from_pretrained(models / "sd").tokenizer
    for text in ("a red cat on the mat", "", "a " * 40):
        assert count(text) == len(tokenizer(text).input_ids)
    assert count("a " * 40) >= 40, "not cut at the encoder's length"


def test_the_limit_is_the_window_unless_it_is_set_and_never_more(models):
    found = window(models / "sd")
    limits = {asked: PROMPTS.model_copy(update={"max_tokens_rendered": asked}) for asked in ("window", "none", 9, 900)}
    assert {asked: found.limit(prompts) for asked, prompts in limits.items()} == {
        "window": CLIP_TOKENS, "none": None, 9: 9, 900: CLIP_TOKENS,
    }  # fmt: skip


@pytest.mark.parametrize(("family", "tokens", "tokenizer"), _LONGER)
def test_the_numbers_are_those_of_the_installed_diffusers(family, tokens, tokenizer):
    names = [name for name in dir(diffusers) if name.startswith(family) and name.endswith("Pipeline")]
    plain = f"{family}Pipeline" if f"{family}Pipeline" in names else min(names, key=len)
    pipeline = getattr(diffusers, plain)
    assert inspect.signature(pipeline.__call__).parameters["max_sequence_length"].default == tokens
    assert tokenizer in inspect.signature(pipeline.__init__).parameters
