"""What Ray's autoscaler, a container beside the driver, is told: its patience with pods, and its memory."""

from __future__ import annotations

from spti_ray.kubernetes.kuberay_rules import Tree
from spti_ray.kubernetes.pods import restricted
from spti_ray.kubernetes.settings import Cluster

GIVE_UP_S = "RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S"
"""After so many seconds a pod that has not joined Ray is given up, and its group is asked after all others."""

FORGET_S = "RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S"
"""In so many seconds that group comes to be preferred as before."""


def autoscaler_options(cluster: Cluster, wait_s: int) -> Tree:
    """A RayCluster's `autoscalerOptions`. `wait_s`: see `pod_wait_s`."""
    # Ray's own figures are an hour and ten minutes: the next kind of node would come too late, and the first one would
    # be asked for again before the third.
    patience = {GIVE_UP_S: wait_s, FORGET_S: cluster.node_wait_s}
    amounts = {"cpu": "1", "memory": f"{cluster.autoscaler_memory_gib}Gi"}
    return {
        "version": "v2",
        "idleTimeoutSeconds": cluster.idle_s,
        "env": [{"name": name, "value": str(seconds)} for name, seconds in patience.items()],
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "securityContext": restricted(),
    }
