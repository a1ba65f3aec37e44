"""The actor in which a run's driver works on a cluster, and its handle for the commands that watch it.

Ray starts it again when its process or node dies; it then goes on from the ledger and the run's folder, as the same
command would. Clean sums of votes are in this process, of which Ray keeps output and errors: it prints nothing, leaves
no core dump, and raises nothing.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import ray
from ray.exceptions import ActorDiedError, ActorUnschedulableError, GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from spti_ray.config import RuntimeConfig
from spti_ray.errors import ResourcesNeverArrived
from spti_ray.private.output_suppression import suppress_crash_output, suppress_streams_permanently
from spti_ray.runtime.ray.visible_gpus import environment

MAX_RESTARTS = 20
"""So often Ray starts a driver again that died by itself. A lost spot node does not count."""

_KEPT_S = 10.0
"""A driver whose run has ended goes when nobody has looked for so long."""

_ANSWERS_WITHIN_S = 30.0
_AGAIN_S = 0.2


class Work(Protocol):
    """What an actor does in a thread of its own."""

    def run(self) -> None:
        """Do it. Raises nothing; KeyboardInterrupt is raised in it when it is to stop."""
        ...

    def look(self, seen: int) -> Any:
        """How far it is; `seen` says how many lines the caller has seen."""
        ...


@ray.remote
class DriverActor:
    """Does one piece of work, once; started again, it does it again."""

    def __init__(self, claim: str, folder: str, make: Callable[[], Work]) -> None:
        """`claim` says which work it is; `folder`: what relative paths are relative to; `make` is called here."""
        suppress_crash_output()
        suppress_streams_permanently()
        os.chdir(folder)
        self._claim, self._life = claim, secrets.token_hex(4)
        self._looked = time.monotonic()
        self._work = make()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def claim(self) -> tuple[str, bool]:
        """Which work this is, and whether it is under way."""
        return self._claim, self._thread.is_alive()

    def look(self, life: str, seen: int) -> tuple[str, Any]:
        """(name of this start of the process, how far it is); `seen` lines were seen in the start named `life`."""
        self._looked = time.monotonic()
        return self._life, self._work.look(seen if life == self._life else 0)

    def stop(self) -> None:
        """Have the work interrupted, as by Ctrl-C."""
        if self._thread.ident is not None and self._thread.is_alive():
            # At the thread's next step in Python, which is a second away at most.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident), ctypes.py_object(KeyboardInterrupt)
            )

    def _run(self) -> None:
        self._work.run()
        threading.Thread(target=self._leave, daemon=True).start()

    def _leave(self) -> None:
        while time.monotonic() - self._looked < _KEPT_S:
            time.sleep(_KEPT_S / 10)
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


_class: Any = DriverActor


class DriverLost(RuntimeError):
    """The driver's actor is gone for good; one line."""


class HostedDriver:
    """The driver of a run on the cluster that this process has joined: started, or found at work.

    Args:
        name: of the actor; there is one of a name.
        claim: which work it does. Another claim under this name is not joined.
        make: makes the work, in the actor.
        runtime: where the actor may be.

    Raises:
        NameTaken: other work is under way by this name.
        ResourcesNeverArrived: no node takes the actor.
    """

    def __init__(self, name: str, claim: str, make: Callable[[], Work], runtime: RuntimeConfig) -> None:
        self.name = name
        self._life, self._seen = "", 0
        self._actor, self.joined = self._start_or_join(claim, make, runtime)

    def _start_or_join(self, claim: str, make: Callable[[], Work], runtime: RuntimeConfig) -> tuple[Any, bool]:
        """The actor, and whether it was there."""
        deadline = time.monotonic() + runtime.placement_timeout_s
        while True:
            there = _found(self.name)
            actor: Any = there or _class.options(
                name=self.name,
                get_if_exists=True,
                # What watches it may go, as a broken connection does: it is stopped by being told.
                lifetime="detached",
                max_restarts=MAX_RESTARTS,
                max_task_retries=0,
                **_where(runtime),
            ).remote(claim, os.getcwd(), make)
            try:
                known, under_way = ray.get(actor.claim.remote(), timeout=max(1.0, deadline - time.monotonic()))
            except (GetTimeoutError, ActorUnschedulableError):  # the latter where it may be on one node alone
                if there is None:
                    ray.kill(actor, no_restart=True)
                raise ResourcesNeverArrived(
                    f"no node took the run's driver within {runtime.placement_timeout_s:g} s: it wants "
                    f"{_wanted(runtime)}; see runtime.driver"
                ) from None
            except RayActorError:
                # On its way out, or back.
                if time.monotonic() > deadline:
                    raise DriverLost(f"the run's driver could not be started ({self.name})") from None
                time.sleep(_AGAIN_S)
                continue
            except RayTaskError as error:
                raise DriverLost(f"the run's driver could not be started ({type(error.cause).__name__})") from None
            if under_way and known != claim:
                raise NameTaken(self.name)
            if under_way or there is None:
                return actor, there is not None
            # It ended a moment ago: this is another attempt.
            ray.kill(actor, no_restart=True)
            time.sleep(_AGAIN_S)

    def look(self) -> tuple[bool, Any]:
        """(whether its process was started again since the last look, how far it is); None while it does not answer.

        Raises:
            DriverLost: it will not come back.
        """
        try:
            life, what = ray.get(self._actor.look.remote(self._life, self._seen), timeout=_ANSWERS_WITHIN_S)
        except ActorDiedError:
            raise DriverLost(
                "the run's driver is gone for good: its process died too often, or it was killed"
            ) from None
        except (RayActorError, GetTimeoutError):
            return False, None
        again = bool(self._life) and life != self._life
        if again:
            self._seen = 0
        self._life = life
        self._seen += len(what.notes)
        return again, what

    def stop(self) -> None:
        """Have the run interrupted; its end is seen by looking."""
        try:
            ray.get(self._actor.stop.remote(), timeout=_ANSWERS_WITHIN_S)
        except (RayActorError, GetTimeoutError):
            return

    def kill(self) -> None:
        """End the actor for good, whatever it does; what it started goes with it."""
        ray.kill(self._actor, no_restart=True)


class NameTaken(RuntimeError):
    """Other work is under way by a driver's name."""


def _found(name: str) -> Any:
    try:
        return ray.get_actor(name)
    except ValueError:
        return None


def _where(runtime: RuntimeConfig) -> dict[str, Any]:
    """Options that say on which nodes the actor may be."""
    asked = runtime.driver
    # Ray would give it a single thread.
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
    options: dict[str, Any] = {
        "num_cpus": asked.num_cpus,
        "num_gpus": 0,
        **environment({"OMP_NUM_THREADS": threads}, num_gpus=0),
    }
    if asked.may_move:
        return options | {"resources": dict(asked.resources), "label_selector": dict(asked.labels)}
    # Where this command is, as a job's is on the head: the folders that it was given are there.
    here = ray.get_runtime_context().get_node_id()
    return options | {"scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}


def _wanted(runtime: RuntimeConfig) -> str:
    asked = runtime.driver
    parts = [f"{asked.num_cpus:g} CPUs"] + [f"{amount:g} {name}" for name, amount in asked.resources.items()]
    parts += [f"a node labelled {name}={value}" for name, value in asked.labels.items()]
    return ", ".join(parts) if asked.may_move else f"{parts[0]} on this node"
