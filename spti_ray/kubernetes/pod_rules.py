"""Rules for the pods of a run: on which nodes they are, what they use, and whose keys they have.

A rule takes a document and yields one line for each fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spti_ray.kubernetes.groups import MARKET_LABEL, ROLE_LABEL
from spti_ray.kubernetes.kuberay_rules import Tree, cluster_spec, groups
from spti_ray.kubernetes.pods import THREADS
from spti_ray.kubernetes.scheduling import GPU, MUST_STAY
from spti_ray.runtime.placement.bundles import ACCELERATOR

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_STORE = "object-store-memory"


def ray_groups(document: Tree) -> dict[str, Tree]:
    """The head's and the workers' groups of a document, by where they are in it."""
    spec = cluster_spec(document)
    if spec is None:
        return {}
    return {"headGroupSpec": spec["headGroupSpec"]} | {
        f"worker group {group['groupName']}": group for group in groups(spec)
    }


def bytes_of(quantity: object) -> int | None:
    """A Kubernetes quantity of memory in bytes; None for none, or for another form."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]i?|Ki)?", str(quantity))
    return int(float(found[1]) * _UNITS[found[2] or ""]) if found else None


def object_store_fits(document: Tree) -> Iterator[str]:
    """Ray's object store has a size, and /dev/shm is at least as large."""
    for where, group in ray_groups(document).items():
        pod, start = group["template"]["spec"], group.get("rayStartParams") or {}
        container = _first(pod)
        mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts") or []}
        sizes = {volume["name"]: (volume.get("emptyDir") or {}).get("sizeLimit") for volume in pod.get("volumes") or []}
        # Where there is no /dev/shm, KubeRay makes one as large as the memory of the container.
        shown = sizes.get(mounts.get("/dev/shm", "")) or _limits(container).get("memory")
        room, asked = bytes_of(shown), bytes_of(start.get(_STORE))
        if not asked:
            yield (
                f"{where}: rayStartParams.{_STORE} is not set to bytes: Ray takes 30 % of the memory, and puts its "
                "store into /tmp where /dev/shm is smaller"
            )
        elif room is not None and asked > room:
            yield f"{where}: rayStartParams.{_STORE} is {asked}, more than /dev/shm has ({shown}): it lands in /tmp"


def threads_follow_cpus(document: Tree) -> Iterator[str]:
    """Libraries start no more threads than the pod has CPUs."""
    for where, group in ray_groups(document).items():
        container = _first(group["template"]["spec"])
        given = {entry["name"]: entry.get("value") for entry in container.get("env") or []}.get(THREADS)
        cpus = str(_limits(container).get("cpu") or "")
        if not str(given or "").isdecimal():
            yield f"{where}: env has no {THREADS}: libraries would start as many threads as the node has cores"
        elif cpus.isdecimal() and int(str(given)) > int(cpus):
            yield f"{where}: {THREADS} is {given}, but the pod has {cpus} CPU(s): threads would wait for one another"


def gpu_nodes_are_found(document: Tree) -> Iterator[str]:
    """Pods that say which GPU they have are on nodes that have it, and GPU nodes let them in."""
    for where, group in ray_groups(document).items():
        pod, kind = group["template"]["spec"], (group.get("labels") or {}).get(ACCELERATOR)
        if kind and not pod.get("nodeSelector") and not pod.get("affinity"):
            yield f"{where}: says that its GPU is {kind}, but no nodeSelector or affinity finds such nodes"
        if GPU in _limits(_first(pod)) and not pod.get("tolerations"):
            yield f"{where}: asks for a GPU, but tolerates no taint: most nodes with GPUs have {GPU}"


def spot_nodes_are_avoided(document: Tree) -> Iterator[str]:
    """Where some pods are for spot nodes, all others say by labels that they are not."""
    found = ray_groups(document)
    spot = [group for group in found.values() if (group.get("labels") or {}).get(MARKET_LABEL) == "spot"]
    of_spot = {item for group in spot for item in (group["template"]["spec"].get("nodeSelector") or {}).items()}
    for where, group in found.items():
        pod = group["template"]["spec"]
        own = set((pod.get("nodeSelector") or {}).items())
        required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        if spot and group not in spot and not required and not own - of_spot:
            yield f"{where}: is not for spot nodes, but neither nodeSelector nor nodeAffinity keeps it off them"


