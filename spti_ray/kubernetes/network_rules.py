"""Rules for network policies: what they open is named, and DNS is found.

A rule takes a document and yields one line for each fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from spti_ray.kubernetes.kuberay_rules import Tree

_ANYWHERE = (443, 6443)
"""Ports that may be open to everywhere: object storage, models and the Kubernetes API have no fixed addresses."""

_DNS = 53


def _egress(document: Tree) -> list[tuple[str, Tree]]:
    if document.get("kind") != "NetworkPolicy":
        return []
    rules = document["spec"].get("egress") or []
    return [(f"egress[{index}]", rule or {}) for index, rule in enumerate(rules)]


def goals_are_named(document: Tree) -> Iterator[str]:
    """Pods reach everywhere by HTTPS alone; all else is by addresses, namespaces or pods."""
    for where, rule in _egress(document):
        ports = [entry.get("port") for entry in rule.get("ports") or []]
        if rule.get("to"):
            continue
        if not ports:
            yield f"{where}: lets its pods reach everything; name whom (to) and at which ports"
        for port in ports:
            if port not in _ANYWHERE:
                yield f"{where}: opens port {port} to everywhere; name the addresses: to: [{{ipBlock: {{cidr: ...}}}}]"


def dns_is_found(document: Tree) -> Iterator[str]:
    """DNS caches of nodes are reached, which no selector of pods finds."""
    for where, rule in _egress(document):
        ports = [entry.get("port") for entry in rule.get("ports") or []]
        if _DNS in ports and rule.get("to") and not any("ipBlock" in peer for peer in rule["to"]):
            yield (
                f"{where}: finds DNS by pods alone; a node's own DNS cache is in the node's network: add its address, "
                "{ipBlock: {cidr: 169.254.20.10/32}}"
            )


RULES = (goals_are_named, dns_is_found)
