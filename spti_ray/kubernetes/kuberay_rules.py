"""Rules of KubeRay's controller that its CRD's schema does not express.

The API server accepts a document that breaks one of them, and then it never becomes a cluster. Source:
ray-operator/controllers/ray/utils/validation.go and constant.go of KubeRay 1.7.

A rule takes a document and yields one line for each fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]
"""A Kubernetes document, or a part of one, as YAML has it."""

LONGEST_NAME = {"RayCluster": 53, "RayJob": 47}
SUBMISSION_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
DELETION_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
FIRST_WITH_TOKENS, FIRST_WITH_PRIORITY = (2, 52), (2, 56)

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def cluster_spec(document: Tree) -> Tree | None:
    """The RayCluster's specification in a RayCluster or RayJob; None if there is none."""
    spec = document.get("spec") or {}
    if document.get("kind") == "RayCluster":
        return spec
    return spec.get("rayClusterSpec") if document.get("kind") == "RayJob" else None


def groups(spec: Tree) -> list[Tree]:
    """The worker groups of a RayCluster's specification."""
    return spec.get("workerGroupSpecs") or []


def autoscaler_v2(spec: Tree) -> bool:
    """Whether a RayCluster's specification asks for the autoscaler, version 2."""
    return bool(spec.get("enableInTreeAutoscaling")) and (spec.get("autoscalerOptions") or {}).get("version") == "v2"


def names(document: Tree) -> Iterator[str]:
    """Names are short and lower-case."""
    longest = LONGEST_NAME.get(document.get("kind", ""))
    if longest is None:
        return
    name = (document.get("metadata") or {}).get("name") or ""
    if len(name) > longest:
        yield f"metadata.name: has {len(name)} characters; KubeRay allows {longest}"
    if name and not _NAME.fullmatch(name):
        yield f"metadata.name: {name!r} must be lower-case letters, digits and -, and begin with a letter"


def worker_groups(document: Tree) -> Iterator[str]:
    """Worker groups have names of their own, possible numbers of replicas, and settings that their version knows."""
    spec = cluster_spec(document)
    if spec is None:
        return
    seen: set[str] = set()
    for group in groups(spec):
        name = str(group.get("groupName"))
        where = f"worker group {name}"
        if name in seen:
            yield f"{where}: there are two of this name"
        seen.add(name)
        yield from _replicas(where, group, bool(spec.get("enableInTreeAutoscaling")))
        yield from _start(where, group)
        if group.get("idleTimeoutSeconds") is not None and not autoscaler_v2(spec):
            yield f"{where}: idleTimeoutSeconds needs enableInTreeAutoscaling and autoscalerOptions.version: v2"
        if group.get("priority"):
            if not autoscaler_v2(spec):
                yield f"{where}: priority needs enableInTreeAutoscaling and autoscalerOptions.version: v2"
            elif _version(spec) < FIRST_WITH_PRIORITY:
                yield f"{where}: priority needs rayVersion 2.56.0 or later"
        if group.get("suspend") and spec.get("enableInTreeAutoscaling"):
            yield f"{where}: cannot be suspended with autoscaling on"
    yield from _start("headGroupSpec", spec.get("headGroupSpec") or {})


def _replicas(where: str, group: Tree, autoscaled: bool) -> Iterator[str]:
    least, most = group.get("minReplicas"), group.get("maxReplicas")
    if not autoscaled and (least is None or most is None):
        yield f"{where}: needs minReplicas and maxReplicas when autoscaling is off"
    if least is not None and most is not None and least > most:
        yield f"{where}: minReplicas {least} is larger than maxReplicas {most}"
    replicas = group.get("replicas")
    if replicas is not None and not (least or 0) <= replicas <= (replicas if most is None else most):
        yield f"{where}: replicas {replicas} is outside of minReplicas and maxReplicas"
    if any((value or 0) < 0 for value in (least, most, group.get("idleTimeoutSeconds"))):
        yield f"{where}: minReplicas, maxReplicas and idleTimeoutSeconds must not be negative"


def _start(where: str, group: Tree) -> Iterator[str]:
    start = group.get("rayStartParams") or {}
    if "labels" in start:
        yield f"{where}: labels belong beside rayStartParams, not into it"
    if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & start.keys():
        yield f"{where}: resources are set twice, in rayStartParams and in resources"
    if not group["template"]["spec"].get("containers"):
        yield f"{where}: needs a container"


def autoscaling(document: Tree) -> Iterator[str]:
    """The version of the autoscaler is set in one place, and pods are never restarted in place by version 2."""
    spec = cluster_spec(document)
    if spec is None:
        return
    variables = {entry["name"]: entry.get("value") for entry in _head_container(spec).get("env") or []}
    if "RAY_enable_autoscaler_v2" in variables:
        if (spec.get("autoscalerOptions") or {}).get("version"):
            yield "autoscalerOptions.version and RAY_enable_autoscaler_v2 are both set; keep the former"
        elif not spec.get("enableInTreeAutoscaling"):
            yield "RAY_enable_autoscaler_v2 needs enableInTreeAutoscaling"
    if autoscaler_v2(spec):
        for where, group in (("headGroupSpec", spec["headGroupSpec"]), *((g["groupName"], g) for g in groups(spec))):
            if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield f"{where}: restartPolicy must be Never or unset with autoscaler v2"


