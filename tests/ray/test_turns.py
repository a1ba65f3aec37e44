"""A whole run on real Ray whose writer and renderer take turns on one GPU: SIMULATED engines, a GPU in name only."""

import pytest
import ray
from rich.console import Console

from spti_ray.config import ROLES
from spti_ray.driver.driver import run_config
from spti_ray.models.factory import engines_config
from spti_ray.runtime.placement.bundles import plan
from spti_ray.runtime.ray.cluster import Reserved
from tests.unit.conftest import BASE, config_with

pytestmark = pytest.mark.usefixtures("ray_cluster")

GENERATIONS = 2


def config(folder):
    engines = {
        role: {"kind": f"fake-{role.replace('_', '-')}", "model": "SIMULATED", "num_cpus": 0.1} for role in ROLES
    }
    for role in ("writer", "renderer"):
        kind = f"tests.ray.turn_engines:{role.capitalize()}"
        engines[role] |= {"kind": kind, "num_gpus": 0.5, "batch_size": 2, "options": {"folder": str(folder)}}
    return config_with(
        runtime__engines=engines,
        runtime__take_turns=["writer", "renderer"],
        evolution__generations=GENERATIONS,
        evolution__candidates=BASE["evolution"]["candidates"],
        ledger__path=str(folder / "ledger"),
    )


@pytest.mark.slow
def test_a_run_whose_writer_and_renderer_take_turns_never_has_both_at_work(tmp_path):
    release = run_config(config(tmp_path), tmp_path / "run", Console(quiet=True))
    assert len(list((release / "images").rglob("*.png"))) == BASE["release"]["images"]
    log = (tmp_path / "log").read_text().splitlines()
    assert not [line for line in log if line.endswith(("OVERLAP", "NOT MINE"))]
    assert log.count("writer crash") == log.count("renderer crash") == 1
    turns = [line for line in log if line.endswith(("load", "wake"))]
    # Two a generation, and one more for each crash.
    assert len(turns) <= 2 * GENERATIONS + 2
    assert log[0] == "writer load", "nothing is loaded before its turn"


def test_actors_that_take_turns_are_on_one_gpu(tmp_path):
    @ray.remote(num_cpus=0, num_gpus=0.5)
    class Who:
        def gpus(self):
            return ray.get_gpu_ids()

    settings = config(tmp_path)
    engines = engines_config(settings.runtime.engines)
    bundles = [bundle for bundle in plan(settings, engines) if bundle.num_gpus]
    reserved = Reserved(tuple(bundles))
    try:
        assert reserved.wait(120)
        actors = [Who.options(scheduling_strategy=reserved.of(bundle)).remote() for bundle in bundles]
        assert ray.get([actor.gpus.remote() for actor in actors]) == [[0], [0]]
        for actor in actors:
            ray.kill(actor)
        reserved.give_back("writer")
        assert reserved.wait(5), "the renderer still has its part"
        reserved.give_back("renderer")
    finally:
        reserved.give_back_all()
