"""Which actor hosts which engine."""

import asyncio
from types import SimpleNamespace

import pytest
import torch

from spti_ray.config import ROLES, EngineConfig, EnginesConfig
from spti_ray.models.factory import FAKE, build_engine
from spti_ray.runtime.hosting import engine as engine_hosting
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES, UNPROTECTED_ROLES
from spti_ray.runtime.ray import driver_actor, trainer_actor
from spti_ray.runtime.ray import launch as module
from spti_ray.runtime.ray.engine_actor import AsyncEngineActor, PrivateEngineActor, RendererActor
from spti_ray.runtime.ray.gpu_wishes import Wishes
from spti_ray.runtime.ray.launch import actor_class, another_engine
from spti_ray.types import RenderBatch
from tests.unit.conftest import config_with


def _methods(role) -> set[str]:
    """Methods of the class that Ray makes the actor of."""
    return set(dir(actor_class(role).__ray_metadata__.modified_class))


def test_only_engines_that_serve_shards_take_private_input():
    assert {role for role in ROLES if "run_private" in _methods(role)} == set(PRIVATE_ROLES)
    assert set(PRIVATE_ROLES) == {"image_embedder", "captioner", "text_embedder"}


@pytest.mark.parametrize("role", ROLES)
def test_every_engine_serves_the_public_side(role):
    assert {"run", "ready"} <= _methods(role)


@pytest.mark.parametrize("role", ["writer", "renderer"])
def test_an_actor_for_private_input_hosts_no_writer_or_renderer(role):
    with pytest.raises(ValueError, match="must not see private input"):
        PrivateEngineActor.__ray_metadata__.modified_class(role, FAKE.of(role))


class Started:
    """What an actor would be started with."""

    def __init__(self):
        self.given = []

    def options(self, **options):
        return self

    def remote(self, role, settings, **more):
        self.given.append((role, settings.options, more))


def test_no_engine_that_serves_shards_publishes_its_figures_or_takes_turns(monkeypatch):
    """Whatever it is: here vLLM everywhere."""
    started = Started()
    monkeypatch.setattr(module, "actor_class", lambda role, serving: started)
    engines = EnginesConfig(**{role: EngineConfig(kind="vllm", model="m", num_gpus=0.5) for role in ROLES})
    for role in ROLES:
        another_engine(role, 1, "s", config_with(), engines, Wishes(), metrics_of="r1")
    given = {role: (options, more) for role, options, more in started.given}
    assert {role for role, (options, _) in given.items() if options.get("stats")} == {"writer", "renderer"}
    assert {role for role, (_, more) in given.items() if more.get("metrics_of")} == {"writer"}
    assert all(given[role] == ({}, {"serving": PRIVATE_ROLES}) for role in PRIVATE_ROLES)
    started.given.clear()
    open_to_the_owner = config_with(method="captions", privacy__allow_not_private=True)
    another_engine("renderer", 1, "session", open_to_the_owner, engines, Wishes(), metrics_of="r1")
    assert started.given == [("renderer", {}, {"serving": UNPROTECTED_ROLES})]


def test_actors_are_asked_for_in_the_order_in_which_their_engines_are_needed(monkeypatch):
    started = Started()
    monkeypatch.setattr(module, "actor_class", lambda role, serving: started)
    bundles = [module.Bundle(role, 0, 1.0, 0.0) for role in ("renderer", "image_embedder", "shard", "writer")]
    reserved = SimpleNamespace(joined=False, of=lambda bundle: None)
    actors = module.start_engines(reserved, tuple(bundles), FAKE, "s")
    assert [role for role, _, _ in started.given] == list(actors) == ["writer", "image_embedder", "renderer"]


@pytest.mark.parametrize(("address", "known"), [(None, True), ("head:6379", False)])
def test_the_number_of_threads_is_the_drivers_only_on_its_own_machine(address, known, monkeypatch):
    given = []

    class Starts(Started):
        def options(self, **options):
            given.append(options["runtime_env"]["env_vars"])
            return self

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(module, "actor_class", lambda role, serving: Starts())
    another_engine("renderer", 1, "s", config_with(runtime__address=address), FAKE, Wishes())
    reserved = SimpleNamespace(joined=bool(address), of=lambda bundle: None)
    module.start_engines(reserved, (module.Bundle("renderer", 0, 1.0, 0.0),), FAKE, "s")
    given.append(
        module.options_in_place_of("renderer", reserved, (module.Bundle("renderer", 0, 1.0, 0.0),), FAKE)[
            "runtime_env"
        ]["env_vars"]
    )
    assert ["OMP_NUM_THREADS" in variables for variables in given] == [known] * 3


