"""Metrics with Ray's own: made, recorded and given up, in silence."""

import pytest

from spti_ray.actors.events import Finished, Raised
from spti_ray.actors.meter import Load
from spti_ray.actors.metrics import Metrics
from spti_ray.config import ROLES
from spti_ray.types import Completions

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
            meter.kept()
            meter.lost("preempted")
        metrics.publish_gauges()
    assert capfd.readouterr() == ("", "")
