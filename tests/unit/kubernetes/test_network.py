"""Whom the pods of a role may reach: engines behind HTTP, object storage at other ports, DNS caches of nodes."""

import pytest
import yaml

from spti_ray.config.loading import ConfigError, load_config
from spti_ray.kubernetes.render import render_manifests
from spti_ray.kubernetes.settings import Cluster
from tests.unit.kubernetes.conftest import EXAMPLE
from tests.unit.kubernetes.test_pods import check, environment, groups_of

REMOTE = [
    "runtime.engines.writer={kind: openai, model: m, num_cpus: 1, options: {base_url: 'http://vllm:8000/v1'}}",
]


@pytest.fixture
def settings():
    return yaml.safe_load((EXAMPLE / "cluster.yaml").read_text())


def rendered_with(settings, *overrides, **changes):
    return render_manifests(load_config(EXAMPLE / "run.yaml", overrides), Cluster.model_validate(settings | changes))


def egress(document):
    return document["spec"]["egress"]


def test_dns_is_asked_of_the_caches_on_nodes_too(rendered, settings):
    def asked(documents):
        (rule,) = [
            rule for rule in egress(documents["network-policy.yaml"]) if rule.get("ports", [{}])[0].get("port") == 53
        ]
        return [peer["ipBlock"]["cidr"] for peer in rule["to"] if "ipBlock" in peer]

    assert asked(rendered["job"]) == ["169.254.20.10/32"]
    assert asked(rendered_with(settings, dns=["10.96.0.10/32"])) == ["10.96.0.10/32"]


def test_a_role_reaches_the_addresses_and_ports_that_are_named_for_it(settings, tmp_path, crds_if_there):
    roles = {
        "writer": {"egress": [{"cidr": "10.20.0.7/32", "ports": [8000, 8443]}, {"namespace": "inference"}]},
        "head": {"egress": [{"cidr": "10.30.0.0/16", "ports": [9000]}, {"cidr": "10.96.0.1/32"}]},
        "shard": {"egress": [{"cidr": "10.30.0.0/16", "ports": [9000]}]},
    }
    documents = rendered_with(settings, "data.path=s3://bucket/images", roles=roles, data=None)
    storage = {
        "to": [{"ipBlock": {"cidr": "10.30.0.0/16"}}],
        "ports": [{"protocol": "TCP", "port": 9000}],
    }
    # Named in place of 443 to everywhere.
    assert egress(documents["network-policy-vote.yaml"]) == [storage]
    assert egress(documents["network-policy-head.yaml"])[0] == storage
    assert all(rule["to"] for rule in egress(documents["network-policy-head.yaml"]))
    addresses, pods = egress(documents["network-policy-writer.yaml"])
    assert addresses["to"] == [{"ipBlock": {"cidr": "10.20.0.7/32"}}]
    assert [entry["port"] for entry in addresses["ports"]] == [8000, 8443]
    assert pods["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "inference"}}}]
    selected = documents["network-policy-writer.yaml"]["spec"]["podSelector"]["matchLabels"].items()
    groups = groups_of(documents["rayjob.yaml"])
    of = {name for name, group in groups.items() if selected <= group["template"]["metadata"]["labels"].items()}
    assert of == {name for name in groups if name.startswith("writer")}
    assert "network-policy-renderer.yaml" not in documents
    assert "network-policy-writer.yaml" in documents["kustomization.yaml"]["resources"]
    check(documents, tmp_path, crds_if_there)


def test_an_engine_behind_http_that_its_pods_could_not_reach_is_refused(settings):
    with pytest.raises(ConfigError, match=r"asks http://vllm:8000/v1, .* port 8000 in roles.writer.egress"):
        rendered_with(settings, *REMOTE)
    with pytest.raises(ConfigError, match="port 8000"):
        rendered_with(settings, *REMOTE, internet=True)
    with pytest.raises(ConfigError, match="port 8000"):
        rendered_with(settings, *REMOTE, roles={"renderer": {"egress": [{"namespace": "a", "ports": [8000]}]}})
    assert rendered_with(settings, *REMOTE, roles={"writer": {"egress": [{"namespace": "a", "ports": [8000]}]}})
    assert rendered_with(settings, *REMOTE, hosts_by_name=["writer"])


def test_an_endpoint_whose_key_its_pods_would_not_have_is_refused(settings):
    keyed = [REMOTE[0].replace("options: {", "options: {api_key_env: VLLM_KEY, ")]
    reached = {"egress": [{"namespace": "a", "ports": [8000]}]}
    with pytest.raises(ConfigError, match="api_key_env: is VLLM_KEY, which its pods would not have"):
        rendered_with(settings, *keyed, roles={"writer": reached})
    documents = rendered_with(settings, *keyed, roles={"writer": reached | {"secrets": ["vllm-key"]}})
    container = groups_of(documents["rayjob.yaml"])["writer"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "vllm-key"}}]


def test_only_engines_that_may_reach_a_hub_ask_it_for_models(settings):
    def offline(**changes):
        groups = groups_of(rendered_with(settings, **changes)["rayjob.yaml"])
        return {name for name, group in groups.items() if "HF_HUB_OFFLINE" in environment(group)}

    everybody = offline()
    assert {"head", "vote", "writer-h100"} <= everybody
    writers = {name for name in everybody if name.startswith("writer")}
    assert offline(hosts_by_name=["writer"]) == everybody - writers
    of_mirror = {"writer": {"egress": [{"cidr": "10.0.0.1/32"}]}, "shard": {"egress": [{"cidr": "10.0.0.1/32"}]}}
    assert offline(roles=of_mirror) == everybody - writers
    assert offline(internet=True) == {"vote"}  # shards load no model
