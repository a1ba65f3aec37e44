"""Renders the manifests of one configuration on one cluster: a folder that `kubectl apply -k` takes.

They are for KubeRay 1.7, against whose rules the lint checks them.
"""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import yaml

from spti_ray.config import Config
from spti_ray.config.identity import resolved
from spti_ray.config.loading import ConfigError
from spti_ray.io.files import is_url, write_atomic
from spti_ray.kubernetes.autoscaler import autoscaler_options
from spti_ray.kubernetes.checks import check_endpoints, check_paths, check_turns
from spti_ray.kubernetes.groups import ROLE_LABEL, WorkerGroup, pod_wait_s, worker_groups
from spti_ray.kubernetes.kuberay_rules import Tree
from spti_ray.kubernetes.memory import object_store_bytes
from spti_ray.kubernetes.network import network_policies
from spti_ray.kubernetes.pods import CONFIG_FOLDER, head_pod, labels_of, submitter_pod, worker_pod
from spti_ray.kubernetes.settings import Cluster
from spti_ray.models.engine_checks import check_gpu_time_sharing
from spti_ray.models.factory import engines_config

Kind = Literal["job", "cluster"]

UNATTENDED = "--unattended"
"""Of `spti run`: it is started again after any failure."""

KEPT_AFTER_SUCCESS_S, KEPT_AFTER_FAILURE_S, FORGOTTEN_AFTER_S = 60, 1800, 7 * 24 * 3600


def render_manifests(config: Config, cluster: Cluster, kind: Kind = "job") -> dict[str, Tree]:
    """Render the manifests of a run.

    Args:
        config: The run's configuration.
        cluster: The cluster's settings.
        kind: `job` for a RayJob that runs the configuration, `cluster` for a RayCluster of the same size, to which
            `spti submit` sends it.

    Returns:
        Documents by file name, in the order in which they must be applied.

    Raises:
        ConfigError: a path of the configuration that would be lost with its pod; engines that cannot be read, or that
            the cluster could not run.
    """
    check_paths(config, cluster)
    check_turns(config, cluster)
    try:
        engines = engines_config(config.runtime.engines)
        # The cluster gives all roles labels of its own.
        check_gpu_time_sharing(config.runtime.model_copy(update={"node_labels": {}}), engines)
        groups = worker_groups(config, engines, cluster)
        wait_s = pod_wait_s(groups, cluster)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    check_endpoints(config, engines, cluster)
    ray_cluster = _ray_cluster(cluster, groups, wait_s)
    workload = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob" if kind == "job" else "RayCluster",
        "metadata": {"name": cluster.name, "namespace": cluster.namespace, "labels": labels_of(cluster)},
        "spec": _job(cluster, ray_cluster) if kind == "job" else ray_cluster,
    }
    documents = {
        "namespace.yaml": _namespace(cluster),
        "config.yaml": _config_map(config_on_cluster(config, cluster, groups), cluster),
        **{f"service-account-{name}.yaml": _account(cluster, name) for name in cluster.service_accounts},
        **network_policies(cluster, groups, remote_data=is_url(config.data.path)),
        f"ray{kind}.yaml": workload,
    }
    resources = {"resources": list(documents)}
    return documents | {
        "kustomization.yaml": {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **resources}
    }


def write_manifests(folder: Path, documents: dict[str, Tree]) -> None:
    """Write each document as a file of `folder`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        write_atomic(folder / name, to_yaml(document).encode())


def to_yaml(document: Tree) -> str:
    """A document as YAML for people."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _ray_cluster(cluster: Cluster, groups: tuple[WorkerGroup, ...], wait_s: int) -> Tree:
    return {
        "rayVersion": version("ray"),
        # Whoever can use the head can run code that sees private images, so only those with the token can.
        "authOptions": {"mode": "token"},
        # Said also where it is off: queues that need a job of fixed size look for it (overlays).
        "enableInTreeAutoscaling": cluster.autoscaling,
        **({"autoscalerOptions": autoscaler_options(cluster, wait_s)} if cluster.autoscaling else {}),
        "headGroupSpec": {
            # No engine or shard runs on the head: it could take the driver down.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0", **_store(cluster.head_memory_gib)},
            "serviceType": "ClusterIP",
            "template": head_pod(cluster),
        },
        "workerGroupSpecs": [_group(cluster, group) for group in groups],
    }


