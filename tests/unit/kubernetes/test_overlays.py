"""The kustomize components, applied as kustomize does: JSON patches onto the documents they are for."""

import re

import jsonpatch
import pytest
import yaml

from spti_ray.kubernetes.lint import lint
from spti_ray.kubernetes.render import render_manifests, write_manifests
from tests.unit.kubernetes.conftest import ROOT

OF_FIXED_SIZE = ("kueue", "volcano")
OVERLAYS = sorted(path.parent for path in (ROOT / "cluster" / "overlays").glob("*/kustomization.yaml"))


def patched(document, overlay):
    """`document` after the component's patches for its kind."""
    component = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    for patch in component.get("patches", ()):
        target = patch["target"]
        if (f"{target['group']}/{target['version']}", target["kind"]) == (document["apiVersion"], document["kind"]):
            document = jsonpatch.apply_patch(document, yaml.safe_load(patch["patch"]))
    return document


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
@pytest.mark.parametrize("kind", ["job", "cluster"])
def test_a_component_leaves_manifests_that_kuberay_accepts(overlay, kind, run_config, cluster, tmp_path, crds):
    settings = cluster.model_copy(update={"autoscaling": overlay.name not in OF_FIXED_SIZE})
    documents = {
        name: patched(document, overlay) for name, document in render_manifests(run_config, settings, kind).items()
    }
    write_manifests(tmp_path, documents)
    assert lint(sorted(tmp_path.glob("*.yaml")), crds) == []


def test_there_is_a_component_for_each_promised_system():
    assert {path.name for path in OVERLAYS} == {"kueue", "volcano", "tls", "prometheus", "cilium"}


def test_a_job_under_kueue_waits_suspended_and_has_a_fixed_size(run_config, cluster):
    fixed = cluster.model_copy(update={"autoscaling": False})
    job = patched(render_manifests(run_config, fixed)["rayjob.yaml"], ROOT / "cluster" / "overlays" / "kueue")
    assert job["spec"]["suspend"] and job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    spec = job["spec"]["rayClusterSpec"]
    assert spec["enableInTreeAutoscaling"] is False and "autoscalerOptions" not in spec
    assert all(group["replicas"] == group["minReplicas"] == group["maxReplicas"] for group in spec["workerGroupSpecs"])
    assert all(group["replicas"] > 0 for group in spec["workerGroupSpecs"])


def test_tls_and_volcano_change_what_they_are_named_for(job, run_config, cluster):
    secured = patched(job, ROOT / "cluster" / "overlays" / "tls")
    assert secured["spec"]["rayClusterSpec"]["tlsOptions"] == {"enabled": True}
    fixed = render_manifests(run_config, cluster.model_copy(update={"autoscaling": False}))["rayjob.yaml"]
    queued = patched(fixed, ROOT / "cluster" / "overlays" / "volcano")
    assert queued["metadata"]["labels"]["volcano.sh/queue-name"] == "spti"


@pytest.mark.parametrize("name", OF_FIXED_SIZE)
@pytest.mark.parametrize("kind", ["job", "cluster"])
def test_a_queue_refuses_what_grows(name, kind, rendered):
    if (name, kind) == ("kueue", "cluster"):
        pytest.skip("the component is for jobs")
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched(rendered[kind][f"ray{kind}.yaml"], ROOT / "cluster" / "overlays" / name)


def test_hosts_by_name_are_of_pods_that_there_are(job):
    policy = yaml.safe_load((ROOT / "cluster" / "overlays" / "cilium" / "hosts.yaml").read_text())
    assert (policy["apiVersion"], policy["kind"]) == ("cilium.io/v2", "CiliumNetworkPolicy")
    selected = policy["spec"]["endpointSelector"]["matchLabels"].items()
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    of = [group["groupName"] for group in groups if selected <= group["template"]["metadata"]["labels"].items()]
    assert of and all(name.startswith("writer") for name in of)
    hosts, dns = policy["spec"]["egress"]
    assert hosts["toFQDNs"] and hosts["toPorts"][0]["ports"][0]["port"] == "443"
    assert dns["toPorts"][0]["rules"]["dns"]


def test_prometheus_keeps_no_metric_of_rays_which_count_private_calls():
    monitor = yaml.safe_load((ROOT / "cluster" / "overlays" / "prometheus" / "pod-monitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (rule,) = endpoint["metricRelabelings"]
    assert (rule["action"], rule["sourceLabels"]) == ("keep", ["__name__"])
    # Prometheus matches whole names.
    ours = ["ray_spti_generation", "ray_spti_vllm_kv_cache_usage"]
    # vLLM's own names too: an engine that serves shards could export them, and would not know whose requests it had.
    names = ["ray_tasks", "ray_actors", "ray_vllm_num_requests_running", "vllm:prompt_tokens_total", *ours]
    assert [name for name in names if re.fullmatch(rule["regex"], name)] == ours


def test_prometheus_scrapes_the_port_that_every_pod_names(job):
    monitor = yaml.safe_load((ROOT / "cluster" / "overlays" / "prometheus" / "pod-monitor.yaml").read_text())
    port = monitor["spec"]["podMetricsEndpoints"][0]["port"]
    spec = job["spec"]["rayClusterSpec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert port in {entry["name"] for entry in group["template"]["spec"]["containers"][0]["ports"]}
        assert monitor["spec"]["selector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()
