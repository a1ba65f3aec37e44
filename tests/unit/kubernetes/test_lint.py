"""Each rule of the lint, by a manifest that breaks only that rule."""

from copy import deepcopy

import pytest
import yaml
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError
from spti_ray.kubernetes.lint import RULES, lint, load_schemas

HEAD = "spec.rayClusterSpec.headGroupSpec"
GROUP = "spec.rayClusterSpec.workerGroupSpecs.0"
POD = f"{GROUP}.template.spec"


def at(document, path):
    for part in path.split(".") if path else ():
        document = document[int(part)] if part.isdigit() else document[part]
    return document


def changed(document, path, value):
    # The names of labels and annotations have dots of their own.
    inner, _, name = path.partition("labels.") if "labels." in path else path.partition("annotations.")
    parent, leaf = (f"{inner}{path[len(inner) :].partition('.')[0]}", name) if name else path.rpartition(".")[::2]
    node = at(document, parent)
    key = int(leaf) if leaf.isdigit() else leaf
    if value is None:
        del node[key]
    else:
        node[key] = value
    return document


def messages(document):
    return [message for rule in RULES for message in rule(document)]


RULE = "spec.deletionStrategy.deletionRules"
CLUSTER = "spec.rayClusterSpec"
GIVE_UP = "RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S"
STAY = "cluster-autoscaler.kubernetes.io/safe-to-evict"
LAST = f"{CLUSTER}.workerGroupSpecs.10"
"""The shards."""

