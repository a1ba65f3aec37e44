"""Plans worker groups from a configuration: pods of each role, kind of GPU and market (spot or on demand)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from spti_ray.config import Config, EngineConfig, EnginesConfig, Role
from spti_ray.config.method_traits import roles_needed, shard_gpus
from spti_ray.kubernetes.pod_settings import Nodes
from spti_ray.kubernetes.settings import Cluster
from spti_ray.runtime.placement.bundles import ACCELERATOR

ROLE_LABEL = "spti-ray/role"
"""The label by which Ray finds the nodes of a role."""

MARKET_LABEL = "ray.io/market-type"

Market = Literal["spot", "on-demand"]


@dataclass(frozen=True)
class WorkerGroup:
    """Pods of one kind.

    `roles`: the roles that they are for; several if these take turns on a GPU. `cpus`, `gpus` and `memory_gib`: of one
    pod. `engines`: how many of them one pod has. `replicas`: pods asked for at the start; `most`: the autoscaler's
    upper limit. `priority`: the autoscaler prefers the group with the higher one. `nodes`: how Kubernetes finds their
    nodes.
    """

    name: str
    roles: tuple[Role | Literal["shard"], ...]
    market: Market
    accelerator: str
    cpus: int
    gpus: int
    engines: int
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
    of GPU that is listed first and, of one kind, spot nodes. With autoscaling all of them start from zero: KubeRay
    submits a job when every pod that was asked for runs, and a node that never comes would hold it up for ever; what
    the driver asks for once it runs can come from the next group.

    Raises:
        ValueError: a kind of GPU of which the cluster's settings say nothing; a role that would have no pod; one line.
    """
    groups: list[WorkerGroup] = []
    in_turn = config.runtime.take_turns
    for role in roles_needed(config):
        if role not in in_turn:
            groups.extend(_of_roles((role,), engines.of(role), cluster))
        elif role == in_turn[0]:
            groups.extend(_of_roles(in_turn, _together([engines.of(role) for role in in_turn]), cluster))
    shard, gpus = config.runtime.shard, shard_gpus(config)
    per_pod = min(cluster.shards_per_pod, config.runtime.shards)
    if gpus:
        per_pod = min(per_pod, math.floor(1 / gpus + 1e-9))  # a pod has one GPU
    pods = math.ceil(config.runtime.shards / per_pod)
    # Shards are never on spot nodes: a shard that is restarted reads and embeds its private images again.
    shards = WorkerGroup(
        name="vote",
        roles=("shard",),
        market="on-demand",
        accelerator="",
        cpus=max(1, math.ceil(per_pod / 4), math.ceil(per_pod * shard.num_cpus - 1e-9)),
        gpus=math.ceil(gpus),
        engines=per_pod,
        memory_gib=per_pod * cluster.shard_memory_gib,
        replicas=pods,
        most=pods,
        priority=0,
        nodes=(cluster.any_gpu,) if gpus else (),
    )
    if cluster.autoscaling:
        return tuple(replace(group, replicas=0) for group in (*groups, shards))
    return (*(replace(group, most=group.replicas, priority=0) for group in groups if group.replicas), shards)


def _together(engines: list[EngineConfig]) -> EngineConfig:
    """Engines that take turns on a GPU, as one engine that needs what they need together."""
    needs = {"num_cpus": sum(e.num_cpus for e in engines), "num_gpus": sum(e.num_gpus for e in engines)}
    return engines[0].model_copy(update=needs)


def _of_roles(roles: tuple[Role, ...], engine: EngineConfig, cluster: Cluster) -> list[WorkerGroup]:
    cpus, gpus, per_pod = pod_of(engine)
    where = f"runtime.engines.{roles[0]}"
    if not engine.replicas and not cluster.autoscaling:
        raise ValueError(f"{where}.replicas: is 0, but without autoscaling no engine would ever come: give a number")
    if gpus and (unknown := [kind for kind in engine.accelerators if kind not in cluster.gpus]):
        known = f" (known: {', '.join(cluster.gpus)})" if cluster.gpus else ""
        raise ValueError(
            f"{where}.accelerators: the cluster's settings do not say which nodes have {unknown[0]}{known}: add it to "
            "their gpus, or leave it out"
        )
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
        nodes = [cluster.gpus[kind] if kind else cluster.any_gpu if gpus else None]
        nodes.append(cluster.spot if market == "spot" else None)
        groups.append(
            WorkerGroup(
                name="-".join(parts),
                roles=roles,
                market=market,
                accelerator=kind,
                cpus=cpus,
                gpus=gpus,
                # Of those that take turns, one works at a time.
                engines=1 if len(roles) > 1 else per_pod,
                # An engine that sleeps keeps its weights in the machine's memory.
                memory_gib=sum(cluster.memory_gib.get(role, 64 if gpus else 16) for role in roles),
                # Without autoscaling, the replicas of the start are all in the first group.
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


def pod_wait_s(groups: Iterable[WorkerGroup], cluster: Cluster) -> int:
    """After how many seconds the autoscaler gives a pod up that did not come, and asks for one of the next group.

    All groups of a role have their turn, and one of them a second one, within `node_wait_s`.

    Raises:
        ValueError: `pod_wait_s` is set, and leaves the last of them no turn; one line.
    """
    kinds = max(Counter(group.role for group in groups).values())
    if cluster.pod_wait_s is None:
        return max(1, cluster.node_wait_s // (kinds + 1))
    if cluster.pod_wait_s * kinds >= cluster.node_wait_s:
        raise ValueError(
            f"pod_wait_s: {cluster.pod_wait_s} s for each of {kinds} kinds of node are no less than node_wait_s "
            f"({cluster.node_wait_s}): the last of them would not be waited for; lower it, or raise node_wait_s"
        )
    return cluster.pod_wait_s
