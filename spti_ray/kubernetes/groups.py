"""Plans worker groups from a configuration: pods of each role, kind of GPU and market (spot or on demand)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from spti_ray.config import Config, EngineConfig, EnginesConfig, Role
from spti_ray.config.method_traits import roles_needed
from spti_ray.kubernetes.settings import Cluster, Nodes
from spti_ray.runtime.placement.bundles import ACCELERATOR

ROLE_LABEL = "spti-ray/role"
"""The label by which Ray finds the nodes of a role."""

MARKET_LABEL = "ray.io/market-type"

Market = Literal["spot", "on-demand"]


@dataclass(frozen=True)
class WorkerGroup:
    """Pods of one kind.

    `roles`: the roles that they are for; several if these take turns on a GPU. `cpus`, `gpus` and `memory_gib`: of one
    pod. `replicas`: pods asked for at the start; `most`: the autoscaler's upper limit. `priority`: the autoscaler
    prefers the group with the higher one. `nodes`: how Kubernetes finds their nodes.
    """

    name: str
    roles: tuple[Role | Literal["shard"], ...]
    market: Market
    accelerator: str
    cpus: int
    gpus: int
    memory_gib: int
    replicas: int
    most: int
    priority: int
    nodes: tuple[Nodes, ...]

    @property
    def role(self) -> str:
        """The value of ROLE_LABEL."""
        return "-".join(self.roles)

    @property
    def labels(self) -> dict[str, str]:
        """Ray's labels of the group's nodes."""
        kind = {ACCELERATOR: self.accelerator} if self.accelerator else {}
        return {ROLE_LABEL: self.role, MARKET_LABEL: self.market} | kind


def worker_groups(config: Config, engines: EnginesConfig, cluster: Cluster) -> tuple[WorkerGroup, ...]:
    """The worker groups of all roles that a configuration needs, and of the shards.

    A role has one group for each kind of GPU that it accepts, on spot nodes and on others. Priorities prefer the kind
    of GPU that is listed first and, of one kind, spot nodes.
    """
    groups: list[WorkerGroup] = []
    in_turn = config.runtime.take_turns
    for role in roles_needed(config):
        if role not in in_turn:
            groups.extend(_of_roles((role,), engines.of(role), cluster))
        elif role == in_turn[0]:
            groups.extend(_of_roles(in_turn, _together([engines.of(role) for role in in_turn]), cluster))
    per_pod = min(cluster.shards_per_pod, config.runtime.shards)
    pods = math.ceil(config.runtime.shards / per_pod)
    # Shards are never on spot nodes: a shard that is restarted reads and embeds its private images again.
    shards = WorkerGroup(
        name="vote",
        roles=("shard",),
        market="on-demand",
        accelerator="",
        cpus=max(1, math.ceil(per_pod / 4)),
        gpus=0,
        memory_gib=per_pod * cluster.shard_memory_gib,
        replicas=pods,
        most=pods,
        priority=0,
        nodes=(),
    )
    if not cluster.autoscaling:
        groups = [replace(group, most=group.replicas, priority=0) for group in groups if group.replicas]
    return (*groups, shards)


def _together(engines: list[EngineConfig]) -> EngineConfig:
    """Engines that take turns on a GPU, as one engine that needs what they need together."""
    needs = {"num_cpus": sum(e.num_cpus for e in engines), "num_gpus": sum(e.num_gpus for e in engines)}
    return engines[0].model_copy(update=needs)


def _of_roles(roles: tuple[Role, ...], engine: EngineConfig, cluster: Cluster) -> list[WorkerGroup]:
    cpus, gpus, per_pod = pod_of(engine)
    most = math.ceil((engine.max_replicas or engine.replicas) / per_pod)
    kinds = (engine.accelerators or ("",)) if gpus else ("",)
    markets: tuple[Market, ...] = ("spot", "on-demand") if cluster.spot and cluster.autoscaling else ("on-demand",)
    wished: list[tuple[str, Market]] = [(kind, market) for kind in kinds for market in markets]
    groups: list[WorkerGroup] = []
    for place, (kind, market) in enumerate(wished):
        parts = [
            "-".join(roles).replace("_", "-"),
            *([kind.lower()] if kind else []),
            *(["spot"] if market == "spot" else []),
        ]
        nodes = [cluster.gpus.get(kind), cluster.spot if market == "spot" else None]
        groups.append(
            WorkerGroup(
                name="-".join(parts),
                roles=roles,
                market=market,
                accelerator=kind,
                cpus=cpus,
                gpus=gpus,
                # An engine that sleeps keeps its weights in the machine's memory.
                memory_gib=sum(cluster.memory_gib.get(role, 64 if gpus else 16) for role in roles),
                # The replicas of the start are all in the group with the highest priority.
                replicas=math.ceil(engine.replicas / per_pod) if place == 0 else 0,
                most=most,
                priority=len(wished) - 1 - place,
                nodes=tuple(node for node in nodes if node is not None),
            )
        )
    return groups


def pod_of(engine: EngineConfig) -> tuple[int, int, int]:
    """(CPUs, GPUs, engines) of one pod: a whole number of GPUs (or CPUs), and as many engines as fit on them."""
    if engine.num_gpus > 0:
        gpus = math.ceil(engine.num_gpus)
        per_pod = max(1, math.floor(gpus / engine.num_gpus + 1e-9))
        return max(1, math.ceil(per_pod * engine.num_cpus)), gpus, per_pod
    cpus = max(1, math.ceil(engine.num_cpus))
    return cpus, 0, max(1, math.floor(cpus / engine.num_cpus + 1e-9)) if engine.num_cpus else 1
