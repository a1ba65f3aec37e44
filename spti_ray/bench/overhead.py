"""Measures the overhead of pools: an engine in its pool against the same engine called directly (bare)."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

from spti_ray.bench.bare_engine import start_bare_engine
from spti_ray.bench.pools import engines_of, engines_on_ray, pool_of
from spti_ray.bench.workload import count_produced, make_items
from spti_ray.config import EngineConfig, Role, RuntimeConfig
from spti_ray.models.pixels import to_png
from spti_ray.runtime.scheduling.engine_streams import PooledEngines

Round = Callable[[int], tuple[int, float]]
"""From a seed to how much was made and the seconds that it took."""


def in_pool_over_bare(
    role: Role,
    settings: EngineConfig,
    batches: int,
    rounds: int = 3,
    runtime: RuntimeConfig | None = None,
    price_per_gpu_hour: float | None = None,
) -> dict[str, Any]:
    """Measure an engine's rate in its pool and bare: medians over rounds of the same work, after a warm-up round.

    Without GPUs both are loaded and do their rounds in turn, since a machine's speed drifts. With GPUs one is measured
    after the other.

    Args:
        role: The engine's role.
        settings: The engine.
        batches: Batches in a round.
        rounds: How many rounds are measured.
        runtime: Where Ray is.
        price_per_gpu_hour: In US dollars, for the rate per dollar.

    Returns:
        Rates in output tokens (of a writer) or items a second, and their ratio.
    """
    one = settings.model_copy(update={"replicas": 1, "max_replicas": None})
    items = batches * one.batch_size
    starts = {"bare": _bare, "pool": _pooled}
    rates: dict[str, list[float]] = {"bare": [], "pool": []}
    for together in (("bare",), ("pool",)) if one.num_gpus else (("bare", "pool"),):
        with ExitStack() as stack:
            started = {name: starts[name](stack, role, one, items, runtime) for name in together}
            for seed in range(rounds + 1):
                for name, run in started.items():
                    made, seconds = run(seed)
                    if seed:
                        rates[name].append(made / seconds)
    ratios = [pool_rate / bare_rate for pool_rate, bare_rate in zip(rates["pool"], rates["bare"], strict=True)]
    pool_rate = median(rates["pool"])
    return {
        "engine": f"{one.kind} {one.model}",
        "settings": one.model_dump(mode="json", include={"batch_size", "num_cpus", "num_gpus", "options"}),
        "rate_of": "output tokens/s" if role == "writer" else "items/s",
        "bare": round(median(rates["bare"]), 2),
        "pool": round(pool_rate, 2),
        "ratio": round(median(ratios), 4),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "per_gpu_second": round(pool_rate / one.num_gpus, 2) if one.num_gpus else None,
        "per_dollar": round(pool_rate / one.num_gpus * 3600 / price_per_gpu_hour)
        if one.num_gpus and price_per_gpu_hour
        else None,
    }


def _bare(stack: ExitStack, role: Role, settings: EngineConfig, items: int, runtime: RuntimeConfig | None) -> Round:
    engine = stack.enter_context(start_bare_engine(role, settings))
    return lambda seed: engine.round(seed, items)


def _pooled(stack: ExitStack, role: Role, settings: EngineConfig, items: int, runtime: RuntimeConfig | None) -> Round:
    actors = stack.enter_context(engines_on_ray({role: settings}, runtime))
    streams = PooledEngines({role: pool_of(role, actors[role])}, engines_of({role: settings}))
    stream_of: dict[Role, Callable[[Any], Any]] = {
        "writer": streams.write,
        "renderer": streams.render,
        "image_embedder": streams.embed_images,
        "text_embedder": streams.embed_texts,
    }

    def run(seed: int) -> tuple[int, float]:
        given = make_items(role, items, seed)
        if role == "image_embedder":
            given = [to_png(image) for image in given]
        began = time.perf_counter()
        results = list(stream_of[role](given))
        return count_produced(role, results), time.perf_counter() - began

    return run
