"""Pods of the head, the workers and the submitter: without root, files in memory, only what the role needs."""

from __future__ import annotations

from spti_ray.kubernetes.groups import ROLE_LABEL, WorkerGroup
from spti_ray.kubernetes.kuberay_rules import Tree
from spti_ray.kubernetes.settings import Cluster, Volume

CONFIG_FOLDER = "/etc/spti"

HEAD_CPUS = 4
SUBMITTER_MEMORY = "1Gi"

SCRATCH_PART = 0.25
"""Share of a pod's memory for /tmp, which has Ray's files and spilled objects; the object store gets as much again.

Both hold private pixels. In memory these never touch a node's disk, and end with the pod."""


def labels_of(cluster: Cluster) -> dict[str, str]:
    """The labels of every pod of a run, by which network policies and monitoring select it."""
    return {"app.kubernetes.io/name": "spti-ray", "app.kubernetes.io/instance": cluster.name}


def head_pod(cluster: Cluster) -> Tree:
    """The head's pod, where the driver runs. Only it has the ledger's secrets: only the driver opens the ledger."""
    volumes = _private(cluster)
    container = _container(cluster, "ray-head", HEAD_CPUS, 0, cluster.head_memory_gib, volumes)
    container["ports"] = [
        {"name": name, "containerPort": port}
        for name, port in (("gcs", 6379), ("dashboard", 8265), ("client", 10001), ("metrics", 8080))
    ]
    _with_secrets(container, (*cluster.secrets, *cluster.data_secrets))
    container["volumeMounts"].append({"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True})
    spec = _pod_spec(container, cluster.head_memory_gib, volumes)
    spec["volumes"].append({"name": "config", "configMap": {"name": f"{cluster.name}-config"}})
    return {"metadata": {"labels": labels_of(cluster)}, "spec": spec}


def worker_pod(cluster: Cluster, group: WorkerGroup) -> Tree:
    """A pod of a worker group. Its grace period is the time that a preempted node leaves it."""
    # Only shards read private images. An engine gets them from a shard, one batch at a time.
    volumes = _private(cluster) if group.role == "shard" else [(cluster.models, True)]
    container = _container(cluster, "ray-worker", group.cpus, group.gpus, group.memory_gib, volumes)
    container["ports"] = [{"name": "metrics", "containerPort": 8080}]
    if group.role == "shard":
        _with_secrets(container, cluster.data_secrets)
    spec = _pod_spec(container, group.memory_gib, volumes)
    # A worker does not need the Kubernetes API.
    spec["automountServiceAccountToken"] = False
    spec["terminationGracePeriodSeconds"] = 60
    selector = {key: value for nodes in group.nodes for key, value in nodes.node_selector.items()}
    tolerations = [dict(toleration) for nodes in group.nodes for toleration in nodes.tolerations]
    if selector:
        spec["nodeSelector"] = selector
    if tolerations:
        spec["tolerations"] = tolerations
    return {"metadata": {"labels": labels_of(cluster) | {ROLE_LABEL: group.role}}, "spec": spec}


def submitter_pod(cluster: Cluster) -> Tree:
    """The pod that submits the job and follows its log."""
    container = {
        "name": "ray-job-submitter",
        "image": cluster.image,
        "resources": _resources(1, 0, SUBMITTER_MEMORY),
        "securityContext": restricted(),
    }
    return {
        "metadata": {"labels": labels_of(cluster)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": _user(),
            "containers": [container],
        },
    }


def _with_secrets(container: Tree, secrets: tuple[str, ...]) -> None:
    if secrets:
        container["envFrom"] = [{"secretRef": {"name": secret}} for secret in secrets]


Mounted = list[tuple[Volume | None, bool]]
"""Volumes, each with whether it is read-only; None for a volume that the cluster does not have."""


def _private(cluster: Cluster) -> Mounted:
    return [(cluster.runs, False), (cluster.data, True)]


def _container(cluster: Cluster, name: str, cpus: int, gpus: int, memory_gib: int, volumes: Mounted) -> Tree:
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": "/tmp"}
    if cluster.models:
        environment["HF_HOME"] = cluster.models.path
    if not cluster.internet:
        environment["HF_HUB_OFFLINE"] = "1"
    return {
        "name": name,
        "image": cluster.image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": _resources(cpus, gpus, f"{memory_gib}Gi"),
        "securityContext": restricted(),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            *(
                {"name": volume.claim, "mountPath": volume.path} | ({"readOnly": True} if read_only else {})
                for volume, read_only in volumes
                if volume
            ),
        ],
    }


def _pod_spec(container: Tree, memory_gib: int, volumes: Mounted) -> Tree:
    size = f"{max(1, int(memory_gib * SCRATCH_PART))}Gi"
    return {
        "securityContext": _user(),
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": size}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}},
            *(
                {"name": volume.claim, "persistentVolumeClaim": {"claimName": volume.claim}}
                for volume, _ in volumes
                if volume
            ),
        ],
    }


def _resources(cpus: int, gpus: int, memory: str) -> Tree:
    # Requests equal limits: no pod is killed, and loses its batches, because its neighbour used more than its share.
    amounts: Tree = {"cpu": str(cpus), "memory": memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {"requests": amounts, "limits": dict(amounts)}


def _user() -> Tree:
    return {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def restricted() -> Tree:
    """A container's security context, as the Pod Security Standard `restricted` wants it."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
