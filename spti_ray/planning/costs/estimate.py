"""Hours of engines, GPU-hours, and the least time that a run takes, from counts and rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from spti_ray.config import Config, EngineConfig, EnginesConfig, Role
from spti_ray.config.method_traits import filter_roles, has_shards, roles_needed, shard_gpus, shards_vote
from spti_ray.models.factory import endpoint_of, engines_config
from spti_ray.planning.costs.cpu_stages import CpuStage, cpu_stages, least_wall_s
from spti_ray.planning.costs.rates import EngineRate, Rates
from spti_ray.planning.costs.tokens import Tokens, tokens_by_phase
from spti_ray.planning.workload import Phase, in_whole_batches, phases, shown_by_shards


@dataclass(frozen=True)
class RoleWork:
    """What a role's engines do in all.

    `private_items`: items that shards show them; None where nobody said how many records there are. `engine_h`: hours
    of one engine that is never idle; None without a rate. A last batch that is not full costs a writer less; the other
    engines fill it up with blanks. `assumed`: what was assumed beyond the rate's source.
    """

    role: Role
    engine: EngineConfig
    items: int
    batches: int
    private_items: int | None
    engine_h: float | None
    rate: EngineRate | None
    assumed: tuple[str, ...] = ()

    @property
    def gpu_h(self) -> float | None:
        """GPU-hours; None without a rate."""
        return None if self.engine_h is None else self.engine_h * self.engine.num_gpus

    @property
    def name(self) -> str:
        """The engine's kind and model."""
        return f"{self.engine.kind} {self.engine.model}"


@dataclass(frozen=True)
class Pools:
    """A run on pools of given sizes: the least time that it takes, and what its actors hold during that time.

    `engines`: how many of each role. `wall_h`: hours; a role without a rate counts as if it took no time. `waits_for`:
    the roles that the run waits for most of the time. `held_gpu_h`, `held_cpu_h`: GPU-hours and core-hours, those of
    the shards too.
    `is_least`: whether all the rates are such that the run takes at least `wall_h`; else it may be faster.
    """

    name: str
    engines: Mapping[Role, int]
    wall_h: float
    waits_for: tuple[Role, ...]
    held_gpu_h: Mapping[Role | Literal["shard"], float]
    held_cpu_h: float
    is_least: bool = True


@dataclass(frozen=True)
class Estimate:
    """What a run would take. `pools` has an entry as configured, and one fully grown if pools may grow."""

    config: Config
    engines: EnginesConfig
    private_records: int | None
    phases: tuple[Phase, ...]
    roles: tuple[RoleWork, ...]
    tokens: Tokens
    pools: tuple[Pools, ...]
    rates: Rates = field(repr=False)
    cpu_stages: tuple[CpuStage, ...] = ()
    """CPU work beside the engines, over all phases."""

    @property
    def unknown(self) -> tuple[RoleWork, ...]:
        """Roles that have work but no rate."""
        return tuple(work for work in self.roles if work.rate is None and (work.items or work.private_items != 0))

    @property
    def per_second(self) -> dict[Role, float]:
        """Items per second of one engine, of every role whose rate is known; texts have the length asked for."""
        found: dict[Role, float] = {}
        for work in self.roles:
            if work.rate is None or not work.items:
                continue
            each = work.rate.seconds(work.engine)[0]
            found[work.role] = 1 / (each * self.tokens.output / work.items if work.rate.of == "tokens" else each)
        return found

    @property
    def is_whole(self) -> bool:
        """Whether the hours are of all the work."""
        return not self.unknown and all(work.private_items is not None for work in self.roles)


def estimate(config: Config, rates: Rates, private_records: int | None = None) -> Estimate:
    """Estimate what a run would take.

    Args:
        config: its configuration.
        rates: how fast engines are.
        private_records: how many records there are, as stated publicly; never counted. Without it, the work on private
            images is unknown.
    """
    clock = _Clock(config, rates, private_records)
    engines, needed = clock.engines, roles_needed(config)
    sizes: dict[str, dict[Role, int]] = {
        # Of a pool that starts from none, one at least has to do the work.
        "as configured": {role: max(1, engines.of(role).replicas) for role in needed},
        "fully grown": {role: engines.of(role).max_replicas or engines.of(role).replicas for role in needed},
    }
    if sizes["fully grown"] == sizes["as configured"]:
        del sizes["fully grown"]
    return Estimate(
        config,
        engines,
        private_records,
        clock.phases,
        tuple(clock.role(role) for role in needed),
        sum(clock.tokens, Tokens()),
        tuple(clock.pools(name, size) for name, size in sizes.items()),
        rates,
        clock.cpu_stages(),
    )


