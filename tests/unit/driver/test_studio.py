"""Every method can be run or says why not, and captions reach no actor of a run that is private."""

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import is_charged, roles_needed, uses_private_data
from spti_ray.driver.studio import Stage, make
from spti_ray.methods import METHODS, Method, PrivateData
from spti_ray.models.factory import FAKE
from spti_ray.planning.checks import check_engines
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES, UNPROTECTED_ROLES, PrivateEngineHost, serving_roles
from spti_ray.runtime.placement.bundles import plan
from tests.unit.conftest import config_with

OPEN = {"epsilon": 2.0, "delta": 1e-5, "allow_not_private": True}


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_every_method_can_be_run(method: Method):
    engines = "embedded" if method.private_data is PrivateData.TRAINING else "fake"
    check_engines(config_with(method=method.name, privacy=OPEN, runtime__engines=engines))


def test_a_method_that_trains_says_which_model_it_can_train():
    with pytest.raises(
        ConfigError, match="dp-finetune trains a model of kind 'diffusers', and this is 'fake-renderer'"
    ):
        check_engines(config_with(method="dp-finetune", privacy=OPEN, runtime__engines="fake"))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "captions"])
def test_the_renderer_sees_private_input_for_renders_of_captions_alone(method):
    config = config_with(method=method, privacy=OPEN)
    assert serving_roles(config) == PRIVATE_ROLES and "renderer" not in PRIVATE_ROLES
    captions = config_with(method="captions", privacy=OPEN)
    assert serving_roles(captions) == UNPROTECTED_ROLES == roles_needed(captions)
    assert PrivateEngineHost("renderer", FAKE.renderer, UNPROTECTED_ROLES)._role == "renderer"
    with pytest.raises(ValueError, match="must not see private input"):
        PrivateEngineHost("writer", FAKE.writer, UNPROTECTED_ROLES)
    with pytest.raises(ValueError, match="must not see private input"):
        PrivateEngineHost("renderer", FAKE.renderer)


def test_a_renderer_that_serves_shards_takes_no_turns():
    half = {role: {"kind": f"fake-{role}", "model": "SIMULATED", "num_gpus": 0.5} for role in ("writer", "renderer")}
    turns = {"runtime__take_turns": ("writer", "renderer"), "runtime__engines": half}
    check_engines(config_with(method="pe-image", privacy=OPEN, **turns))
    with pytest.raises(ConfigError, match=r"take_turns: with method: captions"):
        check_engines(config_with(method="captions", privacy=OPEN, **turns))


def test_a_trainer_has_the_renderers_place_and_no_shard_is_started():
    assert [bundle.role for bundle in plan(config_with(method="dp-finetune"), FAKE)] == ["renderer"]


def test_a_rerendering_has_no_shards_and_no_engine_but_the_renderer():
    origin = {"run": "r", "path": "runs/r", "rerender": True}
    for method in ("spti", "pe-image", "random"):
        config = config_with(method=method, origin=origin)
        assert [bundle.role for bundle in plan(config, FAKE)] == ["renderer"]
        assert not uses_private_data(config) and not is_charged(config)


def test_generation_0_alone_has_no_shards():
    assert [bundle.role for bundle in plan(config_with(method="random"), FAKE)] == ["writer", "renderer"]
    bundles = plan(config_with(method="captions", privacy=OPEN), FAKE)
    assert [bundle.role for bundle in bundles] == ["captioner", "renderer", "shard", "shard"]


def test_without_votes_too_texts_that_nobody_wrote_are_counted(local_engines, tmp_path):
    config, written = config_with(method="random"), FallbackCounts()
    said = iter(f"a fine {word} kite" for word in ("red", "blue", "pink"))
    engines = local_engines(answer=lambda request: next(said, None))

    class Watch:
        def generation(self, number, stage):
            pass

    stage = Stage(config, RunDir(tmp_path, "r", config), engines, None, None, Watch(), dict, None, written)
    make(stage)
    assert (written.counts["0"].asked, written.counts["0"].fallbacks) == (12, 9)
