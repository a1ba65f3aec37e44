"""Network policies: who may talk to the pods of a run, and whom these may talk to.

Kubernetes adds policies up: a further policy only allows more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spti_ray.kubernetes.groups import ROLE_LABEL, WorkerGroup
from spti_ray.kubernetes.kuberay_rules import Tree
from spti_ray.kubernetes.pod_settings import Egress
from spti_ray.kubernetes.pods import labels_of
from spti_ray.kubernetes.settings import Cluster

HEAD = {"ray.io/node-type": "head"}
"""KubeRay's label of a head pod."""


def network_policies(cluster: Cluster, groups: Iterable[WorkerGroup], remote_data: bool) -> dict[str, Tree]:
    """The network policies of a run, by file name.

    Pods of a run reach one another and DNS. Only the KubeRay operator (the head's dashboard) and Prometheus (metrics)
    reach them from outside. The head reaches object storage, for the ledger, and the Kubernetes API, for the
    autoscaler. Workers, which see private images, reach nothing outside unless `internet` is on, or what `egress` of
    their role names. With `remote_data`, shards reach object storage to read the images.
    """
    found = {"network-policy.yaml": _every(cluster), "network-policy-head.yaml": _head(cluster)}
    for group in groups:
        shards = group.role == "shard"
        rules = [_to(egress) for pods in cluster.pods_of(*group.roles) for egress in pods.egress]
        if shards and remote_data and not rules:
            rules = [{"ports": [_tcp(443)]}]
        if rules:
            name = "vote" if shards else group.role.replace("_", "-")
            selected = labels_of(cluster) | {ROLE_LABEL: group.role}
            policy = _policy(cluster, f"{cluster.name}-{name}", selected, ["Egress"], egress=rules)
            found[f"network-policy-{name}.yaml"] = policy
    return found


def _every(cluster: Cluster) -> Tree:
    own = {"podSelector": {"matchLabels": labels_of(cluster)}}
    return _policy(
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
                "to": [_namespace("kube-system"), *({"ipBlock": {"cidr": cidr}} for cidr in cluster.dns)],
                "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
            },
            *([{"ports": [_tcp(443)]}] if cluster.internet else []),
        ],
    )


def _head(cluster: Cluster) -> Tree:
    rules = [_to(egress) for pods in cluster.pods_of("head") for egress in pods.egress]
    rules = rules or [{"ports": [_tcp(443), _tcp(6443)]}]
    return _policy(cluster, f"{cluster.name}-head", labels_of(cluster) | HEAD, ["Egress"], egress=rules)


def _to(egress: Egress) -> Tree:
    peer = {"ipBlock": {"cidr": egress.cidr}} if egress.cidr else _namespace(str(egress.namespace))
    return {"to": [peer], "ports": [_tcp(port) for port in egress.ports]}


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
