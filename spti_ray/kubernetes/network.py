"""Network policies: who may talk to the pods of a run, and whom these may talk to.

Kubernetes adds policies up: a further policy only allows more.
"""

from __future__ import annotations

from typing import Any

from spti_ray.kubernetes.groups import ROLE_LABEL
from spti_ray.kubernetes.kuberay_rules import Tree
from spti_ray.kubernetes.pods import labels_of
from spti_ray.kubernetes.settings import Cluster

HEAD = {"ray.io/node-type": "head"}
"""KubeRay's label of a head pod."""


def network_policies(cluster: Cluster, remote_data: bool) -> dict[str, Tree]:
    """The network policies of a run, by file name.

    Pods of a run reach one another and DNS. Only the KubeRay operator (the head's dashboard) and Prometheus (metrics)
    reach them from outside. The head reaches object storage, for the ledger, and the Kubernetes API, for the
    autoscaler. Workers, which see private images, reach nothing outside unless `internet` is on. With `remote_data`,
    shards reach object storage to read the images.
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
