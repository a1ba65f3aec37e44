"""A SIMULATED writer that has figures of its own, as vLLM has."""

from __future__ import annotations

from spti_ray.models import fakes
from spti_ray.runtime.ray.engine_metrics import COUNTERS, GAUGES


class Writer(fakes.FakeWriter):
    def stats(self) -> dict[str, float]:
        return dict.fromkeys(COUNTERS, 7.0) | dict.fromkeys(GAUGES, 0.25)
