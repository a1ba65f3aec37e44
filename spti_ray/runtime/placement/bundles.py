"""From the configuration to the bundles of resources that a run needs. Pure functions, no Ray."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.config.method_traits import has_shards, roles_needed, shard_gpus


@dataclass(frozen=True)
class Bundle:
    """Resources of one actor.

    Args:
        role: of the engine, or "shard".
        index: the number of the replica, or of the shard.
        num_cpus, num_gpus: what the actor is given; shares are possible.
        accelerators: the kinds of GPU that will do, the best first; empty: any.
        node_labels: other labels that a node must have.
        group: the name of the resources that it is a part of, if its role shares a GPU with others.
    """

    role: Role | str
    index: int
    num_cpus: float
    num_gpus: float
    accelerators: tuple[str, ...] = ()
    node_labels: tuple[tuple[str, str], ...] = ()
    group: str = ""

    def resources(self) -> dict[str, float]:
        """Ray's form; zero amounts are left out, since Ray refuses them."""
        amounts = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        return {name: amount for name, amount in amounts.items() if amount > 0} or {"CPU": 0.01}

    def any_node(self) -> dict[str, str]:
        """The label selector of a node that will do, with any of the wanted kinds of GPU."""
        kinds = {ACCELERATOR: f"in({','.join(self.accelerators)})"} if self.accelerators else {}
        return dict(self.node_labels) | kinds


ACCELERATOR = "ray.io/accelerator-type"
"""Ray's label of a node with GPUs: its kind, such as H100."""


def plan(config: Config, engines: EnginesConfig, roles: tuple[Role, ...] | None = None) -> tuple[Bundle, ...]:
    """One bundle for each actor that must be there from the start; `roles`: of the engines, by default a run's."""
    bundles: list[Bundle] = [
        bundle_of(role, index, config, engines)
        for role in (roles_needed(config) if roles is None else roles)
        for index in range(engines.of(role).replicas)
    ]
    labels = _node_labels(config, "shard")
    shards = config.runtime.shards if has_shards(config) else 0
    cpus, gpus = config.runtime.shard.num_cpus, shard_gpus(config)
    bundles += [Bundle("shard", index, cpus, gpus, node_labels=labels) for index in range(shards)]
    return tuple(bundles)


def bundle_of(role: Role, index: int, config: Config, engines: EnginesConfig) -> Bundle:
    """What the `index`-th replica of a role needs."""
    engine = engines.of(role)
    sharing = config.runtime.take_turns
    labels = _node_labels(config, role)
    group = "+".join(sharing) if role in sharing else ""
    kinds = engine.accelerators if engine.num_gpus else ()  # an engine without a GPU asks for no kind of it
    return Bundle(role, index, engine.num_cpus, engine.num_gpus, kinds, labels, group)


def reservations(bundles: Iterable[Bundle]) -> tuple[Bundle, ...]:
    """What Ray is asked for: bundles of one group and index are one, so that they are on one GPU.

    Its role is the group's name, such as `writer+renderer`.
    """
    asked: dict[tuple[str, int], Bundle] = {}
    for bundle in bundles:
        key = bundle.group or bundle.role, bundle.index
        before = asked.get(key)
        cpus, gpus = (before.num_cpus, before.num_gpus) if before else (0.0, 0.0)
        asked[key] = replace(bundle, role=key[0], num_cpus=cpus + bundle.num_cpus, num_gpus=gpus + bundle.num_gpus)
    return tuple(asked.values())


def _node_labels(config: Config, role: Role | Literal["shard"]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(config.runtime.node_labels.get(role, {}).items()))


def local_cpus(bundles: tuple[Bundle, ...], physical: int) -> int:
    """Logical CPUs of a local cluster: the machine's, or more if its actors need more: they then share them."""
    return max(physical, math.ceil(sum(bundle.num_cpus for bundle in bundles) + 0.5))


def describe(bundles: tuple[Bundle, ...]) -> str:
    """One line: how many actors of which role, and what they need together."""
    roles: dict[str, int] = {}
    for bundle in bundles:
        roles[str(bundle.role)] = roles.get(str(bundle.role), 0) + 1
    cpus, gpus = sum(b.num_cpus for b in bundles), sum(b.num_gpus for b in bundles)
    actors = ", ".join(f"{count} {role}" for role, count in roles.items())
    return f"{actors}: {cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