BREAKS = [
    ("metadata.name", "a" * 48, "has 48 characters"),
    ("metadata.name", "Upper", "lower-case"),
    ("spec.submissionMode", "K8sJob", "submissionMode 'K8sJob'"),
    ("spec.submissionMode", "InteractiveMode", "backoffLimit"),
    ("spec.submissionMode", "SidecarMode", "SidecarMode"),
    ("spec.clusterSelector", {"ray.io/cluster": "a"}, "clusterSelector"),
    ("spec.suspend", True, "suspend"),
    ("spec.ttlSecondsAfterFinished", 5, "ttlSecondsAfterFinished"),
    ("spec.shutdownAfterJobFinishes", True, "exclude each other"),
    ("spec.activeDeadlineSeconds", 0, "activeDeadlineSeconds"),
    ("spec.activeDeadlineSeconds", None, "activeDeadlineSeconds is not set"),
    ("spec.preRunningDeadlineSeconds", None, "preRunningDeadlineSeconds is not set"),
    ("spec.backoffLimit", -1, "backoffLimit"),
    ("spec.deletionStrategy", None, "outlive"),
    ("spec.deletionStrategy", {"deletionRules": []}, "needs deletionRules"),
    ("spec.deletionStrategy.onSuccess", {"policy": "DeleteSelf"}, "onSuccess/onFailure"),
    ("spec.deletionStrategy.deletionRules.0.policy", "DeleteWorkers", "not supported with autoscaling"),
    ("spec.deletionStrategy.deletionRules.0.policy", "DeleteSelf", "already a rule"),
    ("spec.deletionStrategy.deletionRules.0.condition.ttlSeconds", -1, "must not be negative"),
    ("spec.deletionStrategy.deletionRules.0.condition.ttlSeconds", 10**9, "must not fall"),
    ("spec.deletionStrategy.deletionRules.0.condition.jobDeploymentStatus", "Failed", "one of jobStatus"),
    (f"{RULE}.0.condition.jobStatus", "FAILED", "no rule deletes the cluster within a day at jobStatus SUCCEEDED"),
    (f"{RULE}.0.condition.ttlSeconds", 604800, "no rule deletes the cluster within a day at jobStatus SUCCEEDED"),
    (f"{RULE}.1.policy", "DeleteNone", "no rule deletes the cluster within a day at jobDeploymentStatus Failed"),
    (f"{RULE}.1.condition", {"jobStatus": "FAILED"}, "after a deadline, a failed submission or a lost head"),
    ("spec.deletionStrategy", {"onSuccess": {"policy": "DeleteSelf"}, "onFailure": {"policy": "DeleteSelf"}}, "a dead"),
    ("spec.entrypoint", "spti run /etc/spti/run.yaml --out /runs/a", "entrypoint: spti run has no --unattended"),
    ("metadata.labels.volcano.sh/queue-name", "a", "Volcano counts the pods of a gang"),
    ("metadata.labels.kueue.x-k8s.io/queue-name", "a", "Kueue admits jobs of a fixed size"),
    (f"{CLUSTER}.autoscalerOptions.env", [], f"{GIVE_UP} is not set to seconds"),
    (f"{CLUSTER}.autoscalerOptions.env.0.value", "0", f"{GIVE_UP} is not set to seconds"),
    (f"{CLUSTER}.autoscalerOptions.env.0.value", "900", "which 4 kinds of node make no less than"),
    (f"{CLUSTER}.autoscalerOptions.resources", None, "has no memory limit, and KubeRay's is 512Mi"),
    (f"{GROUP}.replicas", 1, "replicas is 1, and KubeRay submits the job only when"),
    (f"{GROUP}.minReplicas", 1, "minReplicas is 1, and KubeRay submits the job only when"),
    (f"{GROUP}.rayStartParams.object-store-memory", None, "object-store-memory is not set"),
    (f"{GROUP}.rayStartParams.object-store-memory", str(17 * 2**30), "more than /dev/shm has (16Gi)"),
    (f"{HEAD}.rayStartParams.object-store-memory", "4Gi1", "object-store-memory is not set"),
    (f"{POD}.volumes.1.emptyDir.sizeLimit", "13Gi", "more than /dev/shm has (13Gi)"),
    (f"{HEAD}.template.spec.volumes.2", {"name": "ray-logs", "emptyDir": {}}, "/tmp/ray must be an emptyDir in memory"),
    (f"{POD}.containers.0.env.2.name", "OTHER_THREADS", "env has no OMP_NUM_THREADS"),
    (f"{HEAD}.template.spec.containers.0.env.2.value", "96", "OMP_NUM_THREADS is 96, but the pod has 4 CPU(s)"),
    (f"{POD}.nodeSelector", None, "says that its GPU is H100, but no nodeSelector"),
    (f"{POD}.tolerations", None, "asks for a GPU, but tolerates no taint"),
    (f"{HEAD}.template.spec.affinity", None, "headGroupSpec: is not for spot nodes, but neither"),
    (f"{LAST}.template.spec.affinity", None, "worker group vote: is not for spot nodes, but neither"),
    (f"{CLUSTER}.workerGroupSpecs.1.template.spec.affinity", None, "group writer-h100: is not for spot nodes"),
    (f"{HEAD}.template.metadata.annotations.{STAY}", "true", "headGroupSpec: metadata.annotations.cluster-autoscaler"),
    (f"{LAST}.template.metadata.annotations", None, "vote: metadata.annotations.karpenter.sh/do-not-disrupt"),
    (f"{POD}.securityContext.fsGroupChangePolicy", None, "fsGroupChangePolicy is not OnRootMismatch"),
    (f"{POD}.automountServiceAccountToken", None, "automountServiceAccountToken must be false"),
    (f"{POD}.containers.0.envFrom", [{"secretRef": {"name": "spti-ledger"}}], "has the Secret spti-ledger of driver"),
    (
        f"{POD}.containers.0.env.0",
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "spti-ledger", "key": "a"}}},
        "has the Secret spti-ledger of driver",
    ),
    (f"{POD}.imagePullSecrets", [{"name": "registry"}], "imagePullSecrets are not the head's"),
    (f"{POD}.priorityClassName", "batch", "could be evicted for its workers"),
    ("spec.rayClusterSpec", None, "needs rayClusterSpec"),
    ("spec.rayClusterSpec.rayVersion", None, "rayVersion"),
    ("spec.rayClusterSpec.rayVersion", "2.51.1", "2.52.0"),
    ("spec.rayClusterSpec.rayVersion", "2.55.1", "priority needs"),
    ("spec.rayClusterSpec.authOptions.mode", "disabled", "not token"),
    ("spec.rayClusterSpec.authOptions.enableK8sTokenAuth", True, "not for RayJobs"),
    ("spec.rayClusterSpec.authOptions", {"mode": "token", "enableK8sTokenAuth": True, "secretName": "a"}, "exclude"),
    ("spec.rayClusterSpec.autoscalerOptions.version", "v1", "idleTimeoutSeconds needs"),
    ("spec.rayClusterSpec.enableInTreeAutoscaling", None, "priority needs"),
    (f"{HEAD}.rayStartParams.num-cpus", "4", 'is not "0"'),
    (f"{HEAD}.rayStartParams.labels", "a=b", "labels belong"),
    (f"{HEAD}.serviceType", "LoadBalancer", "ClusterIP"),
    (f"{HEAD}.template.spec.restartPolicy", "Always", "restartPolicy"),
    (f"{HEAD}.template.spec.containers.0.env.0.name", "RAY_enable_autoscaler_v2", "both set"),
    (f"{GROUP}.minReplicas", 5, "is larger than"),
    (f"{GROUP}.minReplicas", -1, "negative"),
    (f"{GROUP}.replicas", 99, "outside"),
    (f"{GROUP}.groupName", "vote", "two of this name"),
    (f"{GROUP}.suspend", True, "suspended"),
    (f"{GROUP}.rayStartParams.labels", "a=b", "labels belong"),
    (f"{POD}.restartPolicy", "OnFailure", "restartPolicy"),
    (f"{POD}.containers", [], "needs a container"),
    (f"{POD}.securityContext.runAsNonRoot", False, "runAsNonRoot"),
    (f"{POD}.containers.0.securityContext.allowPrivilegeEscalation", None, "privilege escalation"),
    (f"{POD}.containers.0.securityContext.privileged", True, "privilege escalation"),
    (f"{POD}.containers.0.image", "registry.example.org/spti-ray:0.2.0", "different images"),
    (f"{POD}.containers.0.resources.limits.memory", None, "no memory limit"),
    (f"{POD}.volumes.0", {"name": "tmp", "hostPath": {"path": "/tmp"}}, "hostPath"),
    (f"{POD}.volumes.0", {"name": "tmp", "emptyDir": {}}, "emptyDir in memory"),
]


