"""What a pipeline needs beside its own files: packages, and a text encoder that its authors leave to its users."""

import json

import numpy as np
import pytest

from spti_ray.config import EngineConfig
from spti_ray.config.loading import ConfigError
from spti_ray.models import pipeline_needs
from spti_ray.models.bundled import ModelMissing
from spti_ray.models.factory import build_engine
from spti_ray.models.pipeline_needs import check_encoder, check_packages, packages_of
from spti_ray.planning.checks import check_build, check_engines
from tests.tiny_classes import save_tiny
from tests.unit.conftest import config_with

WRITER = {"kind": "fake-writer", "model": "SIMULATED"}


def renderer(model, **options):
    sized = {"steps": 1, "height": 128, "width": 128} | options
    return EngineConfig(kind="diffusers", model=str(model), dtype="float32", batch_size=1, options=sized)


def without_encoder(folder, entry):
    """As HiDream's authors have it, without its Llama; returns that with its tokenizer, in a folder of its own."""
    save_tiny("HiDreamImagePipeline", folder)
    llama = folder.parent / "llama"
    (folder / "text_encoder_4").rename(llama)
    for file in (folder / "tokenizer_4").iterdir():
        file.rename(llama / file.name)
    (folder / "tokenizer_4").rmdir()
    index = json.loads((folder / "model_index.json").read_text())
    for part in ("text_encoder_4", "tokenizer_4"):
        index.pop(part)
        if entry:
            index[part] = entry
    (folder / "model_index.json").write_text(json.dumps(index))
    return str(llama)


@pytest.mark.parametrize("entry", [None, [None, None]])
def test_hidreams_language_model_is_given_apart_and_draws_the_same(tmp_path, entry):
    whole = save_tiny("HiDreamImagePipeline", tmp_path / "whole")
    check_encoder(renderer(whole))
    apart = tmp_path / "apart"
    llama = without_encoder(apart, entry)
    check_encoder(renderer(apart, text_encoder=llama))
    engine = build_engine("renderer", renderer(apart, text_encoder=llama))
    (image,) = engine.render(["a cat"], [1])
    assert np.array_equal(image, build_engine("renderer", renderer(whole)).render(["a cat"], [1])[0])
    assert engine.identity()["text_encoder"].startswith(llama)


def test_without_it_one_line_names_the_setting_at_planning_and_at_load(tmp_path):
    without_encoder(tmp_path / "apart", None)
    said = r"^runtime\.engines\.renderer\.options\.text_encoder: is not set, .*text_encoder_4.*Llama"
    settings = renderer(tmp_path / "apart")
    with pytest.raises(ConfigError, match=said) as caught:
        check_engines(config_with(runtime__engines={"renderer": settings.model_dump()}))
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelMissing, match=said):
        build_engine("renderer", settings)
    with pytest.raises(ValueError, match=said):
        check_encoder(renderer("HiDream-ai/HiDream-I1-Full"))  # known without a download
    check_encoder(renderer("HiDream-ai/HiDream-I1-Full", text_encoder="someone/llama"))


def test_packages_are_those_that_diffusers_looks_for():
    assert packages_of("KolorsPipeline") == ("sentencepiece",)
    assert packages_of("FluxPipeline") == packages_of("NobodyKnowsPipeline") == ()


def test_a_missing_package_is_told_before_anything_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "model_index.json").write_text('{"_class_name": "KolorsPipeline"}')
    settings = renderer(tmp_path)
    check_packages(settings)
    found = pipeline_needs.find_spec
    monkeypatch.setattr(pipeline_needs, "find_spec", lambda name: None if name == "sentencepiece" else found(name))
    with pytest.raises(ConfigError, match="model: KolorsPipeline needs sentencepiece.*: pip install") as said:
        check_build(config_with(runtime__engines={"renderer": settings.model_dump(), "writer": WRITER}))
    assert "\n" not in str(said.value)
    with pytest.raises(ModelMissing, match="KolorsPipeline needs sentencepiece, which is not installed"):
        build_engine("renderer", settings)
