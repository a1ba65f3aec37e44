"""All engines of a local run: public ones in the driver's process, those that serve shards in the private one.

`kept_engines` lets several runs of one process have the same ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from spti_ray.config import EngineConfig, Role
from spti_ray.models.engine_process import engine_environment
from spti_ray.models.factory import public_engine_config
from spti_ray.runtime.local.engine import Engine, EngineHere, PrivateEngine
from spti_ray.runtime.local.process import Process

_OFFLINE = "HF_HUB_OFFLINE"
_START_BY = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
"""A copy of the driver, which has threads and the ledger open, would be no process to start a model in."""


class Engines:
    """Engines and the private process, of one run or of several."""

    def __init__(self, kept: bool = False) -> None:
        """`kept`: a known kind of engine stays, for whoever asks for one of the same settings, until `close`."""
        self._kept = kept
        self._here: dict[str, EngineHere] = {}
        self._private: list[PrivateEngine] = []
        self._process: Process | None = None
        self._before: dict[str, str | None] = {}
        """What variables of this process were before a run set them."""

    def prepare(self, public: Mapping[Role, EngineConfig], private: Mapping[Role, EngineConfig]) -> None:
        """For one run: set what public engines' libraries read as they are imported, and start the private process.

        An environment is a process's: what the engines of one disagree on (threads, whether models may be downloaded)
        is taken as the most that one of them needs. What is loaded already in this process stays as it is.
        """
        if private:
            self._start_process(dict(os.environ) | _environment(private))
        for name, value in (_environment(public) | _START_BY).items() if public else ():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def _start_process(self, environment: dict[str, str]) -> None:
        """Unless there is one with these variables."""
        environment.pop("PYTEST_CURRENT_TEST", None)
        if self._process is not None and not (self._process.is_alive and self._process.environment == environment):
            self._process.close()
            self._process = None
        if self._process is None:
            self._process = Process(environment)

    @property
    def process(self) -> Process:
        """The private process, once there is one."""
        assert self._process is not None
        return self._process

    def here(self, role: Role, config: EngineConfig) -> EngineHere:
        """An engine in this process."""
        config = public_engine_config(config, takes_turns=False, reports_stats=False)
        key = f"{role} {config.model_dump_json()}"
        if key not in self._here:
            self._here[key] = EngineHere(role, config)
        return self._here[key]

    def private(self, role: Role, config: EngineConfig, serving: tuple[Role, ...]) -> PrivateEngine:
        """An engine in the private process."""
        engine = PrivateEngine(self.process, role, config, serving)
        self._private.append(engine)
        return engine

    def let_go(self, engine: Engine) -> None:
        """A run needs it no more."""
        if not (self._kept and engine.is_fit_to_keep):
            self._here = {key: other for key, other in self._here.items() if other is not engine}
            engine.close()

    def end_run(self) -> None:
        """Let go of all that is private; unless they are kept, of the engines too."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = {}
        if not self._kept:
            self.close()
            return
        for engine in [*self._here.values(), *self._private]:
            self.let_go(engine)
        self._private = []
        if self._process is not None:
            self._process.ask("forget_shards")

    def close(self) -> None:
        """End all of it."""
        for engine in self._here.values():
            engine.close()
        self._here = {}
        if self._process is not None:
            self._process.close()
            self._process = None


def _environment(engines: Mapping[Role, EngineConfig]) -> dict[str, str]:
    """Of one process that has all of these engines."""
    each = [engine_environment(role, config) for role, config in engines.items()]
    together: dict[str, str] = {}
    for variables in each:
        together |= variables
    together["OMP_NUM_THREADS"] = str(max(int(variables["OMP_NUM_THREADS"]) for variables in each))
    if not all(_OFFLINE in variables for variables in each):
        together.pop(_OFFLINE, None)
    return together


_kept: Engines | None = None


@contextmanager
def kept_engines() -> Iterator[Engines]:
    """Within, local runs of this process leave their engines and the private process to the next run; for tests.

    An engine is taken again by a run that asks for one with the same role, settings and environment. Shards never are.
    The private process stays in the folder in which it was started: models must not be named by relative paths.
    """
    global _kept
    before, _kept = _kept, Engines(kept=True)
    try:
        yield _kept
    finally:
        _kept.close()
        _kept = before


@contextmanager
def engines_of_run() -> Iterator[Engines]:
    """Engines for one run: the kept ones, or such as end with it."""
    engines = _kept or Engines()
    try:
        yield engines
    finally:
        engines.end_run()
