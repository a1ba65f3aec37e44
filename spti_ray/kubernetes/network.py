"""Who may talk to the pods of a run, and to whom they may. Kubernetes adds policies up: a second one only opens."""

from __future__ import annotations

from typing import Any

from spti_ray.kubernetes.groups import ROLE_LABEL
from spti_ray.kubernetes.pods import Tree, labels_of
from spti_ray.kubernetes.settings import Cluster

HEAD = {"ray.io/node-type": "head"}
"""KubeRay's label of a head pod."""


def network_policies(cluster: Cluster, remote_data: bool) -> dict[str, Tree]:
    """File name -> NetworkPolicy.

    Pods of a run talk to one another and to DNS, and nothing else reaches them but the operator (the head's dashboard)
    and Prometheus (metrics). Only the head goes out, to object storage and the Kubernetes API: the ledger and the
    autoscaler are there. Workers, which see private images, go nowhere unless `internet` is on; with `remote_data`,
    the shards go to object storage too, to read them.
    """
    own = {"podSelector": {"matchLabels": labels_of(cluster)}}
    every = _policy(
        cluster,
        f"{cluster.name}-pods",
        labels_of(cluster),
        ["Ingress", "Egress"],
        ingress=[
            {"from": [own]},
            {"from": [_namespace(cluster.operator_namespace)], "ports": [_tcp(8265)]},
            {"from": [_namespace(cluster.monitoring_namespace)], "ports": [_tcp(8080)]},
        ],
        egress=[
            {"to": [own]},
            {
                "to": [_namespace("kube-system")],
                "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
            },
            *([{"ports": [_tcp(443)]}] if cluster.internet else []),
        ],
    )
    head = _policy(
        cluster,
        f"{cluster.name}-head",
        labels_of(cluster) | HEAD,
        ["Egress"],
        egress=[{"ports": [_tcp(443), _tcp(6443)]}],
    )
    found = {"network-policy.yaml": every, "network-policy-head.yaml": head}
    if remote_data:
        shards = labels_of(cluster) | {ROLE_LABEL: "shard"}
        reading = [{"ports": [_tcp(443)]}]
        found["network-policy-vote.yaml"] = _policy(cluster, f"{cluster.name}-vote", shards, ["Egress"], egress=reading)
    return found


def _policy(cluster: Cluster, name: str, selected: dict[str, str], types: list[str], **rules: Any) -> Tree:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": cluster.namespace, "labels": labels_of(cluster)},
        "spec": {"podSelector": {"matchLabels": selected}, "policyTypes": types, **rules},
    }


def _namespace(name: str) -> Tree:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(port: int) -> Tree:
    return {"protocol": "TCP", "port": port}
