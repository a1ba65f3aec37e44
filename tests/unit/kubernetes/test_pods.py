"""The pods that are written: where they are, what they use, whose keys and identities they have."""

import os
import re
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from spti_ray.config.loading import ConfigError, load_config
from spti_ray.kubernetes.lint import lint
from spti_ray.kubernetes.pod_rules import bytes_of
from spti_ray.kubernetes.render import render_manifests, write_manifests
from spti_ray.kubernetes.settings import Cluster, load_cluster
from tests.unit.kubernetes.conftest import EXAMPLE, ROOT

STAYS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
WORKLOAD = {"iam.gke.io/gcp-service-account": "reader@project.iam.gserviceaccount.com"}


@pytest.fixture
def settings():
    return yaml.safe_load((EXAMPLE / "cluster.yaml").read_text())


def groups_of(job):
    spec = job["spec"]["rayClusterSpec"]
    return {"head": spec["headGroupSpec"]} | {group["groupName"]: group for group in spec["workerGroupSpecs"]}


def spec_of(group):
    return group["template"]["spec"]


def environment(group):
    return {entry["name"]: entry["value"] for entry in spec_of(group)["containers"][0]["env"]}


def rendered_with(settings, *overrides, kind="job", **changes):
    config = load_config(EXAMPLE / "run.yaml", overrides)
    return render_manifests(config, Cluster.model_validate(settings | changes), kind)


def check(documents, tmp_path, crds=None):
    write_manifests(tmp_path, documents)
    assert lint(sorted(tmp_path.iterdir()), crds) == []
    for document in documents.values():
        if document["apiVersion"] in ("v1", "networking.k8s.io/v1"):
            kubernetes_validate.validate(document, "1.33", strict=True)


def test_a_job_asks_for_no_worker_before_its_driver_does(job):
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert [(group["replicas"], group["minReplicas"]) for group in groups] == [(0, 0)] * len(groups)
    assert all(group["maxReplicas"] > 0 for group in groups)


def test_the_nodes_of_a_job_go_however_it_ended(job):
    rules = job["spec"]["deletionStrategy"]["deletionRules"]
    gone = {
        (name, value): rule["condition"]["ttlSeconds"]
        for rule in rules
        if rule["policy"] == "DeleteCluster"
        for name, value in rule["condition"].items()
        if name != "ttlSeconds"
    }
    # A deadline, a failed submission and a lost head have no jobStatus of FAILED. KubeRay's CRD takes no other status.
    assert gone == {("jobStatus", "SUCCEEDED"): 60, ("jobDeploymentStatus", "Failed"): 1800}


def test_the_autoscaler_gives_a_pod_up_in_time_for_the_next_kind_and_asks_for_the_first_one_last(job, cluster):
    options = job["spec"]["rayClusterSpec"]["autoscalerOptions"]
    given = {entry["name"]: int(entry["value"]) for entry in options["env"]}
    kinds = 4  # two kinds of GPU, on spot nodes and on others
    assert given["RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S"] * kinds < cluster.node_wait_s
    # Until then Ray prefers all other groups to one that failed.
    assert given["RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S"] >= cluster.node_wait_s
    assert options["resources"]["limits"] == options["resources"]["requests"] == {"cpu": "1", "memory": "2Gi"}


def test_ray_reads_the_autoscalers_patience_from_these_variables(job):
    given = {entry["name"]: entry["value"] for entry in job["spec"]["rayClusterSpec"]["autoscalerOptions"]["env"]}
    # In a process of its own: Ray reads them when it is imported.
    code = (
        "from ray.autoscaler.v2.instance_manager.config import InstanceReconcileConfig as config\n"
        "from ray.autoscaler._private.constants import RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S as recovery_s\n"
        "print(config().allocate_status_timeout_s, recovery_s)"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=os.environ | given, capture_output=True, text=True)
    assert ran.stdout.split() == ["720", "3600"], ran.stderr


@pytest.mark.parametrize("gib", [1, 4, 16, 61])
def test_the_object_store_is_in_shared_memory_which_is_large_enough(gib, settings, tmp_path):
    size = {"head_memory_gib": max(4, gib), "shard_memory_gib": gib, "shards_per_pod": 1, "memory_gib": {"writer": gib}}
    documents = rendered_with(settings, **size)
    for group in groups_of(documents["rayjob.yaml"]).values():
        volumes = {volume["name"]: volume.get("emptyDir", {}) for volume in spec_of(group)["volumes"]}
        mounts = {m["mountPath"]: m["name"] for m in spec_of(group)["containers"][0]["volumeMounts"]}
        room = bytes_of(volumes[mounts["/dev/shm"]]["sizeLimit"])
        memory = bytes_of(spec_of(group)["containers"][0]["resources"]["limits"]["memory"])
        store = int(group["rayStartParams"]["object-store-memory"])
        assert volumes[mounts["/dev/shm"]]["medium"] == "Memory"
        assert 80 * 2**20 < store <= 0.9 * room <= 0.25 * memory
    check(documents, tmp_path)


