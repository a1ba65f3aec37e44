"""Pods of the head, the workers and the submitter: without root, files in memory, only what the role needs."""

from __future__ import annotations

from spti_ray.kubernetes.groups import ROLE_LABEL, WorkerGroup
from spti_ray.kubernetes.kuberay_rules import Tree
from spti_ray.kubernetes.memory import volumes_in_memory
from spti_ray.kubernetes.pod_settings import RolePods, Volume
from spti_ray.kubernetes.scheduling import GPU, MUST_STAY, placement
from spti_ray.kubernetes.settings import Cluster

CONFIG_FOLDER = "/etc/spti"

HEAD_CPUS = 4
SUBMITTER_MEMORY = "1Gi"

THREADS = "OMP_NUM_THREADS"
"""Libraries would start as many threads as the node has cores, and not as many as the pod may use."""

Mounted = list[tuple[Volume | None, bool]]
"""Volumes, each with whether it is read-only; None for a volume that the cluster does not have."""


def labels_of(cluster: Cluster) -> dict[str, str]:
    """The labels of every pod of a run, by which network policies and monitoring select it."""
    return {"app.kubernetes.io/name": "spti-ray", "app.kubernetes.io/instance": cluster.name}


def head_pod(cluster: Cluster) -> Tree:
    """The head's pod, where the driver runs. Only it has the ledger's secrets: only the driver opens the ledger."""
    own, volumes = cluster.pods_of("head"), _private(cluster)
    container = _container(cluster, "ray-head", (HEAD_CPUS, 0, cluster.head_memory_gib), HEAD_CPUS, volumes)
    container["ports"] = [
        {"name": name, "containerPort": port}
        for name, port in (("gcs", 6379), ("dashboard", 8265), ("client", 10001), ("metrics", 8080))
    ]
    _with_secrets(container, (*cluster.secrets, *cluster.data_secrets), own)
    spec = _pod_spec(cluster, container, cluster.head_memory_gib, volumes, head=True)
    container["volumeMounts"].append({"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True})
    spec["volumes"].append({"name": "config", "configMap": {"name": f"{cluster.name}-config"}})
    spec |= _identity(own) | placement(cluster)
    return {"metadata": _metadata(cluster, {}, own, must_stay=True), "spec": spec}


def worker_pod(cluster: Cluster, group: WorkerGroup) -> Tree:
    """A pod of a worker group. Its grace period is the time that a preempted node leaves it."""
    own, votes = cluster.pods_of(*group.roles), group.role == "shard"
    # Only shards read private images. An engine gets them from a shard, one batch at a time.
    volumes = _private(cluster) if votes else [(cluster.models, True)]
    online = cluster.internet or any(pods.egress for pods in own) or bool({*group.roles} & {*cluster.hosts_by_name})
    size, threads = (group.cpus, group.gpus, group.memory_gib), max(1, group.cpus // group.engines)
    container = _container(cluster, "ray-worker", size, threads, volumes, online and not votes)
    container["ports"] = [{"name": "metrics", "containerPort": 8080}]
    _with_secrets(container, cluster.data_secrets if votes else (), own)
    spec = _pod_spec(cluster, container, group.memory_gib, volumes)
    # A worker does not need the Kubernetes API.
    spec["automountServiceAccountToken"] = False
    spec["terminationGracePeriodSeconds"] = 60
    spec |= _identity(own) | placement(cluster, group.nodes, group.market == "spot", group.gpus)
    return {"metadata": _metadata(cluster, {ROLE_LABEL: group.role}, own, must_stay=votes), "spec": spec}


def submitter_pod(cluster: Cluster) -> Tree:
    """The pod that submits the job and follows its log."""
    container = {
        "name": "ray-job-submitter",
        "image": cluster.image,
        "resources": _resources(1, 0, SUBMITTER_MEMORY),
        "securityContext": restricted(),
    }
    spec: Tree = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": _user(),
        **_of_all(cluster),
        "containers": [container],
        **placement(cluster),
    }
    return {"metadata": _metadata(cluster, {}, (), must_stay=True), "spec": spec}


def _metadata(cluster: Cluster, labels: dict[str, str], own: tuple[RolePods, ...], must_stay: bool) -> Tree:
    given = [cluster.annotations, *(pods.annotations for pods in own)]
    annotations = {key: value for some in given for key, value in some.items()} | (MUST_STAY if must_stay else {})
    # Network policies go by our labels: nothing overrides them.
    more = {key: value for pods in own for key, value in pods.labels.items()}
    found: Tree = {"labels": more | labels_of(cluster) | labels}
    return found | ({"annotations": annotations} if annotations else {})


def _identity(own: tuple[RolePods, ...]) -> Tree:
    accounts = [pods.service_account for pods in own if pods.service_account]
    return {"serviceAccountName": accounts[0]} if accounts else {}


def _with_secrets(container: Tree, secrets: tuple[str, ...], own: tuple[RolePods, ...]) -> None:
    names = dict.fromkeys([*secrets, *(secret for pods in own for secret in pods.secrets)])
    if names:
        container["envFrom"] = [{"secretRef": {"name": secret}} for secret in names]


def _private(cluster: Cluster) -> Mounted:
    return [(cluster.runs, False), (cluster.data, True)]


def _container(
    cluster: Cluster,
    name: str,
    size: tuple[int, int, int],
    threads: int,
    volumes: Mounted,
    online: bool | None = None,
) -> Tree:
    """`size`: CPUs, GPUs, GiB of memory. `threads`: of one process. `online`: whether it may ask for models outside."""
    cpus, gpus, memory_gib = size
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": "/tmp", THREADS: str(threads)}
    if cluster.models:
        environment["HF_HOME"] = cluster.models.path
    if not (cluster.internet if online is None else online):
        environment["HF_HUB_OFFLINE"] = "1"
    return {
        "name": name,
        "image": cluster.image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": _resources(cpus, gpus, f"{memory_gib}Gi"),
        "securityContext": restricted(),
        "volumeMounts": [
            {"name": volume.claim, "mountPath": volume.path} | ({"readOnly": True} if read_only else {})
            for volume, read_only in volumes
            if volume
        ],
    }


def _pod_spec(cluster: Cluster, container: Tree, memory_gib: int, volumes: Mounted, head: bool = False) -> Tree:
    in_memory, mounts = volumes_in_memory(memory_gib, ray_files_apart=head and cluster.autoscaling)
    container["volumeMounts"] = [*mounts, *container["volumeMounts"]]
    return {
        "securityContext": _user(),
        **_of_all(cluster),
        "containers": [container],
        "volumes": [
            *in_memory,
            *(
                {"name": volume.claim, "persistentVolumeClaim": {"claimName": volume.claim}}
                for volume, _ in volumes
                if volume
            ),
        ],
    }


def _of_all(cluster: Cluster) -> Tree:
    """What the specifications of all pods have alike."""
    found: Tree = {}
    if cluster.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in cluster.image_pull_secrets]
    if cluster.priority_class:
        found["priorityClassName"] = cluster.priority_class
    return found


def _resources(cpus: int, gpus: int, memory: str) -> Tree:
    # Requests equal limits: no pod is killed, and loses its batches, because its neighbour used more than its share.
    amounts: Tree = {"cpu": str(cpus), "memory": memory} | ({GPU: str(gpus)} if gpus else {})
    return {"requests": amounts, "limits": dict(amounts)}


def _user() -> Tree:
    return {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        # Or the group of every file of a volume would be set at each start of a pod, for hours where there are many.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def restricted() -> Tree:
    """A container's security context, as the Pod Security Standard `restricted` wants it."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
