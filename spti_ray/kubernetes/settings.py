"""Settings of a Kubernetes cluster, from which, with a run's configuration, manifests are rendered."""

from __future__ import annotations

from pathlib import Path
from posixpath import normpath
from typing import Any

from pydantic import Field, field_validator

from spti_ray.config import Role, Section
from spti_ray.config.loading import ConfigError, parse_section, read_mapping


def has_own_tag(image: str) -> bool:
    """Whether an image has a digest, or a tag that is not `latest`."""
    return "@" in image or image.rpartition("/")[2].partition(":")[2] not in ("", "latest")


class Volume(Section):
    """A PersistentVolumeClaim that pods see under `path`."""

    claim: str
    path: str = Field(pattern=r"^/[^\s]+$")

    def holds(self, path: str) -> bool:
        """Whether an absolute path, `..` followed, is on the volume."""
        return Path(normpath(path)).is_relative_to(self.path)


class Nodes(Section):
    """How Kubernetes finds the nodes of one kind."""

    node_selector: dict[str, str] = Field(default={})
    tolerations: tuple[dict[str, Any], ...] = ()


class Cluster(Section):
    """One Kubernetes cluster and what of it a run may use."""

    name: str = Field(
        default="spti", pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=47, description="Of the RayJob."
    )
    namespace: str = Field(default="spti", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    image: str = Field(description="Built from cluster/Dockerfile, with a tag or digest of its own.")
    out: str = Field(pattern=r"^/[^\s]+$", description="The run's folder, on the runs' volume.")
    runs: Volume = Field(description="Run folders: read and written by the driver and the shards, and by nobody else.")
    data: Volume | None = Field(default=None, description="Private images: read by the driver and the shards only.")
    models: Volume | None = Field(default=None, description="Models that engines read (HF_HOME).")
    secrets: tuple[str, ...] = Field(
        default=(), description="Secrets whose keys become the driver's environment, such as AWS_ACCESS_KEY_ID."
    )
    data_secrets: tuple[str, ...] = Field(
        default=(), description="The same for driver and shards: to read private images from object storage."
    )
    internet: bool = Field(
        default=False,
        description="Whether workers may open HTTPS connections to the outside, to download models. Off: models must "
        "be in the image or in `models`, and no pod that sees private images can reach the internet.",
    )
    gpus: dict[str, Nodes] = Field(default={}, description="Nodes of each kind of GPU, by Ray's name (H100).")
    spot: Nodes | None = Field(
        default=None, description="Spot nodes: asked for first, on-demand nodes when there are none."
    )
    autoscaling: bool = Field(
        default=True,
        description="Off: as many pods as the run starts with, on its first choice of GPU and on-demand nodes, for "
        "queues that admit a job as a whole (Kueue).",
    )
    memory_gib: dict[Role, int] = Field(default={}, description="Of a role's pod; 64 with a GPU and 16 without.")
    shards_per_pod: int = Field(default=8, ge=1, le=100)
    shard_memory_gib: int = Field(default=4, ge=1, description="Of one shard.")
    head_memory_gib: int = Field(default=16, ge=4)
    attempts: int = Field(default=4, ge=1, le=100, description="Clusters that a run may use up before it fails.")
    idle_s: int = Field(default=120, ge=1, description="After which an idle pod is given back.")
    node_wait_s: int = Field(default=3600, ge=60, description="How long to wait for nodes before the run fails.")
    deadline_s: int = Field(default=7 * 24 * 3600, ge=60, description="How long all attempts together may take.")
    operator_namespace: str = Field(default="kuberay-system", description="Of the KubeRay operator.")
    monitoring_namespace: str = Field(default="monitoring", description="Of Prometheus.")

    @field_validator("image")
    @classmethod
    def _has_a_tag(cls, image: str) -> str:
        if not has_own_tag(image):
            raise ValueError("must have a tag or digest of its own: driver and workers of all attempts need the same")
        return image


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