@pytest.mark.parametrize("num_gpus", [0.0, 0.25, 2.0])
def test_an_actor_that_was_given_no_gpu_is_started_with_none_to_see(num_gpus, monkeypatch):
    """All that start actors; what one with GPUs may see is for Ray to say."""
    given = []

    class Starts(Started):
        def options(self, **options):
            given.append(options["runtime_env"]["env_vars"])
            return self

    monkeypatch.setattr(module, "actor_class", lambda role, serving: Starts())
    engines = EnginesConfig(**{role: EngineConfig(kind="vision", model="m", num_gpus=num_gpus) for role in ROLES})
    bundle = module.Bundle("renderer", 0, 1.0, num_gpus)
    reserved = SimpleNamespace(joined=False, of=lambda bundle: None)
    module.start_engines(reserved, (bundle,), engines, "s")
    another_engine("image_embedder", 1, "s", config_with(), engines, Wishes())
    given.append(module.options_in_place_of("renderer", reserved, (bundle,), engines)["runtime_env"]["env_vars"])
    assert [variables.get("CUDA_VISIBLE_DEVICES") for variables in given] == [None if num_gpus else ""] * 3


def test_neither_shards_without_a_share_nor_the_driver_see_a_gpu(monkeypatch):
    reserved = SimpleNamespace(joined=True, of=lambda bundle: None)
    ((_, shard),) = module.shard_options(reserved, (module.Bundle("shard", 0, 1.0, 0.0),))
    driver = driver_actor._where(config_with(runtime__driver={"resources": {"head": 1}}).runtime)
    for options in (shard, driver):
        assert options["num_gpus"] == 0 and options["runtime_env"]["env_vars"]["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(("num_cpus", "threads"), [(0.1, "1"), (1.0, "1"), (1.5, "2"), (16.0, "16")])
def test_a_shard_has_a_thread_for_each_of_its_cpus(num_cpus, threads):
    reserved = SimpleNamespace(joined=True, of=lambda bundle: None)
    ((_, options),) = module.shard_options(reserved, (module.Bundle("shard", 0, num_cpus, 0.0),))
    variables = options["runtime_env"]["env_vars"]
    assert variables["OMP_NUM_THREADS"] == threads and options["num_cpus"] == num_cpus


def test_a_shard_with_a_share_of_a_gpu_sees_it_and_adds_up_in_whole_float64_numbers():
    reserved = SimpleNamespace(joined=True, of=lambda bundle: None)
    ((_, options),) = module.shard_options(reserved, (module.Bundle("shard", 0, 1.0, 0.25),))
    variables = options["runtime_env"]["env_vars"]
    assert options["num_gpus"] == 0.25 and "CUDA_VISIBLE_DEVICES" not in variables
    assert variables["CUBLAS_EMULATE_DOUBLE_PRECISION"] == "0"


@pytest.mark.parametrize(
    ("hosting", "role", "more"),
    [
        (RendererActor, "renderer", {}),
        (PrivateEngineActor, "image_embedder", {}),
        (PrivateEngineActor, "renderer", {"serving": UNPROTECTED_ROLES}),
        (trainer_actor.TrainerActor, None, {}),
    ],
)
def test_an_engine_with_a_share_of_a_gpu_has_that_share_of_its_memory(hosting, role, more, monkeypatch):
    shares = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    for process_wide in ("set_home_and_user", "suppress_output_permanently"):
        monkeypatch.setattr(trainer_actor, process_wide, lambda: None)
    monkeypatch.setattr(engine_hosting, "suppress_crash_output", lambda: None)
    monkeypatch.setattr(engine_hosting, "build_engine", lambda *given: given)
    for num_gpus in (0.25, 1.0, 0.0):
        config = EngineConfig(kind="vision", model="m", num_gpus=num_gpus)
        hosting.__ray_metadata__.modified_class(*([role] if role else []), config, **more)
    assert shares == [0.25]


def test_who_takes_turns_has_all_of_the_gpus_memory_in_its_turn(monkeypatch):
    shares = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    config = EngineConfig(kind="diffusers", model="m", num_gpus=0.5)
    RendererActor.__ray_metadata__.modified_class("renderer", config, takes_turns=True)
    assert shares == []


@pytest.mark.parametrize("role", PRIVATE_ROLES)
def test_the_actor_that_publishes_hosts_no_engine_that_serves_shards(role):
    assert not hasattr(PrivateEngineActor.__ray_metadata__.modified_class, "_publish")
    with pytest.raises(ValueError, match="sees private input"):
        AsyncEngineActor.__ray_metadata__.modified_class(role, FAKE.of(role), metrics_of="r1")


def test_who_takes_turns_loads_nothing_before_it_is_woken_and_is_asked_for_nothing_while_it_sleeps():
    hosting = RendererActor.__ray_metadata__.modified_class("renderer", FAKE.renderer, takes_turns=True)

    batch = RenderBatch(("a red cat",), (1,))

    async def turns():
        await hosting.sleep()
        with pytest.raises(RuntimeError, match="the renderer sleeps"):
            await hosting.run(batch)
        for _ in range(2):
            assert await hosting.wake() == {"kind": "fake-renderer", "model": "SIMULATED", "revision": "1"}
        assert len((await hosting.run(batch))[0]) == 1
        await hosting.sleep()
        with pytest.raises(RuntimeError, match="the renderer sleeps"):
            await hosting.run(batch)

    asyncio.run(turns())


def test_an_engine_that_can_not_sleep_is_refused_by_name():
    config = EngineConfig(kind="tests.taint.engines:ImageEmbedder", model="SIMULATED")
    with pytest.raises(ValueError, match=r"image_embedder.kind: .* has no methods sleep\(\) and wake\(\)"):
        build_engine("image_embedder", config, takes_turns=True)
