"""Rules for manifests of a run on private images, beyond those of Kubernetes and KubeRay.

A rule takes a document and yields one line for each fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from spti_ray.kubernetes.kuberay_rules import Tree, cluster_spec, groups
from spti_ray.kubernetes.settings import has_own_tag


def pods(document: Tree) -> dict[str, Tree]:
    """The specifications of all pods that a RayCluster or RayJob makes, by where they are in the document."""
    spec = cluster_spec(document)
    if spec is None:
        return {}
    found = {"headGroupSpec": spec["headGroupSpec"]["template"]["spec"]}
    found |= {f"worker group {group['groupName']}": group["template"]["spec"] for group in groups(spec)}
    if document["kind"] == "RayJob" and document["spec"].get("submitterPodTemplate"):
        found["submitterPodTemplate"] = document["spec"]["submitterPodTemplate"]["spec"]
    return found


def token_authentication(document: Tree) -> Iterator[str]:
    """Only those with the token reach the cluster."""
    spec = cluster_spec(document)
    if spec is not None and (spec.get("authOptions") or {}).get("mode") != "token":
        yield "authOptions.mode is not token: whoever reaches the head could run code that sees private images"


def head_runs_no_engines(document: Tree) -> Iterator[str]:
    """The head offers no CPUs."""
    spec = cluster_spec(document)
    if spec is not None and (spec["headGroupSpec"].get("rayStartParams") or {}).get("num-cpus") != "0":
        yield 'headGroupSpec.rayStartParams.num-cpus is not "0": an engine on the head could take the driver down'


def head_not_exposed(document: Tree) -> Iterator[str]:
    """The head can only be reached from inside the Kubernetes cluster."""
    spec = cluster_spec(document)
    if spec is not None and spec["headGroupSpec"].get("serviceType", "ClusterIP") != "ClusterIP":
        yield "headGroupSpec.serviceType must be ClusterIP: the head is not for the outside"


def unprivileged(document: Tree) -> Iterator[str]:
    """Pods run without root, without privileges, and without the node's disk."""
    for where, pod in pods(document).items():
        if not (pod.get("securityContext") or {}).get("runAsNonRoot"):
            yield f"{where}: securityContext.runAsNonRoot must be true"
        for container in pod.get("containers") or []:
            context = container.get("securityContext") or {}
            if context.get("privileged") or context.get("allowPrivilegeEscalation", True):
                yield f"{where}: container {container.get('name')} must not allow privilege escalation"
        for volume in pod.get("volumes") or []:
            if "hostPath" in volume:
                yield f"{where}: volume {volume['name']} is a hostPath: pods must not see a node's disk"


def scratch_in_memory(document: Tree) -> Iterator[str]:
    """/tmp, where Ray spills objects, is in memory."""
    for where, pod in pods(document).items():
        if where == "submitterPodTemplate":
            continue
        memory = {
            volume["name"]
            for volume in pod.get("volumes") or []
            if (volume.get("emptyDir") or {}).get("medium") == "Memory"
        }
        container = (pod.get("containers") or [{}])[0]
        mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts") or []}
        if mounts.get("/tmp") not in memory:
            yield f"{where}: /tmp must be an emptyDir in memory: Ray spills private pixels there"
        # With the autoscaler beside it, KubeRay mounts a volume of its own at /tmp/ray, on the node's disk.
        apart = where == "headGroupSpec" and (cluster_spec(document) or {}).get("enableInTreeAutoscaling")
        if apart and mounts.get("/tmp/ray") not in memory:
            yield f"{where}: /tmp/ray must be an emptyDir in memory: KubeRay would put Ray's files on the node's disk"


def one_image(document: Tree) -> Iterator[str]:
    """All pods run one container image, with a tag or digest of its own."""
    images = {container["image"] for pod in pods(document).values() for container in pod.get("containers") or []}
    if len(images) > 1:
        yield f"pods run different images: {', '.join(sorted(images))}"
    for image in sorted(images):
        if not has_own_tag(image):
            yield f"image {image} has no tag of its own: attempts could run different versions"


def limits_are_set(document: Tree) -> Iterator[str]:
    """Containers have a memory limit."""
    for where, pod in pods(document).items():
        for container in pod.get("containers") or []:
            if "memory" not in ((container.get("resources") or {}).get("limits") or {}):
                yield f"{where}: container {container.get('name')} has no memory limit; Ray needs to know it"


RULES = (
    token_authentication,
    head_runs_no_engines,
    head_not_exposed,
    unprivileged,
    scratch_in_memory,
    one_image,
    limits_are_set,
)
