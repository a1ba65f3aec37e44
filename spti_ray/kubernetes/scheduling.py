"""On which nodes pods are put, and which pods must be left where they are."""

from __future__ import annotations

from collections.abc import Iterable

from spti_ray.kubernetes.kuberay_rules import Tree
from spti_ray.kubernetes.pod_settings import Nodes
from spti_ray.kubernetes.settings import Cluster

GPU = "nvidia.com/gpu"
"""What pods ask for, and by which taint nodes with GPUs keep others off."""

MUST_STAY = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Annotations of pods that no autoscaler of nodes may move, however empty their node is: the driver ends with its pod,
and a shard that is moved reads and embeds its private images again."""


def placement(cluster: Cluster, nodes: Iterable[Nodes] = (), spot: bool = False, gpus: int = 0) -> Tree:
    """The part of a pod's specification that says on which nodes it may be.

    Args:
        cluster: The cluster's settings.
        nodes: What its nodes are like, beside whether they are spot nodes.
        spot: Whether it is for spot nodes, whose settings are then among `nodes`. All others keep off these.
        gpus: How many GPUs it asks for.
    """
    wanted = [*nodes, *([cluster.on_demand] if cluster.on_demand and not spot else [])]
    selector = {key: value for kind in wanted for key, value in kind.node_selector.items()}
    tolerations = [dict(toleration) for kind in wanted for toleration in kind.tolerations]
    if gpus and not any(toleration.get("key") in (None, GPU) for toleration in tolerations):
        tolerations.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    found: Tree = {}
    if selector:
        found["nodeSelector"] = selector
    if cluster.spot and cluster.spot.node_selector and not spot:
        found["affinity"] = {"nodeAffinity": _other_than(cluster.spot.node_selector)}
    if tolerations:
        found["tolerations"] = tolerations
    return found


def _other_than(labels: dict[str, str]) -> Tree:
    """Nodes that do not have all of these labels. Terms are alternatives, and a node without a label will do too."""
    terms = [
        {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]} for key, value in labels.items()
    ]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
