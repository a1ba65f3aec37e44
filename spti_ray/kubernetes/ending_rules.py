"""Rules by which a job starts from nothing and ends for certain: nodes are neither taken too early nor kept.

A rule takes a document and yields one line for each fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from spti_ray.kubernetes.autoscaler import GIVE_UP_S
from spti_ray.kubernetes.groups import ROLE_LABEL
from spti_ray.kubernetes.kuberay_rules import Tree, autoscaler_v2, cluster_spec, groups

_SOON_S = 24 * 3600
"""So long a cluster may be kept, for a look at why its job failed."""
_DELETES_NODES = ("DeleteCluster", "DeleteSelf")
_MUST_END = {
    ("jobStatus", "SUCCEEDED"): "the nodes of a job that is done would stay",
    ("jobDeploymentStatus", "Failed"): "after a deadline, a failed submission or a lost head its nodes would stay",
}
_QUEUES = {
    "volcano.sh/queue-name": "Volcano counts the pods of a gang by minReplicas, and those that are added later are "
    "not in it",
    "kueue.x-k8s.io/queue-name": "Kueue admits jobs of a fixed size",
}
_ELASTIC = "kueue.x-k8s.io/elastic-job"


def ends(document: Tree) -> Iterator[str]:
    """A job ends in bounded time, and its cluster with it, however it ended."""
    if document.get("kind") != "RayJob":
        return
    spec = document["spec"]
    for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if not spec.get(name):
            yield f"{name} is not set: a job that gets no nodes would hold what it has for ever"
    strategy = spec.get("deletionStrategy")
    if not strategy:
        if not spec.get("shutdownAfterJobFinishes"):
            yield "neither shutdownAfterJobFinishes nor deletionStrategy: the cluster would outlive its job"
        return
    met = {
        (name, status)
        for rule in strategy.get("deletionRules") or []
        if rule.get("policy") in _DELETES_NODES
        for name, status in (rule.get("condition") or {}).items()
        if (rule["condition"].get("ttlSeconds") or 0) <= _SOON_S
    }
    for (name, status), otherwise in _MUST_END.items():
        if (name, status) not in met:
            yield f"deletionStrategy: no rule deletes the cluster within a day at {name} {status}: {otherwise}"


def refusals_stand(document: Tree) -> Iterator[str]:
    """What was refused asks for no nodes again."""
    if document.get("kind") != "RayJob" or not document["spec"].get("backoffLimit"):
        return
    command = str(document["spec"].get("entrypoint") or "").split()
    if command[:2] == ["spti", "run"] and "--unattended" not in command:
        yield (
            "entrypoint: spti run has no --unattended, so each retry of a run that was refused (exit codes 2 and 3) "
            "could ask for all nodes again; add it"
        )


def starts_from_zero(document: Tree) -> Iterator[str]:
    """A job whose cluster grows asks for no worker before its driver does."""
    spec = cluster_spec(document)
    if spec is None or document.get("kind") != "RayJob" or not spec.get("enableInTreeAutoscaling"):
        return
    for group in groups(spec):
        for name in ("replicas", "minReplicas"):
            if group.get(name):
                yield (
                    f"worker group {group.get('groupName')}: {name} is {group[name]}, and KubeRay submits the job only "
                    "when all these pods run: nodes are held before the budget is asked, and nothing else is tried "
                    "where they don't come; write 0"
                )


def gives_pods_up(document: Tree) -> Iterator[str]:
    """The autoscaler gives a pod that does not come up in time for all other kinds of node to have their turn."""
    spec = cluster_spec(document)
    if spec is None or not autoscaler_v2(spec):
        return
    variables = {entry["name"]: entry.get("value") for entry in spec["autoscalerOptions"].get("env") or []}
    given = str(variables.get(GIVE_UP_S) or "")
    if not given.isdecimal() or not int(given):
        yield (
            f"autoscalerOptions.env: {GIVE_UP_S} is not set to seconds: a pod that never comes is waited for an hour, "
            "and the next kind of node comes too late"
        )
        return
    roles = Counter(str((group.get("labels") or {}).get(ROLE_LABEL)) for group in groups(spec))
    kinds = max(roles.values(), default=1)
    limit = (document.get("spec") or {}).get("preRunningDeadlineSeconds")
    if limit and int(given) * kinds >= limit:
        yield (
            f"autoscalerOptions.env: {GIVE_UP_S} is {given}, which {kinds} kinds of node make no less than "
            f"preRunningDeadlineSeconds ({limit}), for as long as a run waits for nodes: lower it"
        )


def autoscaler_has_resources(document: Tree) -> Iterator[str]:
    """The autoscaler has memory for a cluster of many nodes."""
    spec = cluster_spec(document)
    if spec is None or not spec.get("enableInTreeAutoscaling"):
        return
    amounts = (spec.get("autoscalerOptions") or {}).get("resources") or {}
    if not ((amounts.get("limits") or {}).get("memory")):
        yield "autoscalerOptions.resources: has no memory limit, and KubeRay's is 512Mi, too little for many nodes"


def queued_jobs_do_not_grow(document: Tree) -> Iterator[str]:
    """What a queue admits as a whole has a fixed size."""
    spec, metadata = cluster_spec(document), document.get("metadata") or {}
    if spec is None or not spec.get("enableInTreeAutoscaling"):
        return
    for label, why in _QUEUES.items():
        elastic = label.startswith("kueue") and str((metadata.get("annotations") or {}).get(_ELASTIC)) == "true"
        if (metadata.get("labels") or {}).get(label) and not elastic:
            yield (
                f"metadata.labels: {label} does not go with enableInTreeAutoscaling: {why}; render with autoscaling: "
                "false"
            )


RULES = (ends, refusals_stand, starts_from_zero, gives_pods_up, autoscaler_has_resources, queued_jobs_do_not_grow)
