"""An engine in a process of its own, called directly: without Ray and without a pool.

`python -m spti_ray.bench.bare_engine ROLE < SETTINGS`.

The process loads the engine and prints a line. Then, for each line with a seed, it does that round's work in one call
and prints how much it made and the seconds it took.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spti_ray.bench.workload import call_arguments, count_produced, make_items
from spti_ray.config import EngineConfig, Role
from spti_ray.models.engine_process import engine_environment
from spti_ray.models.factory import ENGINE_METHODS, build_engine


class BareEngine:
    """Talks to the process of a bare engine."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def round(self, seed: int, items: int) -> tuple[int, float]:
        """Do the work of one round.

        Args:
            seed: Decides what the work is.
            items: How many requests, jobs, images or texts.

        Returns:
            How much was made (`count_produced`), and the seconds it took.
        """
        self._say({"seed": seed, "items": items})
        answer = self._hear()
        return answer["made"], answer["seconds"]

    def _say(self, line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        # Libraries print too; our lines begin with the mark.
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return json.loads(line.removeprefix(_MARK))
        raise RuntimeError(f"the bare engine ended with exit code {self._process.wait()}")


_MARK = "spti-bare:"


@contextmanager
def start_bare_engine(role: Role, settings: EngineConfig) -> Iterator[BareEngine]:
    """Start an engine in a process with the environment that its actor would have; it is loaded when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-m", "spti_ray.bench.bare_engine", role],
        env=os.environ | engine_environment(role, settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        engine = BareEngine(process)
        engine._say(settings.model_dump(mode="json"))
        engine._hear()
        yield engine
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve(role: Role) -> None:
    settings = EngineConfig.model_validate_json(sys.stdin.readline())
    asyncio.run(_answer(role, settings))


async def _answer(role: Role, settings: EngineConfig) -> None:
    engine = build_engine(role, settings)
    method = getattr(engine, ENGINE_METHODS[role])
    print(_MARK + "{}", flush=True)
    while line := sys.stdin.readline():
        asked = json.loads(line)
        arguments = call_arguments(role, make_items(role, asked["items"], asked["seed"]))
        started = time.perf_counter()
        results = method(*arguments)
        if inspect.isawaitable(results):
            results = await results
        seconds = time.perf_counter() - started
        print(_MARK + json.dumps({"made": count_produced(role, list(results)), "seconds": seconds}), flush=True)
    if hasattr(engine, "close"):
        engine.close()


if __name__ == "__main__":
    _serve(sys.argv[1])  # type: ignore[arg-type] checked by `build_engine`