def tokens(document: Tree) -> Iterator[str]:
    """Authentication by token fits the version of Ray and the kind of the document."""
    spec = cluster_spec(document)
    if spec is None:
        return
    options = spec.get("authOptions") or {}
    if options.get("mode") == "token" and _version(spec) < FIRST_WITH_TOKENS:
        yield "authOptions.mode token needs rayVersion 2.52.0 or later"
    if options.get("enableK8sTokenAuth"):
        if options.get("mode") != "token":
            yield "authOptions.enableK8sTokenAuth needs mode: token"
        if options.get("secretName"):
            yield "authOptions.enableK8sTokenAuth and secretName exclude each other"
        if document.get("kind") == "RayJob":
            yield "authOptions.enableK8sTokenAuth is not for RayJobs"


def job(document: Tree) -> Iterator[str]:
    """A RayJob's settings fit each other."""
    if document.get("kind") != "RayJob":
        return
    spec = document["spec"]
    mode = spec.get("submissionMode", "K8sJobMode")
    if mode not in SUBMISSION_MODES:
        yield f"submissionMode {mode!r} is none of {', '.join(SUBMISSION_MODES)}"
    selected = bool(spec.get("clusterSelector"))
    if not selected and not spec.get("rayClusterSpec"):
        yield "needs rayClusterSpec or clusterSelector"
    if (spec.get("backoffLimit") or 0) > 0 and (selected or mode == "InteractiveMode"):
        yield "backoffLimit goes neither with clusterSelector nor with InteractiveMode"
    if mode == "SidecarMode" and (selected or spec.get("submitterPodTemplate") or spec.get("submitterConfig")):
        yield "SidecarMode goes with none of clusterSelector, submitterPodTemplate and submitterConfig"
    for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(name) is not None and spec[name] <= 0:
            yield f"{name} must be positive"
    if (spec.get("backoffLimit") or 0) < 0:
        yield "backoffLimit must not be negative"
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield "suspend (Kueue) needs shutdownAfterJobFinishes: true"
    if spec.get("suspend") and selected:
        yield "suspend does not go with clusterSelector"
    if spec.get("ttlSecondsAfterFinished") and not spec.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes: true"


def deletion(document: Tree) -> Iterator[str]:
    """A RayJob's rules of deletion are complete, do not repeat, and delete workers before cluster before job."""
    strategy = document.get("kind") == "RayJob" and document["spec"].get("deletionStrategy")
    if not strategy:
        return
    spec, rules = document["spec"], strategy.get("deletionRules") or []
    legacy = [name for name in ("onSuccess", "onFailure") if strategy.get(name)]
    if rules and spec.get("shutdownAfterJobFinishes"):
        yield "deletionStrategy.deletionRules and shutdownAfterJobFinishes exclude each other"
    if rules and legacy:
        yield "deletionStrategy: deletionRules and onSuccess/onFailure exclude each other"
    if not rules and len(legacy) != 2:
        yield "deletionStrategy needs deletionRules, or both onSuccess and onFailure"
    if not rules:
        return
    autoscaled = bool((spec.get("rayClusterSpec") or {}).get("enableInTreeAutoscaling"))
    times: dict[tuple[str, str], dict[str, int]] = {}
    for index, rule in enumerate(rules):
        where, condition, policy = f"deletionRules[{index}]", rule.get("condition") or {}, rule.get("policy")
        conditions = [(name, condition[name]) for name in ("jobStatus", "jobDeploymentStatus") if condition.get(name)]
        if len(conditions) != 1:
            yield f"{where}: needs one of jobStatus and jobDeploymentStatus"
            continue
        if policy == "DeleteWorkers" and autoscaled:
            yield f"{where}: DeleteWorkers is not supported with autoscaling"
        if spec.get("clusterSelector") and policy in ("DeleteWorkers", "DeleteCluster"):
            yield f"{where}: {policy} does not go with clusterSelector"
        seconds = condition.get("ttlSeconds") or 0
        if seconds < 0:
            yield f"{where}: ttlSeconds must not be negative"
        if policy in times.setdefault(conditions[0], {}):
            yield f"{where}: there is already a rule for {policy} at {conditions[0][1]}"
        times[conditions[0]][policy] = seconds
    for (_, status), of_status in times.items():
        ordered = [of_status[policy] for policy in DELETION_ORDER if policy in of_status]
        if ordered != sorted(ordered):
            yield f"deletionRules at {status}: ttlSeconds must not fall from workers to cluster to the job itself"


def _head_container(spec: Tree) -> Tree:
    containers = spec["headGroupSpec"]["template"]["spec"].get("containers") or [{}]
    return containers[0]


def _version(spec: Tree) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", str(spec.get("rayVersion", "")))
    return (int(found[1]), int(found[2])) if found else (0, 0)


RULES = (names, worker_groups, autoscaling, tokens, job, deletion)