def _store(memory_gib: int) -> dict[str, str]:
    return {"object-store-memory": str(object_store_bytes(memory_gib))}


def _group(cluster: Cluster, group: WorkerGroup) -> Tree:
    elastic = {"idleTimeoutSeconds": cluster.idle_s, "priority": group.priority} if cluster.autoscaling else {}
    return {
        "groupName": group.name,
        "replicas": group.replicas,
        "minReplicas": 0 if cluster.autoscaling else group.replicas,
        "maxReplicas": group.most,
        **elastic,
        "labels": group.labels,
        "rayStartParams": _store(group.memory_gib),
        "template": worker_pod(cluster, group),
    }


def _job(cluster: Cluster, ray_cluster: Tree) -> Tree:
    # Not `jobStatus: FAILED`, which a missed deadline, a job that could not be submitted and a lost head do not have.
    succeeded, failed = {"jobStatus": "SUCCEEDED"}, {"jobDeploymentStatus": "Failed"}
    rules = [
        ("DeleteCluster", succeeded, KEPT_AFTER_SUCCESS_S),
        ("DeleteCluster", failed, KEPT_AFTER_FAILURE_S),
        ("DeleteSelf", succeeded, FORGOTTEN_AFTER_S),
        ("DeleteSelf", failed, FORGOTTEN_AFTER_S),
    ]
    return {
        "submissionMode": "K8sJobMode",
        "entrypoint": shlex.join(["spti", "run", f"{CONFIG_FOLDER}/run.yaml", "--out", cluster.out, UNATTENDED]),
        # Each attempt gets a new cluster and resumes where the last one stopped: nothing is charged twice. KubeRay
        # knows no exit codes: what was refused is tried again too, and ends on the head alone.
        "backoffLimit": cluster.attempts - 1,
        "preRunningDeadlineSeconds": cluster.node_wait_s,
        "activeDeadlineSeconds": cluster.deadline_s,
        "deletionStrategy": {
            "deletionRules": [
                {"policy": policy, "condition": condition | {"ttlSeconds": ttl}} for policy, condition, ttl in rules
            ]
        },
        "submitterPodTemplate": submitter_pod(cluster),
        "rayClusterSpec": ray_cluster,
    }


def config_on_cluster(config: Config, cluster: Cluster, groups: tuple[WorkerGroup, ...]) -> Config:
    """The configuration with what the cluster adds: the nodes of each role, and how long to wait for nodes.

    A run does not pin these settings: it may be started on one cluster and finished on another.
    """
    labels = {role: {ROLE_LABEL: group.role} for group in groups for role in group.roles}
    here = {"node_labels": labels, "placement_timeout_s": float(cluster.node_wait_s), "address": None}
    return config.model_copy(update={"runtime": config.runtime.model_copy(update=here)})


def _account(cluster: Cluster, name: str) -> Tree:
    annotations = cluster.service_accounts[name]
    metadata: Tree = {"name": name, "namespace": cluster.namespace, "labels": labels_of(cluster)}
    metadata |= {"annotations": dict(annotations)} if annotations else {}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _namespace(cluster: Cluster) -> Tree:
    # The API server enforces it: whatever runs in this namespace has no root and no privileges.
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.namespace, "labels": labels}}


def _config_map(config: Config, cluster: Cluster) -> Tree:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{cluster.name}-config",
            "namespace": cluster.namespace,
            "labels": labels_of(cluster),
        },
        "data": {"run.yaml": to_yaml(resolved(config))},
    }


class _Dumper(yaml.SafeDumper):
    """Plain YAML for people: no anchors, and texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