class _Clock:
    """Seconds of engines on the parts of a run."""

    def __init__(self, config: Config, rates: Rates, private_records: int | None) -> None:
        self.engines = engines_config(config.runtime.engines)
        self.phases, self.tokens = phases(config), tokens_by_phase(config)
        self._config = config
        self._rates: dict[Role, EngineRate | None] = {
            role: rates.of(role, self.engines.of(role)) for role in roles_needed(config)
        }
        self._records = private_records
        self._shown = shown_by_shards(config, private_records or 0)
        self._stages = [
            cpu_stages(config, self.engines, phase, 0 if index else self._shown.get("image_embedder", 0))
            for index, phase in enumerate(self.phases)
        ]

    def role(self, role: Role) -> RoleWork:
        engine, rate = self.engines.of(role), self._rates[role]
        seconds = [self._seconds(role, index) for index in range(len(self.phases))]
        known = [s for s in seconds if s is not None]
        return RoleWork(
            role,
            engine,
            items=sum(phase.items(role) for phase in self.phases),
            batches=sum(phase.batches(role, engine.batch_size) for phase in self.phases),
            private_items=None if role in self._shown and self._records is None else self._shown.get(role, 0),
            engine_h=None if len(known) < len(seconds) else sum(known) / 3600,
            rate=rate,
            assumed=rate.seconds(engine)[1] if rate else (),
        )

    def cpu_stages(self) -> tuple[CpuStage, ...]:
        """Those of all phases, each once."""
        found: dict[tuple[Role, str], CpuStage] = {}
        for stage in (stage for stages in self._stages for stage in stages):
            key = stage.role, stage.what
            before = found.get(key, CpuStage(*key, 0, 0.0))
            found[key] = CpuStage(*key, before.images + stage.images, before.cpu_s + stage.cpu_s)
        return tuple(found.values())

    def pools(self, name: str, size: dict[Role, int]) -> Pools:
        wall_s = cpu_s = 0.0
        waited = dict.fromkeys(size, 0.0)
        gpu_s: dict[Role | Literal["shard"], float] = dict.fromkeys(size, 0.0)
        shards = self._config.runtime.shards if has_shards(self._config) else 0
        filtering = filter_roles(self._config)
        for index, phase in enumerate(self.phases):
            # Roles work at the same time, except where they share cores or take turns on a GPU.
            groups: dict[str, dict[Role, float]] = {}
            for role, replicas in size.items():
                hardware = hardware_of(self._config, self.engines.of(role), role)
                seconds = self._wall(role, index, replicas)
                if hardware != "cores":  # There rates are of engines with all that is done beside them.
                    beside_s = least_wall_s(self._stages[index], role, self.engines, replicas)
                    seconds = max(seconds, beside_s) if seconds else 0.0
                groups.setdefault(hardware, {})[role] = seconds
            slowest = max(groups.values(), key=lambda group: sum(group.values()))
            phase_s = sum(slowest.values())
            wall_s += phase_s
            for role, seconds in slowest.items():
                waited[role] += seconds
            # After the last generation only the renderers are kept, and who filters, for the release.
            is_last = phase.name == "release" and shards_vote(self._config)
            for role in size:
                if role == "renderer" or role in filtering or not is_last:
                    gpu_s[role] += phase_s * self.engines.of(role).num_gpus * size[role]
                    cpu_s += phase_s * self.engines.of(role).num_cpus * size[role]
            if not is_last:
                gpu_s["shard"] = gpu_s.get("shard", 0.0) + phase_s * shard_gpus(self._config) * shards
                cpu_s += phase_s * self._config.runtime.shard.num_cpus * shards
        most = max(waited.values())
        return Pools(
            name,
            size,
            wall_s / 3600,
            tuple(role for role, seconds in waited.items() if seconds and seconds >= most / 2),
            {role: seconds / 3600 for role, seconds in gpu_s.items() if seconds},
            cpu_s / 3600,
            all(rate is None or rate.is_least(self.engines.of(role)) for role, rate in self._rates.items()),
        )

    def _seconds(self, role: Role, index: int) -> float | None:
        """Seconds of one engine that does all of the role's work in a phase; None if it has work but no rate."""
        engine, rate, phase = self.engines.of(role), self._rates[role], self.phases[index]
        public, private = phase.items(role), self._private(role, index)
        if not public and not private:
            return 0.0
        if rate is None:
            return None
        each = rate.seconds(engine)[0]
        if rate.of == "tokens":
            return each * self.tokens[index].output
        # A writer's batch holds as many texts as there are; the other engines fill theirs up.
        whole = public if role == "writer" else phase.batches(role, engine.batch_size) * engine.batch_size
        return each * (whole + private)

    def _wall(self, role: Role, index: int, replicas: int) -> float:
        """The least seconds of a phase with so many engines; a role without a rate counts as nothing."""
        total = self._seconds(role, index) or 0.0
        batches = self.phases[index].batches(role, self.engines.of(role).batch_size)
        if self._private(role, index) or role == "writer" or not batches:
            return total / replicas
        # A batch is not split, and all take equally long.
        return total * -(-batches // replicas) / batches

    def _private(self, role: Role, index: int) -> int:
        """Items that shards show in a phase. They make their views during the first, in batches filled with blanks."""
        items = self._shown.get(role, 0) if index == 0 else 0
        first: Role = "image_embedder" if "image" in self._config.evolution.spaces else "captioner"
        return in_whole_batches(items, self._config.runtime.shards, self.engines.of(first).batch_size)


def hardware_of(config: Config, engine: EngineConfig, role: Role) -> str:
    """A name for the hardware that a role's engine works on: roles with the same name work one after the other."""
    if role in config.runtime.take_turns:
        return "turns"
    shares_cores = config.runtime.address is None and not engine.num_gpus and endpoint_of(engine) is None
    return "cores" if shares_cores else role
