"""Metrics with Ray's own: made, recorded and given up, in silence; and what a node then exports."""

import re
import time
from urllib.request import urlopen

import pytest
import ray

from spti_ray.config import ROLES, EngineConfig
from spti_ray.runtime.ray.launch import actor_class
from spti_ray.runtime.ray.metrics import Metrics
from spti_ray.runtime.scheduling.events import Finished, Raised
from spti_ray.runtime.scheduling.meter import Load
from spti_ray.types import Completions, WriteRequest

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.mark.parametrize("attempt", [1, 2])
def test_metrics_are_recorded_in_silence(attempt, capfd):
    """Twice, as two runs of one process."""
    with Metrics(f"run-{attempt}", epsilon_planned=2.0) as metrics:
        metrics.generation(0)
        metrics.spent(0.5)
        for role in ROLES:
            meter = metrics.of(role, num_gpus=0.5)
            meter.watch(lambda: Load(queue=1, in_flight=2, up=3, asked=4))
            meter.back(Finished([Completions(("a",), 3)] if role == "writer" else [0, 1], 0.25), abreast=2)
            meter.back(Raised("ValueError"), abreast=1)
            meter.missed(given_up=False)
            meter.missed(given_up=True)
            meter.cached()
            meter.lost("preempted")
        metrics.publish_gauges()
    assert capfd.readouterr() == ("", "")


def exported() -> str:
    """What Prometheus would read from the node."""
    (node,) = ray.nodes()
    with urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("metrics_of", ["run-7", ""])
def test_a_writers_actor_exports_its_engines_figures_under_the_runs_name_if_it_is_to(metrics_of):
    """The engine is SIMULATED; vLLM's own figures: tests/e2e/test_engines.py."""
    config = EngineConfig(kind="tests.ray.engine_with_stats:Writer", model="SIMULATED")
    actor = actor_class("writer").options(num_cpus=0.01).remote("writer", config, metrics_of=metrics_of)
    answers, _ = ray.get(actor.run.remote([WriteRequest("a cat", 1, 1, 8)]))
    ray.get(actor.run.remote([WriteRequest("a cat", 1, 1, 8)]))
    assert len(answers) == 1
    pattern = r'^ray_spti_vllm_kv_cache_usage{[^}]*run="run-7"[^}]*} 0\.25$'
    if metrics_of:
        deadline = time.monotonic() + 60
        while not re.search(pattern, text := exported(), re.MULTILINE) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert re.search(pattern, text, re.MULTILINE), "the gauge is there"
        assert re.search(r'^ray_spti_vllm_generation_tokens_total{[^}]*run="run-7"[^}]*} 7', text, re.MULTILINE)
    else:
        assert ray.get(actor.__ray_call__.remote(lambda self: self._publishing)) is None
    ray.kill(actor)
