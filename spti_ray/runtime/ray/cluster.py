"""Starts or joins Ray and reserves the resources of a run."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import ray
from ray._private import worker
from ray._private.state import available_resources_per_node
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from spti_ray.config import RuntimeConfig
from spti_ray.errors import ResourcesNeverArrived
from spti_ray.io.urls import redacted_address
from spti_ray.runtime.placement.bundles import Bundle, describe, local_cpus, reservations
from spti_ray.runtime.placement.fit import best_free_kinds, fit, fit_lines, kinds_of, why_never
from spti_ray.runtime.ray.join import check_address, join
from spti_ray.runtime.ray.start import check_temporary_folder, local_ray
from spti_ray.runtime.ray.token import own_token

log = logging.getLogger(__name__)

_LOOK_UP_S = 1.0

_OBJECT_STORE_BYTES = 512 * 1024 * 1024
"""Enough for the batches in flight of a local run; on a cluster the nodes decide."""

WISH_S = 5.0
"""For so long the best kinds of GPU that are free are asked for; after that, others have taken them."""


class Reserved:
    """The resources that a run holds: a placement group for each role, with a bundle for each actor by its index.

    Roles that share their GPUs share a group, and their actors of one index a bundle.

    Ray has no order of wish for a bundle: any of its kinds of GPU will do. So each bundle asks for the best kind of
    which one is free. Only where none is it asks for any of them, and the autoscaler chooses, by the `priority` of its
    kinds of node, which it adds.
    """

    def __init__(self, bundles: tuple[Bundle, ...], joined: bool = False, owner: str = "") -> None:
        """`joined`: on a cluster that was there, so that actors may be on other machines than the driver.

        `owner` begins the names of the groups. Those that an earlier start of it has left are freed: a driver that was
        killed could not, and Ray keeps them for as long as it starts the driver again.
        """
        self.joined, self._owner = joined, owner
        if owner:
            _free_groups_of(owner)
        self._groups: dict[str, PlacementGroup] = {}
        self._holds = {str(bundle.role): bundle.group or str(bundle.role) for bundle in bundles}
        self._any_kind: dict[str, list[Bundle]] = {}
        """The groups that ask for less than will do, and what would do."""
        asked = reservations(bundles)
        has_wishes = any(len(bundle.accelerators) > 1 for bundle in asked)
        wished = best_free_kinds(asked, free_nodes()) if has_wishes else asked
        for name in dict.fromkeys(str(bundle.role) for bundle in asked):
            would_do = [bundle for bundle in asked if bundle.role == name]
            best = [bundle for bundle in wished if bundle.role == name]
            self._groups[name] = self._group(name, best)
            if best != would_do:
                self._any_kind[name] = would_do

    def of(self, bundle: Bundle) -> PlacementGroupSchedulingStrategy:
        """Where the bundle's actor is to be created."""
        return PlacementGroupSchedulingStrategy(
            placement_group=self._groups[self._holds[bundle.role]], placement_group_bundle_index=bundle.index
        )

    def wait(self, seconds: float) -> bool:
        """Whether all of it has arrived in time."""
        deadline = time.monotonic() + seconds
        if self._any_kind and not self._arrived(time.monotonic() + min(seconds, WISH_S)):
            for name, bundles in self._any_kind.items():
                if not self._groups[name].wait(0):
                    remove_placement_group(self._groups[name])
                    self._groups[name] = self._group(name, bundles)
        return self._arrived(deadline)

    def _arrived(self, deadline: float) -> bool:
        return all(_wait(group, deadline) for group in self._groups.values())

    def _group(self, name: str, bundles: list[Bundle]) -> PlacementGroup:
        return placement_group(
            [bundle.resources() for bundle in bundles],
            strategy="PACK",
            bundle_label_selector=[bundle.any_node() for bundle in bundles],
            name=f"{self._owner}-{name}-{secrets.token_hex(4)}" if self._owner else "",
        )

    def give_back(self, role: str) -> None:
        """Free what the actors of a role held; they must be gone, or they go with it."""
        name = self._holds.pop(role, None)
        if name is not None and name not in self._holds.values():
            remove_placement_group(self._groups.pop(name))

    def give_back_all(self) -> None:
        for role in tuple(self._holds):
            self.give_back(role)


def _wait(group: PlacementGroup, deadline: float) -> bool:
    """Whether the group arrives before `deadline`, by `time.monotonic`.

    It comes back to Python often: a driver that waits can be stopped.
    """
    while (left := deadline - time.monotonic()) > 0:
        if group.wait(min(left, _LOOK_UP_S)):
            return True
    return group.wait(0)


def _free_groups_of(owner: str) -> None:
    for group in placement_group_table().values():
        if group["name"].startswith(f"{owner}-") and group["state"] != "REMOVED":
            with suppress(ValueError):  # gone in this moment
                remove_placement_group(get_placement_group(group["name"]))


def free_nodes() -> list[dict[str, Any]]:
    """The nodes as `ray.nodes()` tells them, with what of each is free in place of what it has."""
    free = available_resources_per_node()
    return [node | {"Resources": free.get(node["NodeID"], {})} for node in ray.nodes()]


