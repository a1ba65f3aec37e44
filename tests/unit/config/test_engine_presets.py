"""Renderers by name."""

from pathlib import Path

import pytest

from spti_ray.config.engine_presets import renderer_presets
from spti_ray.config.identity import config_sha256
from spti_ray.config.loading import ConfigError, load_config
from spti_ray.models.factory import engines_config
from tests.unit.conftest import config_with

TURBO = {"steps": 4, "guidance_scale": 0.0, "height": 512, "width": 512}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.yaml"
    text = load_config(Path("bundled:stickers")).model_dump_json()
    path.write_text(text)
    return path


def renderer(file, *overrides):
    return engines_config(load_config(file, overrides).runtime.engines).renderer


def test_a_named_renderer_has_the_steps_guidance_and_size_of_its_model(file):
    engine = renderer(file, "runtime.engines.renderer=preset:sdxl-turbo")
    assert (engine.model, engine.num_gpus, engine.options) == ("stabilityai/sdxl-turbo", 1, TURBO)
    assert engine.dtype == "float16"


def test_bare_options_beside_a_name_leave_its_own(file):
    written = config_with(runtime__engines={"renderer": {"preset": "sdxl-turbo", "options": None}})
    assert written.runtime.engines["renderer"]["options"] == TURBO


def test_settings_beside_a_name_win_and_options_one_by_one(file):
    named = "runtime.engines.renderer=preset:sdxl-turbo"
    engine = renderer(file, named, "runtime.engines.renderer.batch_size=3", "runtime.engines.renderer.options.steps=2")
    assert (engine.batch_size, engine.options) == (3, TURBO | {"steps": 2})
    written = config_with(runtime__engines={"renderer": {"preset": "sdxl-turbo", "options": {"steps": 1}}})
    assert written.runtime.engines["renderer"]["options"] == TURBO | {"steps": 1}


def test_a_run_has_the_settings_that_a_name_means_and_not_the_name():
    named = config_with(runtime__engines={"renderer": "preset:sdxl-turbo"})
    written_out = config_with(runtime__engines={"renderer": renderer_presets()["sdxl-turbo"]})
    assert "preset" not in named.model_dump_json()
    assert config_sha256(named) == config_sha256(written_out)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("runtime.engines.renderer=preset:sdxl-tubro", "no preset 'sdxl-tubro'; there are: sdxl, sdxl-turbo"),
        ("runtime.engines.writer=preset:sdxl-turbo", "no preset 'sdxl-turbo': only renderers have presets"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_those_that_are(file, override, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(file, [override])
    assert str(caught.value).startswith("runtime.engines")


def test_a_preset_brings_its_own_kind(file):
    named = {"preset": "sdxl-turbo"}
    with pytest.raises(ConfigError, match=r"^runtime.engines: renderer: a preset brings its own kind, and sdxl-turbo"):
        load_config(file, ["runtime.engines.renderer=preset:sdxl-turbo", "runtime.engines.renderer.kind=openai-images"])
    for kind in ("diffusers", "my_engines:Mine"):
        written = config_with(runtime__engines={"renderer": named | {"kind": kind}})
        assert written.runtime.engines["renderer"] == renderer_presets()["sdxl-turbo"] | {"kind": kind}
