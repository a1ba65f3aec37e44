"""The figures of a writer's engine for Prometheus: vLLM's, under the run's name, from the actor's own process.

The writer sees public prompts only. The figures of an engine that serves shards (how many requests it had, how long its
queue is) show how many private records there are, so its actor publishes none: see `PrivateEngineActor`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ray.util.metrics import Counter, Gauge

PREFIX = "spti_vllm_"
"""Ray puts `ray_` in front of it. So the rule that keeps `ray_spti_*` of all that Ray exports keeps these too."""

COUNTERS: dict[str, str] = {
    "prompt_tokens": "Tokens of prompts, those from the prefix cache included.",
    "generation_tokens": "Tokens written.",
    "preemptions": "Requests that vLLM put back for want of KV cache.",
    "prefix_cache_queries": "Tokens of prompts looked up in the prefix cache.",
    "prefix_cache_hits": "Tokens of prompts found in the prefix cache.",
}
GAUGES: dict[str, str] = {
    "requests_running": "Requests that decode now.",
    "requests_waiting": "Requests that wait in the engine.",
    "kv_cache_usage": "Used share of the KV cache, 0 to 1.",
}

_REPEAT_S = 5.0
"""Ray forgets a gauge that was not set for two of its reports, which are 10 s apart."""


class EngineMetrics:
    """Of one engine; `engine.stats()` gives its figures by the names above, counters since its start."""

    def __init__(self, run: str, engine: Any) -> None:
        self._engine = engine
        self._published: dict[str, float] = {}
        tags: dict[str, Any] = {"tag_keys": ("run",)}
        self._counters = {
            name: Counter(f"{PREFIX}{name}_total", text, **tags).set_default_tags({"run": run})
            for name, text in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(PREFIX + name, text, **tags).set_default_tags({"run": run}) for name, text in GAUGES.items()
        }

    def publish(self) -> None:
        """Publish the figures as they are now."""
        now = self._engine.stats()
        for name, counter in self._counters.items():
            more = now[name] - self._published.get(name, 0.0)
            if more > 0:  # Ray refuses 0
                counter.inc(more)
        for name, gauge in self._gauges.items():
            gauge.set(now[name])
        self._published = now

    async def repeat(self) -> None:
        """Publish them again and again."""
        while True:
            self.publish()
            await asyncio.sleep(_REPEAT_S)