def address_of(runtime: RuntimeConfig) -> str | None:
    """The cluster to join: `runtime.address` or RAY_ADDRESS; None starts a local one."""
    address = runtime.address or os.environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address


def is_joined() -> bool:
    """Whether this process is part of a cluster already: somebody's driver, or an actor."""
    return ray.is_initialized()


def check_start(runtime: RuntimeConfig) -> None:
    """Refuse, cheaply and before anything is recorded, a Ray that can't be started or joined. Raises RayUnavailable."""
    if ray.is_initialized():
        return
    address = address_of(runtime)
    if address:
        check_address(address)
    else:
        check_temporary_folder()


@contextmanager
def session(address: str | None, timeout_s: float, **local: Any) -> Iterator[None]:
    """Ray for this process until the end: the cluster at `address`, or one of its own with the `local` settings."""
    # Set before Ray starts its processes: workers would otherwise print their own banners and send usage reports.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Actors without GPUs are given an empty CUDA_VISIBLE_DEVICES (`visible_gpus`), whatever Ray does about them; unset,
    # Ray warns about a coming change at each start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray starts workers at niceness 15: whatever else runs on the machine then takes an engine's cores from it.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Nor any workers beforehand: each actor of a run has an environment of its own, so it would wait behind them for a
    # new one.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    with _messages_logged(), _joined_or_started(address, timeout_s, local):
        yield


@contextmanager
def _messages_logged() -> Iterator[None]:
    """What Ray tells of lost workers goes into the log. It prints it, whatever `log_to_driver` says (ray 2.60)."""
    prints = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, **_: log.info("Ray: %s", " ".join(data["lines"]))
    try:
        yield
    finally:
        worker.print_to_stdstream = prints


@contextmanager
def _joined_or_started(address: str | None, timeout_s: float, local: dict[str, Any]) -> Iterator[None]:
    common = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "spti"}
    if address:
        join(address, **common)
        try:
            yield
        finally:
            ray.shutdown()
        return
    with own_token() as token, local_ray(timeout_s, token, include_dashboard=False, **local, **common):
        yield


@contextmanager
def cluster(runtime: RuntimeConfig, bundles: tuple[Bundle, ...], owner: str = "") -> Iterator[Reserved]:
    """A Ray connection and the resources of the bundles given back at the end, come what may.

    `owner` names the run, see `Reserved`.

    Joins `runtime.address` (or RAY_ADDRESS); else starts a local cluster that ends with this process.

    Raises:
        RayUnavailable: Ray could not be started or joined; one line.
        ResourcesNeverArrived: one line with what was asked for and what there is.
    """
    address = address_of(runtime)
    local = {"num_cpus": local_cpus(bundles, os.cpu_count() or 1), "object_store_memory": _OBJECT_STORE_BYTES}
    with nullcontext() if ray.is_initialized() else session(address, runtime.ray_start_timeout_s, **local):
        reserved: Reserved | None = None
        try:
            if not address or not runtime.autoscaling:
                _refuse_what_can_never_fit(bundles)
            reserved = Reserved(bundles, bool(address), owner)
            if not reserved.wait(runtime.placement_timeout_s):
                raise ResourcesNeverArrived(
                    f"resources did not arrive within {runtime.placement_timeout_s:g} s: the run needs "
                    f"{describe(bundles)}; the cluster has {_offered()}: {_why_not(bundles)}; lower runtime.engines "
                    "or add nodes"
                )
            yield reserved
        finally:
            if reserved is not None and ray.is_initialized():
                reserved.give_back_all()


def _refuse_what_can_never_fit(bundles: tuple[Bundle, ...]) -> None:
    kinds = kinds_of(ray.nodes())
    for bundle in reservations(bundles):
        reason = why_never(bundle, kinds)
        if reason:
            raise ResourcesNeverArrived(
                f"no node could ever hold a {bundle.role}: it {reason}; the run needs {describe(bundles)}, the cluster "
                f"has {_offered()}, and no nodes join it; lower runtime.engines or use other nodes"
            )


def _why_not(bundles: tuple[Bundle, ...]) -> str:
    asked = reservations(bundles)
    found = fit(asked, kinds_of(ray.nodes()))
    if found.left:
        return "; ".join(fit_lines(asked, found)[1:])
    return "they would do, but others use them"


def _offered() -> str:
    there = ray.cluster_resources()
    counts = {"CPU": there.get("CPU", 0), "GPU": there.get("GPU", 0)}
    return " and ".join(f"{count:g} {name}{'' if count == 1 else 's'}" for name, count in counts.items())


def probe() -> str:
    """Start or join Ray as a run would, and say what it offers (for `spti doctor`). Raises RayUnavailable."""
    runtime = RuntimeConfig()
    address = address_of(runtime)
    with session(address, runtime.ray_start_timeout_s, num_cpus=1):
        # A local cluster is started small here, and by a run with as many CPUs as it asks for: the number says nothing.
        where = f"joined {redacted_address(address)}: {_offered()}" if address else "a local cluster starts"
        return f"{where} (ray {ray.__version__})"