@pytest.mark.parametrize(("path", "value", "part"), BREAKS, ids=[f"{path}={value}"[-70:] for path, value, _ in BREAKS])
def test_a_manifest_that_breaks_a_rule_is_found(path, value, part, job):
    assert messages(job) == []
    broken = changed(job, path, value)
    try:
        found = messages(broken)
    except KeyError:
        pytest.fail("a rule stumbled")
    assert any(part in message for message in found), found


def test_a_manifest_of_a_cluster_that_stays_may_hold_workers(ray_cluster):
    ray_cluster["spec"]["workerGroupSpecs"][0].update(replicas=1, minReplicas=1)
    assert messages(ray_cluster) == []


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ({}, "lets its pods reach everything"),
        ({"ports": [{"port": 9000}]}, "opens port 9000 to everywhere"),
        ({"to": [{"namespaceSelector": {}}], "ports": [{"port": 53}]}, "finds DNS by pods alone"),
    ],
)
def test_a_network_policy_that_opens_too_much_or_finds_no_dns_is_found(rule, part, rendered):
    for name, document in rendered["job"].items():
        if name.startswith("network-policy"):
            assert messages(document) == []
            broken = deepcopy(document)
            broken["spec"]["egress"].append(rule)
            assert [message for message in messages(broken) if part in message and "egress[" in message]


def test_the_same_image_without_a_tag_everywhere_is_found(job):
    untagged = yaml.safe_load(yaml.safe_dump(job).replace("spti-ray:0.1.0", "spti-ray:latest"))
    assert any("no tag of its own" in message for message in messages(untagged))


def test_a_cluster_without_autoscaling_needs_its_limits(ray_cluster):
    del ray_cluster["spec"]["enableInTreeAutoscaling"]
    del ray_cluster["spec"]["workerGroupSpecs"][0]["minReplicas"]
    assert any("needs minReplicas" in message for message in messages(ray_cluster))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{GROUP}.minReplica", 1),
        (f"{GROUP}.maxReplicas", "four"),
        (f"{GROUP}.template.spec.containers.0.resource", {}),
        ("spec.backoffLimits", 3),
        ("spec.rayClusterSpec.autoscalerOptions.version", "v3"),
        ("spec.deletionStrategy.deletionRules.0.policy", "DeleteAll"),
    ],
)
def test_what_the_schema_does_not_know_is_found(path, value, job, crds, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(changed(job, path, value)))
    assert len(lint([file], crds)) >= 1


@pytest.mark.parametrize(
    "document", [{"kind": "RayJob"}, {"kind": "RayCluster", "spec": {}}, {"kind": "RayJob", "spec": 3}]
)
def test_a_document_of_another_shape_is_a_finding_and_no_crash(document, tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(document))
    assert len(lint([tmp_path / "a.yaml"])) >= 1


def test_a_folder_without_schemas_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no CustomResourceDefinition"):
        load_schemas(tmp_path)


def test_the_command_names_file_document_and_fault_and_fails(job, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(changed(job, "spec.submissionMode", "K8sJob")))
    result = CliRunner().invoke(app, ["manifest", "lint", str(file)])
    assert result.exit_code == 1
    assert f"{file}: RayJob/spti: submissionMode 'K8sJob'" in result.output
    assert "1 file(s), 1 fault(s) (rules; no --crds, so no schemas)" in result.output
