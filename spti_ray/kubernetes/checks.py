"""What of a configuration a cluster could not run: places that pods can't see, hosts that they can't reach."""

from __future__ import annotations

from urllib.parse import urlsplit

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.config.job_paths import check_on_ray, check_places
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import roles_needed
from spti_ray.io.files import is_url, needs_no_shared_disk
from spti_ray.kubernetes.settings import Cluster
from spti_ray.models.factory import endpoint_of


def check_paths(config: Config, cluster: Cluster) -> None:
    """Refuse a path that would be lost with its pod, or that the driver can't see.

    Raises:
        ConfigError: one line that names the setting.
    """
    check_places(config, cluster.out)
    check_on_ray(config)
    if config.runtime.driver.may_move:
        raise ConfigError(
            "runtime.driver: has resources or labels, but on Kubernetes the driver stays on the head, which alone has "
            "the ledger's secrets and must not be evicted; leave them out"
        )
    volumes = {"data.path": (cluster.data, cluster.runs), "ledger.path": (cluster.runs,)}
    for name, path in {"data.path": config.data.path, "ledger.path": config.ledger.path}.items():
        if is_url(path) or (name == "data.path" and needs_no_shared_disk(path)):
            continue
        if not any(volume and volume.holds(path) for volume in volumes[name]):
            kept = " or ".join(volume.path for volume in volumes[name] if volume)
            raise ConfigError(f"{name} {path} is not under {kept}: the driver can't see it there, or would lose it")


def check_endpoints(config: Config, engines: EnginesConfig, cluster: Cluster) -> None:
    """Refuse an engine behind HTTP that its pods could not reach, or whose key they would not have.

    Raises:
        ConfigError: one line that names the role and what the cluster's settings lack.
    """
    for role in roles_needed(config):
        engine = engines.of(role)
        endpoint = endpoint_of(engine)
        if endpoint is None:
            continue
        port = _port(endpoint)
        if not _reaches(cluster, role, port):
            raise ConfigError(
                f"runtime.engines.{role}: asks {endpoint}, which its pods could not reach: name its addresses and port "
                f"{port} in roles.{role}.egress of the cluster's settings, or the role in hosts_by_name"
            )
        key = engine.options.get("api_key_env")
        if key and not any(pods.secrets for pods in cluster.pods_of(role)):
            raise ConfigError(
                f"runtime.engines.{role}.options.api_key_env: is {key}, which its pods would not have: name a Secret "
                f"with that key in roles.{role}.secrets of the cluster's settings"
            )


def check_turns(config: Config, cluster: Cluster) -> None:
    """Refuse two identities for roles that take turns in one pod. Raises ConfigError."""
    accounts = {pods.service_account for pods in cluster.pods_of(*config.runtime.take_turns) if pods.service_account}
    if len(accounts) > 1:
        raise ConfigError(
            f"roles: {' and '.join(config.runtime.take_turns)} share a pod (runtime.take_turns), which has one "
            f"service_account, and not {' and '.join(sorted(accounts))}"
        )


def _port(endpoint: str) -> int:
    parts = urlsplit(endpoint)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _reaches(cluster: Cluster, role: Role, port: int) -> bool:
    if role in cluster.hosts_by_name or (cluster.internet and port == 443):
        return True
    return any(port in egress.ports for pods in cluster.pods_of(role) for egress in pods.egress)
