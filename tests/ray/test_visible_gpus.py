"""Which GPUs actors see on real Ray: a GPU in name only."""

import os

import pytest
import ray

from spti_ray.config import ROLES
from spti_ray.models.factory import engines_config
from spti_ray.runtime.ray.gpu_wishes import Wishes
from spti_ray.runtime.ray.launch import another_engine
from tests.unit.conftest import config_with

pytestmark = pytest.mark.usefixtures("ray_cluster")


class Sees:
    """A renderer that says which GPUs its process may use."""

    def __init__(self, config):
        pass

    def render(self, texts, seeds):
        return []

    def identity(self):
        return {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "all of the node")}


@pytest.mark.parametrize(("num_gpus", "seen"), [(0, ""), pytest.param(0.5, "0", marks=pytest.mark.slow)])
def test_an_actor_sees_the_gpus_that_it_was_given_and_no_other(num_gpus, seen):
    settings = {role: {"kind": f"fake-{role.replace('_', '-')}", "model": "SIMULATED"} for role in ROLES}
    settings["renderer"] = {"kind": f"{__name__}:Sees", "model": "m", "num_gpus": num_gpus, "num_cpus": 0.1}
    config = config_with(runtime__engines=settings)
    actor = another_engine("renderer", 0, f"sees{num_gpus}", config, engines_config(settings), Wishes())
    try:
        assert ray.get(actor.ready.remote(), timeout=60) == {"gpus": seen}
    finally:
        ray.kill(actor)
