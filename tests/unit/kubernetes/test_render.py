"""What is written for Kubernetes."""

import shlex

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.identity import config_sha256
from spti_ray.config.loading import ConfigError, load_config, parse_config
from spti_ray.driver import driver
from spti_ray.kubernetes.lint import lint
from spti_ray.kubernetes.render import render_manifests, to_yaml, write_manifests
from spti_ray.kubernetes.settings import load_cluster
from tests.unit.kubernetes.conftest import EXAMPLE, ROOT


def pods_of(job):
    spec = job["spec"]["rayClusterSpec"]
    workers = {group["groupName"]: group["template"]["spec"] for group in spec["workerGroupSpecs"]}
    return spec["headGroupSpec"]["template"]["spec"], workers


def claims(pod):
    return {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}


@pytest.mark.parametrize("kind", ["job", "cluster"])
def test_the_manifests_in_the_repository_are_what_the_command_writes(kind, run_config, cluster):
    written = {path.name: path.read_text() for path in (ROOT / "cluster" / f"ray{kind}").iterdir()}
    assert written == {
        name: to_yaml(document) for name, document in render_manifests(run_config, cluster, kind).items()
    }, "run: make manifests"


@pytest.mark.parametrize("kind", ["job", "cluster"])
def test_what_is_written_passes_its_own_lint(kind, run_config, cluster, tmp_path):
    write_manifests(tmp_path, render_manifests(run_config, cluster, kind))
    assert lint(sorted(tmp_path.iterdir())) == []


@pytest.mark.parametrize("kind", ["job", "cluster"])
def test_what_is_written_is_what_kuberay_accepts(kind, run_config, cluster, tmp_path, crds):
    write_manifests(tmp_path, render_manifests(run_config, cluster, kind))
    assert lint(sorted(tmp_path.iterdir()), crds) == []


def test_what_is_written_is_what_kubernetes_accepts(run_config, cluster):
    documents = render_manifests(run_config, cluster)
    for name in ("namespace.yaml", "config.yaml", "network-policy.yaml", "network-policy-head.yaml"):
        kubernetes_validate.validate(documents[name], "1.33", strict=True)


def test_only_driver_and_shards_mount_private_data_and_runs(job):
    head, workers = pods_of(job)
    assert claims(head) == claims(workers["vote"]) == {"spti-runs", "spti-data"}
    for name, pod in workers.items():
        assert name == "vote" or claims(pod) == {"spti-models"}


def test_only_the_driver_has_secrets(job):
    head, workers = pods_of(job)
    assert head["containers"][0]["envFrom"] == [{"secretRef": {"name": "spti-ledger"}}]
    assert "secretRef" not in str(workers) and "secretKeyRef" not in str(workers)


def test_the_run_in_the_manifests_is_the_run_that_was_configured(run_config, cluster):
    text = render_manifests(run_config, cluster)["config.yaml"]["data"]["run.yaml"]
    there = parse_config(yaml.safe_load(text))
    assert config_sha256(there) == config_sha256(run_config)
    assert there.runtime.node_labels["writer"] == {"spti-ray/role": "writer"}
    assert there.runtime.placement_timeout_s == cluster.node_wait_s