def driver_and_shards_stay(document: Tree) -> Iterator[str]:
    """No autoscaler of nodes moves the driver or a shard."""
    for where, group in ray_groups(document).items():
        metadata = group["template"].get("metadata") or {}
        if where != "headGroupSpec" and (metadata.get("labels") or {}).get(ROLE_LABEL) != "shard":
            continue
        for name, value in MUST_STAY.items():
            if str((metadata.get("annotations") or {}).get(name)) != value:
                yield f'{where}: metadata.annotations.{name} is not "{value}": its pod could be moved in mid-run'


def volumes_are_not_walked(document: Tree) -> Iterator[str]:
    """The group of files is not set anew at each start of a pod."""
    for where, group in ray_groups(document).items():
        context = group["template"]["spec"].get("securityContext") or {}
        if context.get("fsGroup") is not None and context.get("fsGroupChangePolicy") != "OnRootMismatch":
            yield (
                f"{where}: securityContext.fsGroupChangePolicy is not OnRootMismatch: each start of a pod would go "
                "through all files of its volumes"
            )


def keys_are_kept_apart(document: Tree) -> Iterator[str]:
    """Engines have neither the Secrets of driver and shards nor the Kubernetes API."""
    found = ray_groups(document)
    private = {name for where, group in found.items() if _sees_private_keys(where, group) for name in _secrets(group)}
    for where, group in found.items():
        if where == "headGroupSpec":
            continue
        if group["template"]["spec"].get("automountServiceAccountToken") is not False:
            yield f"{where}: automountServiceAccountToken must be false: workers have no need of the Kubernetes API"
        if _sees_private_keys(where, group):
            continue
        for name in sorted(private & _secrets(group)):
            yield f"{where}: has the Secret {name} of driver or shards: give engines one of their own"


def pods_are_alike(document: Tree) -> Iterator[str]:
    """All pods can pull their image, and none is put before the driver."""
    specs = {where: group["template"]["spec"] for where, group in ray_groups(document).items()}
    if not specs:
        return
    head = specs["headGroupSpec"]
    for where, pod in specs.items():
        if _names(pod.get("imagePullSecrets")) != _names(head.get("imagePullSecrets")):
            yield f"{where}: imagePullSecrets are not the head's, and all pods pull the same image"
        if pod.get("priorityClassName") and not head.get("priorityClassName"):
            yield f"{where}: has a priorityClassName and the head has none: the driver could be evicted for its workers"


def _sees_private_keys(where: str, group: Tree) -> bool:
    labels = (group["template"].get("metadata") or {}).get("labels") or {}
    return where == "headGroupSpec" or labels.get(ROLE_LABEL) == "shard"


def _secrets(group: Tree) -> set[str]:
    found: set[str] = set()
    for container in group["template"]["spec"].get("containers") or []:
        found |= {source["secretRef"]["name"] for source in container.get("envFrom") or [] if "secretRef" in source}
        for entry in container.get("env") or []:
            key = (entry.get("valueFrom") or {}).get("secretKeyRef")
            found |= {key["name"]} if key else set()
    return found


def _names(entries: list[Tree] | None) -> set[str]:
    return {entry["name"] for entry in entries or []}


def _first(pod: Tree) -> Tree:
    return (pod.get("containers") or [{}])[0]


def _limits(container: Tree) -> Tree:
    return (container.get("resources") or {}).get("limits") or {}


RULES = (
    object_store_fits,
    threads_follow_cpus,
    gpu_nodes_are_found,
    spot_nodes_are_avoided,
    driver_and_shards_stay,
    volumes_are_not_walked,
    keys_are_kept_apart,
    pods_are_alike,
)
