"""Sums up the metrics of a vLLM engine: tokens, cache, queue."""

from __future__ import annotations

from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import IterationStats, SchedulerStats


class EngineStats(StatLoggerBase):
    """Metrics of one engine since its start, which vLLM reports after each step.

    vLLM's own logger for Ray is not used: it needs Ray Serve, and does not name the run.
    """

    def __init__(self) -> None:
        self._values: dict[str, float] = dict.fromkeys(
            (
                "prompt_tokens",
                "generation_tokens",
                "preemptions",
                "prefix_cache_queries",
                "prefix_cache_hits",
                "requests_running",
                "requests_waiting",
                "kv_cache_usage",
            ),
            0.0,
        )

    def now(self, idle: bool) -> dict[str, float]:
        """Counts since the start, and the present number of requests and used share of the KV cache.

        `idle`: no request is under way. vLLM does not report that: its last values are of the step before.
        """
        gone = dict.fromkeys(("requests_running", "requests_waiting", "kv_cache_usage"), 0.0) if idle else {}
        return self._values | gone

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        values = self._values
        if scheduler_stats is not None:
            values["requests_running"] = scheduler_stats.num_running_reqs
            values["requests_waiting"] = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
            values["kv_cache_usage"] = scheduler_stats.kv_cache_usage
            values["prefix_cache_queries"] += scheduler_stats.prefix_cache_stats.queries
            values["prefix_cache_hits"] += scheduler_stats.prefix_cache_stats.hits
        if iteration_stats is not None:
            values["prompt_tokens"] += iteration_stats.num_prompt_tokens
            values["generation_tokens"] += iteration_stats.num_generation_tokens
            values["preemptions"] += iteration_stats.num_preempted_reqs

    def log_engine_initialized(self) -> None:
        """Required by vLLM; nothing is logged."""
