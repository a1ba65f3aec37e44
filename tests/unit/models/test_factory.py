"""Engine settings: the embedded and fake sets, overlays and errors."""

import importlib
import subprocess
import sys

import pytest

from spti_ray.config import ROLES, EngineConfig
from spti_ray.models.factory import (
    _VARYING,
    EMBEDDED,
    ENGINE_METHODS,
    FAKE,
    KINDS,
    OPTIONS,
    VARY,
    build_engine,
    check_varies,
    engines_config,
    may_cost_money,
)


def test_literals_name_the_shipped_sets():
    assert engines_config("embedded") == EMBEDDED
    assert engines_config("fake") == FAKE
    assert engines_config({}) == EMBEDDED


def test_embedded_and_fake_settings_are_valid_for_their_kinds():
    for engines in (EMBEDDED, FAKE):
        for role in ROLES:
            config = engines.of(role)
            OPTIONS[config.kind].model_validate(config.options)


def test_embedded_engines_fit_on_two_cores():
    assert sum(EMBEDDED.of(role).num_cpus for role in ROLES) < 2


def test_settings_are_laid_over_the_embedded_ones_key_by_key():
    renderer = engines_config({"renderer": {"batch_size": 4, "options": {"steps": 20}}}).renderer
    assert renderer == EMBEDDED.renderer.model_copy(
        update={"batch_size": 4, "options": EMBEDDED.renderer.options | {"steps": 20}}
    )


def test_another_model_does_not_inherit_the_embedded_models_options():
    renderer = engines_config({"renderer": {"model": "stabilityai/sdxl-turbo", "options": {"steps": 1}}}).renderer
    assert renderer.options == {"steps": 1}
    assert renderer.kind == "diffusers"


def test_another_kind_replaces_the_role_wholly():
    engines = engines_config({"writer": {"kind": "fake-writer", "model": "SIMULATED"}})
    assert engines.writer == EngineConfig(kind="fake-writer", model="SIMULATED")
    assert engines.renderer == EMBEDDED.renderer


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"writer": {"thread": 1}}, "runtime.engines.writer.thread: "),
        ({"writer": {"batch_size": 0}}, "runtime.engines.writer.batch_size: "),
        ({"writer": {"options": {"temperature": 1}}}, "runtime.engines.writer.options.temperature: "),
        ({"renderer": {"options": {"steps": "many"}}}, "runtime.engines.renderer.options.steps: "),
        ({"captioner": {"kind": "gpt"}}, "runtime.engines.captioner.kind: "),
        (
            {"captioner": {"kind": "vllm-vision", "model": "a/b", "num_gpus": 2}},
            "runtime.engines.captioner.num_gpus: is 2, but",
        ),
        ({"captioner": {"kind": "my_package.captions:Mine"}}, "runtime.engines.captioner.model: "),
        ({"artist": {}}, "runtime.engines.artist: "),
    ],
)
def test_errors_name_the_key_in_one_line(value, key):
    with pytest.raises(ValueError) as caught:
        engines_config(value)
    assert str(caught.value).startswith(key)
    assert "\n" not in str(caught.value)


def test_build_takes_module_and_class_names():
    config = EngineConfig(kind="spti_ray.models.fakes:FakeRenderer", model="SIMULATED")
    assert build_engine("renderer", config).identity()["kind"] == "spti_ray.models.fakes:FakeRenderer"


def test_a_missing_vllm_is_refused_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "spti_ray.models.vllm_writer", raising=False)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match=r"vLLM is not installed: add 'spti-ray\[cpu\]'"):
        build_engine("writer", EngineConfig(kind="vllm", model="bundled:smollm2"))


def test_a_library_that_does_not_load_is_told_with_who_knows_more(monkeypatch, tmp_path):
    (tmp_path / "our_broken_engine.py").write_text("raise ImportError('undefined symbol: _ZN5torch')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="can't import .*: undefined symbol: _ZN5torch; `spti doctor` says which"):
        build_engine("writer", EngineConfig(kind="our_broken_engine:X", model="x"))


@pytest.mark.parametrize("kind", ["spti_ray.models.fakes:Missing", "spti_ray.no_such_module:X"])
def test_build_says_what_it_can_not_import(kind):
    with pytest.raises(ValueError, match="runtime.engines.writer.kind: can't import"):
        build_engine("writer", EngineConfig(kind=kind, model="x"))


class OnlyRenders:
    def __init__(self, config: EngineConfig): ...

    def render(self, texts, seeds):
        return []


def test_a_renderer_that_can_not_vary_images_is_refused_in_one_line():
    for config in (EMBEDDED.renderer, FAKE.renderer, EngineConfig(kind="spti_ray.models.fakes:FakeRenderer")):
        check_varies(config)
    with pytest.raises(ValueError, match=r"^runtime\.engines\.renderer\.kind: .*OnlyRenders.* has no method vary\(\)"):
        check_varies(EngineConfig(kind=f"{__name__}:OnlyRenders"))
    with pytest.raises(ValueError, match="can't import"):
        check_varies(EngineConfig(kind="spti_ray.no_such_module:X"))


def test_every_renderer_that_is_said_to_vary_has_the_method():
    for kind in _VARYING:
        module, _, name = KINDS[kind].partition(":")
        assert hasattr(getattr(importlib.import_module(module), name), VARY)


def test_build_refuses_an_engine_of_another_role():
    with pytest.raises(ValueError, match=r"has no method caption\(\)"):
        build_engine("captioner", FAKE.writer)


def test_fake_engines_of_all_roles_build():
    for role in ROLES:
        engine = build_engine(role, FAKE.of(role))
        assert engine.identity()["model"] == "SIMULATED"
        assert engine.identity()["kind"].startswith("fake-")
        assert hasattr(engine, ENGINE_METHODS[role])


def test_every_kind_has_options():
    assert set(OPTIONS) == set(KINDS)


def test_configuration_code_imports_no_heavy_library():
    code = (
        "import sys, spti_ray.models.factory, spti_ray.models.bundled, spti_ray.models.fakes;"
        "print([m for m in ('torch', 'vllm', 'transformers', 'diffusers', 'ray') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("kind", "may"),
    [
        ("openai-images", True),
        ("spti_ray.models.openai_renderer:OpenAIRenderer", True),
        ("my.module:Renderer", True),
        ("diffusers", False),
        ("clip-vision", False),
    ],
)
def test_endpoints_and_engines_of_which_nothing_is_known_may_cost_money(kind, may):
    assert may_cost_money(EngineConfig(kind=kind, model="m")) == may
