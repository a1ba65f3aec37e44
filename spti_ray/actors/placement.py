"""Planning: from the configuration to the bundles of resources that a run needs. Pure functions, no Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spti_ray.config import Config, EnginesConfig, Role

_SHARD_CPUS = 0.1
"""A shard only counts votes between long waits for the embedder; it must never hold back an engine's core."""


@dataclass(frozen=True)
class Bundle:
    """Resources of one actor: the `index`-th replica of an engine role, or a shard."""

    role: Role | str
    index: int
    num_cpus: float
    num_gpus: float

    def resources(self) -> dict[str, float]:
        """Ray's form; zero amounts are left out, since Ray refuses them."""
        amounts = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        return {name: amount for name, amount in amounts.items() if amount > 0} or {"CPU": 0.01}


def roles_needed(config: Config) -> tuple[Role, ...]:
    """The engine roles that this configuration uses, in the order in which they should start (slowest first)."""
    roles: list[Role] = ["writer", "renderer"]
    if "image" in config.evolution.spaces:
        roles.append("image_embedder")
    if "text" in config.evolution.spaces:
        roles.extend(("captioner", "text_embedder"))
    return tuple(roles)


def plan(config: Config, engines: EnginesConfig) -> tuple[Bundle, ...]:
    """One bundle per actor."""
    bundles: list[Bundle] = [
        Bundle(role, index, engines.of(role).num_cpus, engines.of(role).num_gpus)
        for role in roles_needed(config)
        for index in range(engines.of(role).replicas)
    ]
    bundles += [Bundle("shard", index, _SHARD_CPUS, 0.0) for index in range(config.runtime.shards)]
    return tuple(bundles)


def local_cpus(bundles: tuple[Bundle, ...], physical: int) -> int:
    """Logical CPUs of a local cluster: the machine's, or more when its actors have to take turns on them."""
    return max(physical, math.ceil(sum(bundle.num_cpus for bundle in bundles) + 0.5))


def describe(bundles: tuple[Bundle, ...]) -> str:
    """One line: how many actors of which role, and what they need together."""
    roles: dict[str, int] = {}
    for bundle in bundles:
        roles[str(bundle.role)] = roles.get(str(bundle.role), 0) + 1
    cpus, gpus = sum(b.num_cpus for b in bundles), sum(b.num_gpus for b in bundles)
    actors = ", ".join(f"{count} {role}" for role, count in roles.items())
    return f"{actors}: {cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