def test_rays_files_on_the_head_are_in_memory_too(job):
    """KubeRay mounts a volume `ray-logs` at /tmp/ray of a head with the autoscaler: ours, where there is one."""
    head = spec_of(groups_of(job)["head"])
    (volume,) = [volume for volume in head["volumes"] if volume["name"] == "ray-logs"]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert {"name": "ray-logs", "mountPath": "/tmp/ray"} in head["containers"][0]["volumeMounts"]


def test_threads_follow_the_cpus_of_the_pod(settings):
    groups = groups_of(rendered_with(settings)["rayjob.yaml"])
    threads = {name: int(environment(group)["OMP_NUM_THREADS"]) for name, group in groups.items()}
    cpus = {n: int(spec_of(g)["containers"][0]["resources"]["limits"]["cpu"]) for n, g in groups.items()}
    assert threads["head"] == cpus["head"] == 4
    assert threads["writer-h100"] == cpus["writer-h100"] == 4
    # Four engines share this pod's GPU, and its 8 CPUs.
    assert (threads["image-embedder-l40s"], cpus["image-embedder-l40s"]) == (2, 8)


def test_pods_that_must_not_be_on_spot_nodes_keep_off_their_labels(job):
    groups = groups_of(job) | {"submitter": {"template": job["spec"]["submitterPodTemplate"]}}
    for name, group in groups.items():
        affinity = spec_of(group).get("affinity")
        if name.endswith("-spot"):
            assert affinity is None and spec_of(group)["nodeSelector"]["karpenter.sh/capacity-type"] == "spot"
            continue
        needed = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        (term,) = needed
        assert term["matchExpressions"] == [
            {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]}
        ]


def test_on_demand_nodes_with_labels_of_their_own_are_chosen_by_them(settings, tmp_path, crds_if_there):
    spot = {"tolerations": [{"key": "spot", "operator": "Exists"}]}
    with pytest.raises(ValueError, match="spot.node_selector: is empty"):
        Cluster.model_validate(settings | {"spot": spot})
    on_demand = {"node_selector": {"market": "on-demand"}, "tolerations": [{"key": "steady", "operator": "Exists"}]}
    documents = rendered_with(settings, spot=spot, on_demand=on_demand)
    for name, group in groups_of(documents["rayjob.yaml"]).items():
        chosen = spec_of(group).get("nodeSelector", {}).get("market")
        assert chosen == (None if name.endswith("-spot") else "on-demand")
    check(documents, tmp_path, crds_if_there)


def test_a_selector_of_several_labels_keeps_off_the_nodes_that_have_all_of_them(settings):
    spot = {"node_selector": {"pool": "gpu", "spot": "true"}}
    head = groups_of(rendered_with(settings, spot=spot)["rayjob.yaml"])["head"]
    required = spec_of(head)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    # Terms are alternatives.
    assert [term["matchExpressions"][0]["key"] for term in required["nodeSelectorTerms"]] == ["pool", "spot"]


