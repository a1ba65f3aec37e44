"""Settings of pods: their volumes, the nodes that take them, and what one role has of its own."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from posixpath import normpath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from spti_ray.config import Role, Section

Owner = Role | Literal["head", "shard"]
"""Whose pods: those of an engine's role, of the driver (`head`), or of the shards."""

Named = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
"""The name of a Kubernetes object: lower-case letters, digits, - and dots."""

Port = Annotated[int, Field(ge=1, le=65535)]


def checked_cidr(text: str) -> str:
    """A range of addresses as Kubernetes takes it. Raises ValueError in one line."""
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError(f"{text!r} is no range of addresses, such as 10.20.0.0/16 or 10.20.0.7/32") from None


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


class Egress(Section):
    """Whom pods may open connections to: addresses, or the pods of a namespace of this cluster."""

    cidr: str | None = Field(default=None, description="A range of addresses: 10.20.0.7/32.")
    namespace: Named | None = Field(default=None, description="In place of `cidr`: all pods of this namespace.")
    ports: tuple[Port, ...] = Field(default=(443,), min_length=1)

    @field_validator("cidr")
    @classmethod
    def _is_a_range(cls, cidr: str | None) -> str | None:
        return None if cidr is None else checked_cidr(cidr)

    @model_validator(mode="after")
    def _one_of_both(self) -> Egress:
        if (self.cidr is None) == (self.namespace is None):
            raise ValueError("needs either cidr or namespace")
        return self


class RolePods(Section):
    """What the pods of one role have of their own, beside what all have."""

    secrets: tuple[Named, ...] = Field(
        default=(), description="Secrets whose keys become their environment: an `api_key_env`, HF_TOKEN."
    )
    egress: tuple[Egress, ...] = Field(
        default=(),
        description="Whom they may reach outside of the run. For head and shard in place of what they reach by "
        "default (object storage at 443; the head the Kubernetes API too): name all of it then.",
    )
    service_account: Named | None = Field(default=None, description="Whose identity they have.")
    annotations: dict[str, str] = Field(default={})
    labels: dict[str, str] = Field(default={}, description='Such as azure.workload.identity/use: "true".')
