"""The engine of each role, and where and how wide a run is spread."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from spti_ray.config.engine_presets import without_presets
from spti_ray.config.section import Section
from spti_ray.types import Role


class EngineConfig(Section):
    """One role's engine. `kind` is a known name or `module:Class`; a new engine is one file and this line."""

    kind: str
    model: str = Field(default="", description="Hugging Face id, local folder or `bundled:NAME`.")
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="float32 in place of what a CPU has no instructions for."
    )
    batch_size: int = Field(default=16, ge=1, description="Fixed and padded, so that a retried batch reproduces.")
    replicas: int = Field(
        default=1,
        ge=0,
        le=10_000,
        description="Actors that must be there for a run to start. 0, with `max_replicas`: the first one is started "
        "when the run waits for it, and the last given back when nobody does.",
    )
    max_replicas: int | None = Field(
        default=None,
        le=10_000,
        description="Up to which number a pool grows while the run waits for it; `replicas` by default.",
    )
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(
        default=0.0, ge=0, description="Of one replica, all on one node; a fraction shares a GPU with other engines."
    )
    accelerators: tuple[str, ...] = Field(
        default=(),
        description="Kinds of GPU that will do, the best first, by Ray's names: [H100, L40S]; empty: any. Of what is "
        "free the best is taken; what is added at the start is the autoscaler's choice, by its `priority`.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads of one replica. By default all cores; on a cluster OMP_NUM_THREADS of its node or, "
        "where that is not set, its `num_cpus`.",
    )
    options: dict[str, Any] = Field(default={}, description="Engine-specific, checked by the engine.")

    @model_validator(mode="after")
    def _can_grow(self) -> EngineConfig:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is smaller than replicas {self.replicas}")
        if not self.replicas and not self.max_replicas:
            raise ValueError("replicas is 0: say in max_replicas how many there may be")
        return self

    @field_validator("num_gpus")
    @classmethod
    def _one_device_or_whole_ones(cls, num_gpus: float) -> float:
        if num_gpus > 1 and num_gpus != int(num_gpus):
            raise ValueError(f"{num_gpus:g} GPUs would straddle devices: give a share of one, or a whole number")
        return num_gpus


class EnginesConfig(Section):
    """The engine of every role."""

    writer: EngineConfig
    renderer: EngineConfig
    image_embedder: EngineConfig
    text_embedder: EngineConfig
    captioner: EngineConfig

    def of(self, role: Role) -> EngineConfig:
        """The engine of a role."""
        return getattr(self, role)


class ShardConfig(Section):
    """What each shard is given to vote with, whatever engines there are. Votes are the same on any hardware."""

    num_cpus: float = Field(
        default=0.1,
        ge=0,
        description="CPUs that Ray keeps for one shard; it compares records by as many threads, at least 1.",
    )
    num_gpus: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of a GPU for one shard: records are compared there, and kept there as far as its share of "
        "the memory goes. 0: on the CPU.",
    )


class DriverConfig(Section):
    """Where the driver of a run works that joins a cluster: by default on the node where its command is started.

    A Ray job's command is on the head. With `resources` or `labels` Ray chooses the node, also after a loss of it.
    """

    num_cpus: float = Field(default=0.0, ge=0, description="CPUs that Ray keeps for the driver.")
    resources: dict[str, float] = Field(default={}, description="Ray resources that its node must have, as {head: 1}.")
    labels: dict[str, str] = Field(default={}, description="Ray labels of the nodes that it may be on.")

    @property
    def may_move(self) -> bool:
        """Whether it may be on another node than its command, and start again on a third."""
        return bool(self.resources or self.labels)

    @field_validator("labels")
    @classmethod
    def _not_on_spot(cls, labels: dict[str, str]) -> dict[str, str]:
        if labels.get("ray.io/market-type") == "spot":
            raise ValueError("the driver is not to be on spot capacity: every loss of it can cost a planned query")
        return labels


class RuntimeConfig(Section):
    """Which engines a run uses, where it works and how it deals with failures."""

    engines: Literal["embedded", "fake"] | dict[Role, dict[str, Any]] = Field(
        default="embedded",
        description="embedded, fake, or settings per role on top of the embedded ones. A renderer can be named: "
        "`preset:sdxl-turbo`, or `{preset: sdxl-turbo, batch_size: 8}`.",
    )
    seed: int = Field(default=0, ge=0, description="Public seed of texts and images; the DP noise has none.")
    shards: int = Field(default=2, ge=1, le=100_000, description="Actors that hold private records; public.")
    shard: ShardConfig = Field(default=ShardConfig(), description="CPUs and share of a GPU of each shard.")
    address: str | None = Field(default=None, description="Ray cluster to join; none starts a local one.")
    driver: DriverConfig = Field(default=DriverConfig(), description="Where the driver is on a cluster.")
    node_labels: dict[Role | Literal["shard"], dict[str, str]] = Field(
        default={}, description="Ray labels of the nodes that a role's engines (or the shards) may run on; empty: any."
    )
    ray_start_timeout_s: float = Field(
        default=120.0, gt=0, description="How long a process of a local Ray may take to come up; it is tried twice."
    )
    placement_timeout_s: float = Field(default=300.0, gt=0)
    node_start_s: float = Field(
        default=300.0,
        ge=0,
        description="How long a new node takes until its engine is up, before the run has seen one: a pool grows only "
        "while its work would last longer.",
    )
    autoscaling: bool = Field(
        default=True,
        description="Whether nodes may still join the cluster at `address`. Off: a run of which an actor fits on none "
        "of the nodes that are there is refused at once.",
    )
    unit_attempts: int = Field(
        default=3,
        ge=1,
        description="How often a batch that an engine is sent may fail by itself before it is given up.",
    )
    unit_crashes: int = Field(
        default=3, ge=1, description="How often an engine may crash on a batch before the batch is given up."
    )
    unit_timeout_s: float = Field(
        default=1800.0, gt=0, description="An engine that takes longer over a batch is hung, and started anew."
    )
    in_flight_per_actor: int = Field(default=2, ge=1, le=1000)
    take_turns: tuple[Role, ...] = Field(
        default=(),
        description="[writer, renderer]: they share a GPU that only one of them uses at a time, while the other sleeps "
        "in the machine's memory. Empty: nobody sleeps.",
    )
    engine_metrics: bool = Field(
        default=True, description="Whether the writer publishes vLLM's own figures through Ray: tokens, cache, queue."
    )
    executor: Literal["ray", "local"] = Field(
        default="ray",
        description="local: no Ray, on this machine alone: public engines in the driver's process, and all that sees "
        "private images in one other. For tests and debugging.",
    )

    @field_validator("engines", mode="before")
    @classmethod
    def _named(cls, engines: Any) -> Any:
        return without_presets(engines)

    @field_validator("take_turns")
    @classmethod
    def _who_can_sleep(cls, roles: tuple[Role, ...]) -> tuple[Role, ...]:
        # Shards ask an embedder or captioner at any time, and know nothing of turns.
        if roles and set(roles) != {"writer", "renderer"}:
            raise ValueError(f"can be [writer, renderer] or empty: other roles serve shards (got {', '.join(roles)})")
        return roles

    @model_validator(mode="after")
    def _local_is_here(self) -> RuntimeConfig:
        if self.executor == "local" and self.address:
            raise ValueError("executor is local, which joins no cluster, but address is set; leave one of them out")
        if self.executor == "local" and self.take_turns:
            raise ValueError("executor is local, where nobody takes turns on a GPU; leave take_turns out")
        return self