def test_gpu_nodes_let_in_engines_whose_kind_does_not_matter(settings, tmp_path):
    plain = "runtime.engines.writer.accelerators=[]"
    (toleration,) = spec_of(groups_of(rendered_with(settings, plain)["rayjob.yaml"])["writer"])["tolerations"]
    assert toleration == {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    given = {"node_selector": {"pool": "gpu"}, "tolerations": [{"key": "gpus", "operator": "Exists"}]}
    documents = rendered_with(settings, plain, any_gpu=given)
    pod = spec_of(groups_of(documents["rayjob.yaml"])["writer"])
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["gpus", "nvidia.com/gpu"]
    check(documents, tmp_path)


def test_a_kind_of_gpu_that_the_cluster_does_not_know_is_refused(settings):
    with pytest.raises(ConfigError, match="which nodes have H200 .known: H100, L40S."):
        rendered_with(settings, "runtime.engines.renderer.accelerators=[H200]")
    with pytest.raises(ValueError, match="gpus.H200.node_selector: is empty"):
        Cluster.model_validate(settings | {"gpus": settings["gpus"] | {"H200": {}}})


def test_the_driver_and_the_shards_say_that_they_must_stay(job):
    for name, group in groups_of(job).items():
        annotations = group["template"]["metadata"].get("annotations", {})
        assert annotations == (STAYS if name in ("head", "vote") else {})


def test_no_start_of_a_pod_walks_through_its_volumes(job):
    for group in groups_of(job).values():
        assert spec_of(group)["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_a_role_has_secrets_and_an_identity_of_its_own(settings, tmp_path, crds_if_there):
    roles = {
        "head": {"service_account": "driver"},
        "shard": {"service_account": "reader", "annotations": {"a": "b"}},
        "writer": {
            "secrets": ["gated-models"],
            "service_account": "writer",
            "labels": {"azure.workload.identity/use": "true", "spti-ray/role": "shard"},
        },
    }
    documents = rendered_with(settings, roles=roles, service_accounts={"reader": WORKLOAD, "driver": {}})
    for name, group in groups_of(documents["rayjob.yaml"]).items():
        secrets = [source["secretRef"]["name"] for source in spec_of(group)["containers"][0].get("envFrom", ())]
        account = spec_of(group).get("serviceAccountName")
        if name.startswith("writer"):
            assert (secrets, account) == (["gated-models"], "writer")
            # Ours are what network policies go by.
            labels = group["template"]["metadata"]["labels"]
            assert (labels["azure.workload.identity/use"], labels["spti-ray/role"]) == ("true", "writer")
        else:
            expected = {"head": (["spti-ledger"], "driver"), "vote": ([], "reader")}
            assert (secrets, account) == expected.get(name, ([], None))
        assert name == "head" or spec_of(group)["automountServiceAccountToken"] is False
    assert groups_of(documents["rayjob.yaml"])["vote"]["template"]["metadata"]["annotations"] == STAYS | {"a": "b"}
    assert documents["service-account-reader.yaml"]["metadata"]["annotations"] == WORKLOAD
    assert {"service-account-reader.yaml", "service-account-driver.yaml"} <= set(
        documents["kustomization.yaml"]["resources"]
    )
    assert "service-account-writer.yaml" not in documents  # it is there already
    check(documents, tmp_path, crds_if_there)


def test_all_pods_have_the_registrys_secrets_the_priority_and_the_annotations(settings, tmp_path, crds_if_there):
    documents = rendered_with(
        settings, image_pull_secrets=["registry"], priority_class="batch", annotations={"sidecar.istio.io/inject": "no"}
    )
    job = documents["rayjob.yaml"]
    for group in (*groups_of(job).values(), {"template": job["spec"]["submitterPodTemplate"]}):
        assert spec_of(group)["imagePullSecrets"] == [{"name": "registry"}]
        assert spec_of(group)["priorityClassName"] == "batch"
        assert group["template"]["metadata"]["annotations"]["sidecar.istio.io/inject"] == "no"
    check(documents, tmp_path, crds_if_there)


@pytest.mark.parametrize(
    ("owner", "secret"),
    [("writer", "spti-ledger"), ("shard", "spti-ledger"), ("renderer", "reader"), ("writer", "of-head")],
)
def test_a_secret_of_driver_or_shards_is_for_no_engine(owner, secret, settings, tmp_path):
    roles = {"head": {"secrets": ["of-head"]}, owner: {"secrets": [secret]}}
    changed = settings | {"data_secrets": ["reader"], "roles": roles}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(ConfigError, match=f"roles.{owner}.secrets: {secret} is the driver's"):
        load_cluster(tmp_path / "cluster.yaml")


def test_roles_that_take_turns_in_one_pod_have_one_identity(settings):
    turns = [
        "runtime.take_turns=[writer, renderer]",
        *(
            f"runtime.engines.{role}.{setting}"
            for role in ("writer", "renderer")
            for setting in ("num_gpus=0.5", "replicas=2", "max_replicas=2", "accelerators=[H100]")
        ),
    ]
    roles = {"writer": {"service_account": "a"}, "renderer": {"service_account": "b"}}
    with pytest.raises(ConfigError, match="share a pod .* and not a and b"):
        rendered_with(settings, *turns, roles=roles)
    roles["renderer"] = {"secrets": ["models"]}
    pod = spec_of(groups_of(rendered_with(settings, *turns, roles=roles)["rayjob.yaml"])["writer-renderer-h100"])
    assert pod["serviceAccountName"] == "a" and pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "models"}}]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"roles": {"writer": {"egress": [{"cidr": "10.0.0.300/8"}]}}}, "is no range of addresses"),
        ({"roles": {"writer": {"egress": [{"ports": [443]}]}}}, "needs either cidr or namespace"),
        ({"roles": {"writer": {"egress": [{"cidr": "10.0.0.0/8", "ports": [0]}]}}}, "should be at least 1"),
        ({"roles": {"painter": {}}}, "painter"),
        ({"dns": ["cache"]}, "is no range of addresses"),
        ({"priority_class": "Has_Capitals"}, "priority_class"),
        ({"pod_wait_s": 0}, "pod_wait_s"),
    ],
)
def test_settings_of_pods_that_cannot_work_are_refused_in_one_line(change, part, settings, tmp_path):
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(settings | change))
    with pytest.raises(ConfigError, match=part) as caught:
        load_cluster(tmp_path / "cluster.yaml")
    assert "\n" not in str(caught.value)


def test_the_settings_that_the_documents_show_are_taken(settings, tmp_path, crds_if_there):
    text = (ROOT / "cluster" / "README.md").read_text()
    (shown,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "In the cluster's" in block]
    check(rendered_with(settings, **yaml.safe_load(shown)), tmp_path, crds_if_there)
