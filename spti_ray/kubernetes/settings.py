"""Settings of a Kubernetes cluster, from which, with a run's configuration, manifests are rendered."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from spti_ray.config import Role, Section
from spti_ray.config.loading import ConfigError, parse_section, read_mapping
from spti_ray.kubernetes.pod_settings import Named, Nodes, Owner, RolePods, Volume, checked_cidr

NODE_LOCAL_DNS = "169.254.20.10/32"
"""Where Kubernetes' own DNS cache of each node answers. No selector of pods finds it: it is in the node's network."""


def has_own_tag(image: str) -> bool:
    """Whether an image has a digest, or a tag that is not `latest`."""
    return "@" in image or image.rpartition("/")[2].partition(":")[2] not in ("", "latest")


class Cluster(Section):
    """One Kubernetes cluster and what of it a run may use."""

    name: str = Field(
        default="spti", pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=47, description="Of the RayJob."
    )
    namespace: str = Field(default="spti", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    image: str = Field(description="Built from cluster/Dockerfile, with a tag or digest of its own.")
    image_pull_secrets: tuple[Named, ...] = Field(default=(), description="Secrets that open the image's registry.")
    out: str = Field(pattern=r"^/[^\s]+$", description="The run's folder, on the runs' volume.")
    runs: Volume = Field(description="Run folders: read and written by the driver and the shards, and by nobody else.")
    data: Volume | None = Field(default=None, description="Private images: read by the driver and the shards only.")
    models: Volume | None = Field(default=None, description="Models that engines read (HF_HOME).")
    secrets: tuple[Named, ...] = Field(
        default=(), description="Secrets whose keys become the driver's environment, such as AWS_ACCESS_KEY_ID."
    )
    data_secrets: tuple[Named, ...] = Field(
        default=(), description="The same for driver and shards: to read private images from object storage."
    )
    roles: dict[Owner, RolePods] = Field(
        default={},
        description="What pods of one role have of their own (`head` is the driver's): `secrets` (an `api_key_env`, "
        "HF_TOKEN), `egress` (a list of {cidr or namespace, ports}), `service_account`, `annotations`, `labels`.",
    )
    service_accounts: dict[Named, dict[str, str]] = Field(
        default={},
        description="ServiceAccounts to make, each with its annotations, such as those of a workload identity; who has "
        "them is in `roles`. Others that `roles` names must be there.",
    )
    internet: bool = Field(
        default=False,
        description="Whether workers may open HTTPS connections to the outside, to download models. Off: models must "
        "be in the image or in `models`, and no pod that sees private images can reach the internet.",
    )
    hosts_by_name: tuple[Role, ...] = Field(
        default=(),
        description="Roles that a policy of another kind lets reach hosts by name (cluster/overlays/cilium).",
    )
    dns: tuple[str, ...] = Field(
        default=(NODE_LOCAL_DNS,),
        min_length=1,
        description="Addresses of DNS caches on the nodes, asked beside the pods of kube-system.",
    )
    gpus: dict[str, Nodes] = Field(default={}, description="Nodes of each kind of GPU, by Ray's name (H100).")
    any_gpu: Nodes = Field(
        default=Nodes(),
        description="Nodes of engines with a GPU whose kind does not matter (no `accelerators`), and of such shards.",
    )
    spot: Nodes | None = Field(
        default=None,
        description="Spot nodes, by their labels: asked for first, on-demand nodes when there are none. Pods that must "
        "not be on them keep off nodes with these labels.",
    )
    on_demand: Nodes | None = Field(default=None, description="On-demand nodes, where they have labels of their own.")
    autoscaling: bool = Field(
        default=True,
        description="Off: as many pods as the run starts with, on its first choice of GPU and on-demand nodes, for "
        "queues that admit a job as a whole (Kueue, Volcano).",
    )
    autoscaler_memory_gib: int = Field(default=2, ge=1, description="Of the autoscaler, beside the driver.")
    memory_gib: dict[Role, int] = Field(default={}, description="Of a role's pod; 64 with a GPU and 16 without.")
    shards_per_pod: int = Field(default=8, ge=1, le=100)
    shard_memory_gib: int = Field(default=4, ge=1, description="Of one shard.")
    head_memory_gib: int = Field(default=16, ge=4)
    priority_class: Named | None = Field(default=None, description="PriorityClass of all pods.")
    annotations: dict[str, str] = Field(default={}, description="Of all pods.")
    attempts: int = Field(default=4, ge=1, le=100, description="Clusters that a run may use up before it fails.")
    idle_s: int = Field(default=120, ge=1, description="After which an idle pod is given back.")
    node_wait_s: int = Field(default=3600, ge=60, description="How long to wait for nodes before the run fails.")
    pod_wait_s: int | None = Field(
        default=None,
        ge=10,
        description="After which a pod that did not come is given up and the next kind of node is asked for. It must "
        "have time to get a node and load the image. By default so that all kinds have their turn in `node_wait_s`.",
    )
    deadline_s: int = Field(
        default=7 * 24 * 3600,
        ge=60,
        description="How long one attempt may take: KubeRay counts anew with each. One that takes longer ends the job, "
        "without another; so a job takes `attempts` times as long at most.",
    )
    operator_namespace: str = Field(default="kuberay-system", description="Of the KubeRay operator.")
    monitoring_namespace: str = Field(default="monitoring", description="Of Prometheus.")

    @field_validator("image")
    @classmethod
    def _has_a_tag(cls, image: str) -> str:
        if not has_own_tag(image):
            raise ValueError("must have a tag or digest of its own: driver and workers of all attempts need the same")
        return image

    @field_validator("dns")
    @classmethod
    def _are_ranges(cls, dns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_cidr(cidr) for cidr in dns)

    @model_validator(mode="after")
    def _keeps_secrets_apart(self) -> Cluster:
        of_driver = {*self.secrets, *(name for pods in self.pods_of("head") for name in pods.secrets)}
        of_data = {*self.data_secrets, *(name for pods in self.pods_of("shard") for name in pods.secrets)}
        for owner, pods in self.roles.items():
            others = {"head": set[str](), "shard": of_driver}.get(owner, of_driver | of_data)
            if shared := sorted(others & set(pods.secrets)):
                raise ValueError(
                    f"roles.{owner}.secrets: {shared[0]} is the driver's, or for reading private images; give these "
                    "pods a Secret of their own"
                )
        return self

    @model_validator(mode="after")
    def _finds_nodes_by_labels(self) -> Cluster:
        for kind, nodes in self.gpus.items():
            if not nodes.node_selector:
                raise ValueError(
                    f"gpus.{kind}.node_selector: is empty, so a node with any GPU would do; give its label"
                )
        if self.spot and not self.spot.node_selector and not (self.on_demand and self.on_demand.node_selector):
            raise ValueError(
                "spot.node_selector: is empty, so pods that must not be on spot nodes could not keep off them; give "
                "the label of spot nodes, or on_demand.node_selector"
            )
        return self

    def pods_of(self, *owners: str) -> tuple[RolePods, ...]:
        """What the roles of a pod have of their own."""
        return tuple(pods for owner, pods in self.roles.items() if owner in owners)


def load_cluster(path: Path) -> Cluster:
    """Read a cluster's settings.

    Raises:
        ConfigError: they can't be read or used; one line.
    """
    raw = read_mapping(path, "file of cluster settings", "settings, such as `image: registry/spti-ray:0.1.0`")
    cluster = parse_section(Cluster, raw)
    if not cluster.runs.holds(cluster.out):
        raise ConfigError(f"{path}: out {cluster.out} is not under {cluster.runs.path}, and would be lost with its pod")
    return cluster
