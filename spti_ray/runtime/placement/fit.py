"""Whether bundles fit on a cluster's nodes, and where: pure functions on literal topologies, no Ray.

A bundle is never split over nodes, and a share of a GPU never over devices. Nodes that an autoscaler would add count
as nodes of their kind, up to the most that there may be. The packing is a good one (the largest first, each where it
leaves the least room) but no proof: where something is left over, another order might have had room for it. That a
bundle can never fit, on none of the kinds of nodes, is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from spti_ray.config import Config, Section
from spti_ray.config.loading import parse_section, read_mapping
from spti_ray.models.factory import engines_config
from spti_ray.runtime.placement.bundles import ACCELERATOR, Bundle, describe, plan, reservations

_WHOLE = 10_000
"""Ray counts resources in ten-thousandths; whole numbers add up without rounding."""

_NODE_ID = "ray.io/node-id"


class NodeKind(Section):
    """Nodes that are alike. `cpus`, `gpus`: of one node, free for the run."""

    name: str = Field(min_length=1)
    cpus: float = Field(ge=0)
    gpus: int = Field(default=0, ge=0)
    accelerator: str = Field(default="", description="Kind of its GPUs, by Ray's name: H100.")
    labels: dict[str, str] = Field(default={}, description="Other labels of Ray's.")
    there: int = Field(default=1, ge=0, description="Nodes that are there.")
    most: int | None = Field(
        default=None, ge=0, description="Up to which number an autoscaler adds; `there` by default."
    )

    @model_validator(mode="after")
    def _can_grow(self) -> NodeKind:
        if self.most is not None and self.most < self.there:
            raise ValueError(f"most {self.most} is smaller than there {self.there}")
        return self


class Topology(Section):
    """The nodes of a cluster, by kind."""

    nodes: tuple[NodeKind, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Fit:
    """Where bundles fit.

    Args:
        where: bundle and node (`kind/number`), in the bundles' order.
        add: nodes to be added, by kind.
        left: bundles without room, each with the reason in one line.
    """

    where: tuple[tuple[Bundle, str], ...]
    add: dict[str, int]
    left: tuple[tuple[Bundle, str], ...]


@dataclass
class _Node:
    """One node while it is filled; amounts in ten-thousandths, of the GPUs by device."""

    name: str
    kind: NodeKind
    order: int
    cpus: int = field(init=False)
    gpus: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.cpus = _ten_thousandths(self.kind.cpus)
        self.gpus = [_WHOLE] * self.kind.gpus

    def devices_for(self, bundle: Bundle) -> list[int] | None:
        """The GPUs that the bundle would take, or None if there is no room for it."""
        need = _ten_thousandths(bundle.num_gpus)
        if _ten_thousandths(bundle.num_cpus) > self.cpus:
            return None
        if need == 0:
            return []
        # The fullest device that will do, so that whole ones stay whole.
        able = sorted((free, i) for i, free in enumerate(self.gpus) if free >= min(need, _WHOLE))
        count = max(1, need // _WHOLE)
        return [i for _, i in able[:count]] if len(able) >= count else None

    def take(self, bundle: Bundle, devices: list[int]) -> None:
        self.cpus -= _ten_thousandths(bundle.num_cpus)
        for device in devices:
            self.gpus[device] -= min(_ten_thousandths(bundle.num_gpus), _WHOLE)

    def order_for(self, bundle: Bundle) -> tuple[int, ...]:
        """Which node to prefer: GPUs are kept for those who need them, then the wished kind, then the least room."""
        return (*_wish(bundle, self.kind), sum(self.gpus), self.cpus, self.order)


def fit(bundles: Sequence[Bundle], kinds: Sequence[NodeKind]) -> Fit:
    """Place all bundles on the nodes that are there and, where these are full, on added ones. Deterministic."""
    nodes = [_Node(f"{kind.name}/{i}", kind, i) for kind in kinds for i in range(kind.there)]
    for order, node in enumerate(nodes):
        node.order = order
    count = Counter({kind.name: kind.there for kind in kinds})
    add: Counter[str] = Counter()
    where: dict[int, str] = {}
    left: dict[int, str] = {}
    choosy = [sum(_accepts(bundle, kind) for kind in kinds) for bundle in bundles]
    before: tuple[Bundle, _Node] | None = None
    for i in sorted(range(len(bundles)), key=lambda i: (-bundles[i].num_gpus, choosy[i], -bundles[i].num_cpus, i)):
        bundle = bundles[i]
        # The node that was best for one just like it is still the best while it has room: shards are many.
        if before and _alike(bundle, before[0]) and (devices := before[1].devices_for(bundle)) is not None:
            before[1].take(bundle, devices)
            where[i] = before[1].name
            continue
        reason = why_never(bundle, kinds)
        if reason:
            left[i] = reason
            continue
        able = [node for node in nodes if _accepts(bundle, node.kind) and node.devices_for(bundle) is not None]
        if not able:
            new = [k for k in kinds if count[k.name] < (k.most or 0) and _accepts(bundle, k) and _holds(bundle, k)]
            if not new:
                left[i] = _why_not_now(bundle, nodes)
                continue
            kind = min(new, key=lambda kind: (*_wish(bundle, kind), kind.gpus, kind.cpus, kinds.index(kind)))
            able = [_Node(f"{kind.name}/{count[kind.name]}", kind, len(nodes))]
            nodes += able
            count[kind.name] += 1
            add[kind.name] += 1
        node = min(able, key=lambda node: node.order_for(bundle))
        node.take(bundle, node.devices_for(bundle) or [])
        where[i] = node.name
        before = bundle, node
    in_order = range(len(bundles))
    return Fit(
        where=tuple((bundles[i], where[i]) for i in in_order if i in where),
        add=dict(add),
        left=tuple((bundles[i], left[i]) for i in in_order if i in left),
    )


def best_free_kinds(bundles: Sequence[Bundle], nodes: Iterable[Mapping[str, Any]]) -> tuple[Bundle, ...]:
    """The bundles, each with only that of its kinds of GPU, in order of wish, of which it would get a free one now.

    Args:
        bundles: what is needed, all of it at the same time.
        nodes: as `ray.nodes()` tells them, with what is free.

    Returns:
        In the same order; a bundle for which nothing is free has all of its kinds.
    """
    kinds = {str(i): kind.model_copy(update={"name": str(i)}) for i, kind in enumerate(kinds_of(nodes))}
    # Bundles are all different: each has a role and an index of its own.
    found = {bundle: kinds[node.rpartition("/")[0]] for bundle, node in fit(bundles, tuple(kinds.values())).where}
    return tuple(
        replace(bundle, accelerators=(found[bundle].accelerator,))
        if bundle.accelerators and bundle in found
        else bundle
        for bundle in bundles
    )


def why_never(bundle: Bundle, kinds: Iterable[NodeKind]) -> str:
    """Why the bundle fits on no node of any kind, even an empty one, in one line; empty if it does on some."""
    possible = [kind for kind in kinds if max(kind.there, kind.most or 0) > 0]
    labelled = [kind for kind in possible if _has_labels(bundle, kind)]
    if not labelled:
        wanted = ", ".join(f"{name}={value}" for name, value in bundle.node_labels)
        gpu = f" and a GPU of kind {' or '.join(bundle.accelerators)}" if bundle.accelerators else ""
        return f"needs a node with the label(s) {wanted}{gpu}; none is there" if wanted else "there are no nodes"
    able = [kind for kind in labelled if not bundle.accelerators or kind.accelerator in bundle.accelerators]
    if not able:
        there = ", ".join(sorted({kind.accelerator or "an unknown kind" for kind in labelled if kind.gpus})) or "none"
        return f"needs a GPU of kind {' or '.join(bundle.accelerators)}; there is {there}"
    gpus = max(kind.gpus for kind in able)
    if bundle.num_gpus > gpus:
        return f"needs {bundle.num_gpus:g} GPU(s) on one node; the largest has {gpus}"
    if not any(_holds(bundle, kind) for kind in able):
        beside = f" beside {bundle.num_gpus:g} GPU(s)" if bundle.num_gpus else ""
        cpus = max(kind.cpus for kind in able if kind.gpus >= bundle.num_gpus)
        return f"needs {bundle.num_cpus:g} CPUs{beside} on one node; the largest has {cpus:g}"
    return ""


def kinds_of(nodes: Iterable[Mapping[str, Any]]) -> tuple[NodeKind, ...]:
    """The kinds of node of a cluster that is there, from what `ray.nodes()` says: as if nothing ran on them."""
    alike: Counter[tuple[float, int, tuple[tuple[str, str], ...]]] = Counter()
    for node in nodes:
        if node["Alive"]:
            labels = {name: value for name, value in (node.get("Labels") or {}).items() if name != _NODE_ID}
            amounts = node["Resources"]
            alike[amounts.get("CPU", 0.0), int(amounts.get("GPU", 0)), tuple(sorted(labels.items()))] += 1
    return tuple(
        NodeKind(
            name=dict(labels).get(ACCELERATOR) or (f"{gpus}-GPU node" if gpus else "CPU node"),
            cpus=cpus,
            gpus=gpus,
            accelerator=dict(labels).get(ACCELERATOR, ""),
            labels=dict(labels),
            there=count,
        )
        for (cpus, gpus, labels), count in sorted(alike.items())
    )


def fit_lines(bundles: Sequence[Bundle], found: Fit) -> list[str]:
    """The fit for people: how many of which role on which kind of node, what is to be added, and what is left."""
    counts = Counter((str(bundle.role), node.rpartition("/")[0]) for bundle, node in found.where)
    lines = [", ".join(f"{count} {role} on {kind}" for (role, kind), count in counts.items()) or "nothing fits"]
    if found.add:
        lines.append("to be added: " + ", ".join(f"{count} {kind}" for kind, count in found.add.items()))
    # One of a role stands for all that are left for the same reason.
    for (role, reason), count in Counter((str(bundle.role), reason) for bundle, reason in found.left).items():
        lines.append(f"no room for {count} of {sum(b.role == role for b in bundles)} {role}: each {reason}")
    return lines


def load_topology(path: Path) -> Topology:
    """Read a file of nodes. Raises ConfigError in one line."""
    return parse_section(Topology, read_mapping(path, "file of nodes", "`nodes:`, a list of kinds of node"))


def placed(config: Config, topology: Topology | None) -> tuple[bool, list[str]]:
    """Whether a run's actors fit on the nodes, and in lines what they need and where they run."""
    bundles = plan(config, engines_config(config.runtime.engines))
    if topology is None:
        return True, [describe(bundles)]
    asked = reservations(bundles)
    found = fit(asked, topology.nodes)
    return not found.left, [describe(bundles), *fit_lines(asked, found)]