def test_each_role_finds_nodes_that_its_label_selector_takes(run_config, cluster):
    from spti_ray.models.factory import engines_config
    from spti_ray.runtime.placement.bundles import bundle_of

    documents = render_manifests(run_config, cluster)
    there = parse_config(yaml.safe_load(documents["config.yaml"]["data"]["run.yaml"]))
    groups = documents["rayjob.yaml"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    for role in ("writer", "renderer", "image_embedder"):
        bundle = bundle_of(role, 0, there, engines_config(there.runtime.engines))
        wanted = dict(bundle.node_labels)
        of_role = [group for group in groups if wanted.items() <= group["labels"].items()]
        kinds = {group["labels"]["ray.io/accelerator-type"] for group in of_role}
        assert kinds == set(bundle.accelerators)


def test_workers_reach_the_internet_only_where_that_is_switched_on(run_config, cluster):
    def everywhere(cluster):
        rules = render_manifests(run_config, cluster)["network-policy.yaml"]["spec"]["egress"]
        return [rule for rule in rules if not rule.get("to")]

    assert everywhere(cluster) == []
    assert everywhere(cluster.model_copy(update={"internet": True})) == [{"ports": [{"protocol": "TCP", "port": 443}]}]


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("data.path=/home/me/images", "data.path /home/me/images is not under /data or /runs"),
        ("data.path=images", "data.path images"),
        ("ledger.path=ledger", "ledger.path ledger is not under /runs"),
        ("ledger.path=/data/ledger", "ledger.path /data/ledger is not under /runs"),
        ("ledger.path=/runs/../home/ledger", "is not under /runs"),
        ("ledger.path=bundled:stickers", "ledger.path must be a folder or a URL"),
        ("data.path=s3://key:secret@bucket/x", "data.path s3://bucket/x: credentials"),
    ],
)
def test_a_path_that_pods_cannot_see_is_refused(setting, part, cluster):
    with pytest.raises(ConfigError, match=part):
        render_manifests(load_config(EXAMPLE / "run.yaml", [setting]), cluster)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("image: registry/spti-ray:latest", "image"),
        ("image: registry:5000/spti-ray", "image"),
        ("out: /elsewhere/run", "is not under /runs"),
        ("name: Has_Capitals", "name"),
        (f"name: {'a' * 48}", "name"),
        ("colour: blue", "unknown key"),
        ("shards_per_pod: 0", "shards_per_pod"),
    ],
)
def test_cluster_settings_that_cannot_work_are_refused_in_one_line(change, part, tmp_path):
    settings = yaml.safe_load((EXAMPLE / "cluster.yaml").read_text()) | yaml.safe_load(change)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match=part) as caught:
        load_cluster(tmp_path / "cluster.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a list", "{", None])
def test_cluster_settings_that_cannot_be_read_are_refused_in_one_line(text, tmp_path):
    if text is not None:
        (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_cluster(tmp_path / "cluster.yaml")


def test_data_in_object_storage_are_read_by_the_shards_with_secrets_of_their_own(run_config, cluster):
    remote = run_config.model_copy(update={"data": run_config.data.model_copy(update={"path": "s3://bucket/images"})})
    documents = render_manifests(remote, cluster.model_copy(update={"data": None, "data_secrets": ("reader",)}))
    head, workers = pods_of(documents["rayjob.yaml"])
    reader = {"secretRef": {"name": "reader"}}
    assert reader in head["containers"][0]["envFrom"]
    assert {name for name, pod in workers.items() if "envFrom" in pod["containers"][0]} == {"vote"}
    assert workers["vote"]["containers"][0]["envFrom"] == [reader]
    policy = documents["network-policy-vote.yaml"]["spec"]
    groups = documents["rayjob.yaml"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    selected = policy["podSelector"]["matchLabels"].items()
    assert [g["groupName"] for g in groups if selected <= g["template"]["metadata"]["labels"].items()] == ["vote"]
    assert policy["egress"] == [{"ports": [{"protocol": "TCP", "port": 443}]}]
    assert "network-policy-vote.yaml" not in render_manifests(run_config, cluster)


def test_a_job_starts_a_run_that_is_started_again_by_itself(run_config, cluster, monkeypatch):
    command = shlex.split(render_manifests(run_config, cluster)["rayjob.yaml"]["spec"]["entrypoint"])
    seen = {}
    monkeypatch.setattr(driver, "run_config", lambda config, out, **how: seen.update(how, out=str(out)))
    command[2] = str(EXAMPLE / "run.yaml")
    assert CliRunner().invoke(app, command[1:]).exit_code == 0
    assert seen == {"unattended": True, "out": cluster.out}
