"""A run on a cluster: its driver is an actor there, and the command that started it watches.

The command may go, be broken off or be given again: the run goes on. It is stopped by SIGTERM, by Ctrl-C, and by
whatever ends a job. Two commands that watch one run see the same.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from spti_ray.config import Config, Role
from spti_ray.config.identity import config_sha256
from spti_ray.config.job_paths import check_may_move
from spti_ray.config.loading import ConfigError
from spti_ray.driver.process import Terminated, is_to_stop, stopped_by_sigterm
from spti_ray.errors import FAILED, INTERRUPTED, EndedElsewhere, exit_code, is_known, one_line
from spti_ray.observability.journal import Journal, Relay
from spti_ray.observability.reading import Reading
from spti_ray.planning.checks import check_models

if TYPE_CHECKING:
    from spti_ray.runtime.ray.driver_actor import HostedDriver

_LOOK_S = 0.5
_STOPS_WITHIN_S = 60.0
"""After which a driver that was told to stop is killed: what it has not finished is made again, as after any crash."""


@dataclass(frozen=True)
class End:
    """How a run ended: the release's folder, or the line that says why there is none, with the exit code."""

    code: int
    text: str


@dataclass(frozen=True)
class Look:
    """What somebody who watches a run sees of it. All of it is public."""

    reading: Reading
    notes: tuple[str, ...]
    """Lines that stay, after those that were seen."""
    end: End | None


class HostedRun:
    """A run in the actor of its driver; see `DriverActor`."""

    def __init__(self, config: Config, out: Path, unattended: bool) -> None:
        self._config, self._out, self._unattended = config, out, unattended
        self._journal = Journal()
        self._end: End | None = None

    def run(self) -> None:
        from spti_ray.driver.driver import run_config

        try:
            release = run_config(self._config, self._out, unattended=self._unattended, journal=self._journal)
            self._end = End(0, str(release))
        except KeyboardInterrupt:
            self._end = End(FAILED, INTERRUPTED)
        except BaseException as error:  # noqa: BLE001 Ray would keep what it says, and its traceback
            line = one_line(error)
            if not is_known(error):
                line = f"unexpected {type(error).__name__}; {self._out / 'internal' / 'driver.log'} says where"
            self._end = End(exit_code(error), line)

    def look(self, seen: int) -> Look:
        # The end first: what was noted before it is then there too.
        end = self._end
        return Look(self._journal.reading(), tuple(self._journal.notes[seen:]), end)


def cluster_of(config: Config) -> str | None:
    """The address of the cluster on which the driver of the run is an actor; None where it is this process.

    It is this process where Ray ends with it, where it has joined a cluster by itself, and where the cluster is seen
    through a `ray://` address: the run's folder is on this machine then.
    """
    if config.runtime.executor != "ray":
        return None
    from spti_ray.runtime.ray.cluster import address_of, is_joined

    address = address_of(config.runtime)
    return None if is_joined() or not address or address.startswith("ray://") else address


def is_all_here(config: Config) -> bool:
    """Whether the engines of the run are on this machine for sure: it joins no cluster, and none was joined."""
    if config.runtime.executor != "ray":
        return True
    from spti_ray.runtime.ray.cluster import address_of, is_joined

    return address_of(config.runtime) is None and not is_joined()


def check_models_here(config: Config, roles: Iterable[Role]) -> None:
    """Refuse models that can't be had, where all engines are on this machine. Of other machines their actors say it.

    Args:
        config: the configuration.
        roles: whose engines are started.

    Raises:
        ModelNotFound: one line that names the setting.
    """
    if is_all_here(config):
        check_models(config, roles)


def watched(config: Config, out: Path, address: str, console: Console, unattended: bool) -> Path:
    """Have the run's driver started on the cluster, or join it where it is at work; the release's folder at its end.

    Args:
        config: the configuration.
        out: the run's folder.
        address: of the cluster.
        console: where to show what it says.
        unattended: see `run_config`.

    Raises:
        ConfigError: a run with other settings is at work in the folder, or a place that only this node has.
        EndedElsewhere: the run failed; one line and its exit code.
        RayUnavailable, ResourcesNeverArrived: there is no cluster, or no room for the driver.
    """
    out = Path(os.path.abspath(out))
    if config.runtime.driver.may_move:
        check_may_move(config, out)
    from spti_ray.runtime.ray.cluster import session
    from spti_ray.runtime.ray.driver_actor import HostedDriver, NameTaken

    name = f"driver-{config.dataset.id}-{hashlib.sha256(str(out).encode()).hexdigest()[:12]}"
    runtime = config.runtime.model_copy(update={"address": address})
    make = partial(HostedRun, config.model_copy(update={"runtime": runtime}), out, unattended)
    with stopped_by_sigterm(), session(address, config.runtime.ray_start_timeout_s):
        try:
            driver = HostedDriver(name, config_sha256(config), make, runtime)
        except NameTaken:
            raise ConfigError(
                f"{out}: a run with other settings is at work there ({name}); wait for its end, or use another --out"
            ) from None
        if driver.joined:
            console.print(f"{out} is being made: watching it", highlight=False, soft_wrap=True)
        end = _watch(driver, console)
    if end.code:
        raise EndedElsewhere(end.text, end.code)
    return Path(end.text)


def _watch(driver: HostedDriver, console: Console) -> End:
    """Show how far the run is until its end."""
    with Relay(console) as shown:
        lost_sight = False
        while True:
            try:
                again, look = driver.look()
                if look is None and not lost_sight:
                    shown.note("the run's driver does not answer; looking for it")
                lost_sight = look is None
                if again:
                    shown.note("the run's driver was started again; it goes on from the ledger and the run's folder")
                if look is not None:
                    for line in look.notes:
                        shown.note(line)
                    shown.take(look.reading)
                    if look.end:
                        return look.end
                time.sleep(_LOOK_S)
            except Terminated:
                return _stopped(driver)
            except KeyboardInterrupt:
                break
    if is_to_stop("run"):
        return _stopped(driver)
    raise EndedElsewhere("no longer watching; the run goes on, and the same command watches it again", 0)


def _stopped(driver: HostedDriver) -> End:
    """Have the run stopped, and wait until it has given back what it held."""
    driver.stop()
    deadline = time.monotonic() + _STOPS_WITHIN_S
    while time.monotonic() < deadline:
        _, look = driver.look()
        if look is not None and look.end:
            return look.end
        time.sleep(_LOOK_S)
    driver.kill()
    return End(FAILED, INTERRUPTED)
