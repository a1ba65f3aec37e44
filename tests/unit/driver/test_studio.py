"""Every method can be run or says why not, and captions reach no actor of a run that is private."""

import pytest

from spti_ray.config import ROLES
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import is_charged, roles_needed, uses_private_data
from spti_ray.driver import studio as studio_module
from spti_ray.driver.studio import RunStudio, Stage, make
from spti_ray.errors import NothingMade, RunDamaged
from spti_ray.methods import METHODS, Method, PrivateData
from spti_ray.models.factory import FAKE, engines_config
from spti_ray.planning.checks import check_engines
from spti_ray.provenance.marks import BARE
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES, UNPROTECTED_ROLES, PrivateEngineHost, serving_roles
from spti_ray.runtime.placement.bundles import plan
from tests.unit.conftest import config_with


def keep_all(*roles):
    """No engine is given back."""


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


def bare(models):
    return BARE


class Watch:
    asked = 0

    def generation(self, number, stage):
        pass

    def asked_again(self, count):
        self.asked += count


def test_without_votes_too_texts_that_nobody_wrote_are_counted(local_engines, tmp_path):
    config, written = config_with(method="random"), FallbackCounts()
    said = iter(f"a fine {word} kite" for word in ("red", "blue", "pink"))
    engines = local_engines(answer=lambda request: next(said, None))

    stage = Stage(
        config, RunDir(tmp_path, "r", config), engines, None, None, Watch(), keep_all, dict, bare, None, written
    )
    make(stage)
    assert stage.watch.asked == 9 * (config.prompts.attempts - 1)
    assert (written.counts["0"].asked, written.counts["0"].fallbacks) == (12, 9)


def _voted(tmp_path, local_engines, origin=None, **changes):
    """A stage of a run with voted shares of labels. Its gate and its voter are none: to ask them is an error."""
    config = config_with(
        evolution__labels=["cat", "dog", "car"],
        evolution__label_shares="voted",
        origin={"run": "r", "path": "x", "generation": 2} if origin else None,
        **changes,
    )
    return Stage(
        config, RunDir(tmp_path, "r", config), local_engines, object(), None, Watch(), keep_all, dict, bare, origin
    )


class _Origin:
    folder = "runs/origin"

    def __init__(self, **counts):
        self.label_counts = counts
        self.told = None

    def survivors(self, config, cache, learn):
        self.told = config
        return ()


def test_a_run_that_goes_on_has_the_shares_of_its_origin_which_is_told_the_settings_as_they_were_given(
    tmp_path, local_engines, monkeypatch
):
    origin, evolving = _Origin(cat=30, dog=-5, car=10), []
    monkeypatch.setattr(studio_module, "evolve", lambda config, *rest: evolving.append(config) or ())
    stage = _voted(tmp_path, local_engines(), origin)
    studio = RunStudio(stage)
    studio.evolve()
    # 27.5 and 7.5 of 35 are left, of 6 images.
    assert evolving[0].evolution.label_names == ("cat", "car") and studio.quota() == {"cat": 5, "car": 1}
    assert origin.told is stage.config, "or it would not see that it embeds candidates alike"
    assert stage.label_counts == {"cat": 30, "dog": -5, "car": 10}


def test_a_run_that_goes_on_without_the_shares_of_its_origin_ends(tmp_path, local_engines):
    with pytest.raises(RunDamaged, match=r"runs/origin: its manifest has no voted shares"):
        RunStudio(_voted(tmp_path, local_engines(), _Origin())).evolve()


def test_a_renderer_that_can_not_vary_ends_a_run_before_it_asks_about_labels(tmp_path, local_engines):
    stage = _voted(tmp_path, local_engines(unrenderable=lambda job: job.image is not None), method="pe-image")
    with pytest.raises(NothingMade, match="can't vary an image"):
        RunStudio(stage).evolve()


NONE = {"replicas": 0, "max_replicas": 4}


def test_roles_that_only_the_runs_own_work_asks_may_start_from_none():
    fakes = {role: FAKE.of(role).model_dump() for role in ROLES}
    from_none = {role: fakes[role] | NONE for role in ("writer", "renderer")}
    check_engines(config_with(runtime__engines=fakes | from_none))
    with pytest.raises(ConfigError, match="image_embedder.replicas: is 0, but shards ask it at any time: at least 1"):
        check_engines(config_with(runtime__engines=fakes | {"image_embedder": fakes["image_embedder"] | NONE}))
    with pytest.raises(ConfigError, match="renderer.replicas: is 0, but its model is trained"):
        trained = {"renderer": {"num_gpus": 1, **NONE}}
        check_engines(config_with(method="dp-finetune", privacy=OPEN, runtime__engines=trained))
    with pytest.raises(ConfigError, match="runtime.engines.writer: replicas is 0: say in max_replicas"):
        check_engines(config_with(runtime__engines={"writer": {"replicas": 0}}))


def test_ray_reserves_nothing_for_roles_that_start_from_none_and_has_a_pool_for_them(monkeypatch):
    from spti_ray.runtime.placement.bundles import plan
    from spti_ray.runtime.ray import executor

    fakes = {role: FAKE.of(role).model_dump() for role in ROLES}
    config = config_with(runtime__engines=fakes | {"renderer": fakes["renderer"] | NONE})
    engines = engines_config(config.runtime.engines)
    bundles = plan(config, engines)
    assert "renderer" not in {bundle.role for bundle in bundles}
    monkeypatch.setattr(executor, "start_engines", lambda *given: {"writer": ["w"], "image_embedder": ["e"]})
    session = executor.RaySession(config, bundles, None, "name", "run", None, ("writer", "renderer", "image_embedder"))
    assert session.start_engines(engines) == {"writer": ["w"], "renderer": [], "image_embedder": ["e"]}