def _why_not_now(bundle: Bundle, nodes: Iterable[_Node]) -> str:
    able = [node for node in nodes if _accepts(bundle, node.kind) and _holds(bundle, node.kind)]
    with_cpus = [node for node in able if node.cpus >= _ten_thousandths(bundle.num_cpus)]
    if any(sum(node.gpus) >= _ten_thousandths(bundle.num_gpus) > 0 for node in with_cpus):
        free = max(max(node.gpus) for node in with_cpus) / _WHOLE
        if bundle.num_gpus < 1:
            return f"needs {bundle.num_gpus:g} of one GPU; what is free is spread, at most {free:g} of any"
        return f"needs {bundle.num_gpus:g} whole GPU(s); what is free is shared out in parts"
    return f"needs one of {len(able)} node(s) that are full, and no more can be added"


def _alike(bundle: Bundle, other: Bundle) -> bool:
    return replace(bundle, index=other.index) == other


def _wish(bundle: Bundle, kind: NodeKind) -> tuple[int, int]:
    rank = bundle.accelerators.index(kind.accelerator) if bundle.accelerators else 0
    return int(kind.gpus > 0 and not bundle.num_gpus), rank


def _accepts(bundle: Bundle, kind: NodeKind) -> bool:
    return _has_labels(bundle, kind) and (not bundle.accelerators or kind.accelerator in bundle.accelerators)


def _has_labels(bundle: Bundle, kind: NodeKind) -> bool:
    labels = kind.labels | ({ACCELERATOR: kind.accelerator} if kind.accelerator else {})
    return all(labels.get(name) == value for name, value in bundle.node_labels)


def _holds(bundle: Bundle, kind: NodeKind) -> bool:
    return _ten_thousandths(bundle.num_cpus) <= _ten_thousandths(kind.cpus) and bundle.num_gpus <= kind.gpus


def _ten_thousandths(amount: float) -> int:
    return round(amount * _WHOLE)
