"""Runs the parts of the bench and writes their results, with the targets that were set."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from spti_ray import __version__
from spti_ray.bench import feeding as feeding_file
from spti_ray.bench import image_bytes as image_bytes_file
from spti_ray.bench import simulated_clusters
from spti_ray.bench.driver_memory import memory
from spti_ray.bench.feeding import feeding
from spti_ray.bench.image_bytes import UNITS, image_bytes
from spti_ray.bench.kills import kills
from spti_ray.bench.other_checkout import compared_with
from spti_ray.bench.overhead import in_pool_over_bare
from spti_ray.bench.peers import peers
from spti_ray.bench.scaling import driver_cost, scaling
from spti_ray.bench.script import script
from spti_ray.bench.streaming import streaming
from spti_ray.bench.votes import votes
from spti_ray.bench.workload import ROLES
from spti_ray.config import EnginesConfig, Role, RuntimeConfig
from spti_ray.config.loading import ConfigError
from spti_ray.figures import clock
from spti_ray.io.files import write_atomic
from spti_ray.models.factory import EMBEDDED
from spti_ray.observability.timeline import write_timeline
from spti_ray.step_progress import Told

BATCHES: dict[Role, int] = {"writer": 6, "renderer": 12, "image_embedder": 60, "text_embedder": 60}
"""Batches in one round of an engine: some seconds of work on two cores."""

ASSUMED_CALL_S, ASSUMED_BATCH_S = 200e-6, 60e-6
"""The driver's cost of a call and of each batch in it, in the simulation, if they were not measured in the same run."""


@dataclass(frozen=True)
class Settings:
    """What to measure with.

    `engines`: those of the part `engines`. `runtime`: where Ray is. `actors`: sizes for `scaling`.
    `price_per_gpu_hour`: in US dollars. `against`: another checkout, with which `images` and
    `feeding` are compared.
    """

    engines: EnginesConfig = EMBEDDED
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    actors: tuple[int, ...] = (1, 4, 16, 64)
    price_per_gpu_hour: float | None = None
    against: Path | None = None


@dataclass(frozen=True)
class Target:
    """A bound for a measured figure.

    `value`: reads the figure from the document; None if its part was not run. `at_most`: whether `bound` is an upper
    bound.
    """

    name: str
    value: Callable[[dict[str, Any]], float | None]
    bound: float
    at_most: bool = False

    def reached(self, value: float) -> bool:
        """Whether a figure reaches the target."""
        return value <= self.bound if self.at_most else value >= self.bound


def _at(*path: str | int) -> Callable[[dict[str, Any]], float | None]:
    def value(document: dict[str, Any]) -> float | None:
        found: Any = document
        for key in path:
            if isinstance(key, str) and key not in found:
                return None
            found = found[key]
        return found

    return value


TARGETS = (
    Target("writer in its pool over bare", _at("engines", "writer", "ratio"), 0.95),
    Target("renderer in its pool over bare", _at("engines", "renderer", "ratio"), 0.97),
    Target("weak scaling, units of 1 s", _at("scaling", "weak_1s", -1), 0.97),
    Target("weak scaling, units of 100 ms", _at("scaling", "weak_0.1s", -1), 0.90),
    Target("strong scaling, units of 1 s", _at("scaling", "strong_1s", -1), 0.97),
    Target("strong scaling, units of 100 ms", _at("scaling", "strong_0.1s", -1), 0.90),
    Target("driver's thread, microseconds a unit", _at("driver", "thread_us"), 300, at_most=True),
    Target(
        "images, thread over the other checkout's",
        _at("images", "against", "ratios", "ray_400KB_kept_ms"),
        1 / 40,
        True,
    ),
    Target("images kept, 1,000 engines, units of 3 s", _at("images", "many_actors", 0, "efficiency"), 0.95),
    Target("driver's memory, 10,000 engines over 100", _at("memory", "over_bound"), 1.0, at_most=True),
    Target("10,000 engines, units of 1 s as submitted", _at("model", "many_actors", 0, "efficiency"), 0.9),
    Target("streaming over barriers, balanced stages", _at("streaming", "ratio"), 0.75, at_most=True),
    Target(
        "renders to an embedder, over the other checkout's", _at("feeding", "against", "ratios", "renders_per_s"), 4
    ),
    Target(
        "private images to an embedder, over the other's", _at("feeding", "against", "ratios", "records_per_s"), 1.8
    ),
    Target(
        "PNG of a voted render, CPU over the other's", _at("feeding", "against", "ratios", "png_cpu_ms"), 1 / 3, True
    ),
    Target("a small run over a plain script, time", _at("script", "wall"), 0.8, at_most=True),
    Target("a small run over a plain script, CPU", _at("script", "cpu"), 1.05, at_most=True),
    Target("a small run over a plain script, memory", _at("script", "memory"), 1.8, at_most=True),
    Target("votes over the bare product", _at("votes", "ratio"), 0.8),
)


Measure = Callable[[dict[str, Any], Told], Any]
"""From the document so far to a part's results; is to tell which of its measurements is under way."""


def parts(settings: Settings, out: Path) -> dict[str, Measure]:
    """The parts of the bench by name.

    Args:
        settings: What to measure with.
        out: The folder for the timeline.
    """
    runtime = settings.runtime

    def stages(document: dict[str, Any], told: Told) -> Any:
        figures, trace = streaming(runtime=runtime)
        write_timeline(trace, out / "timeline.json")
        return figures

    def simulated(document: dict[str, Any], told: Told) -> Any:
        measured = document.get("driver", {}).get("call_us")
        call_s = measured * 1e-6 if measured else ASSUMED_CALL_S
        batch_s = document["driver"]["batch_us"] * 1e-6 if measured else ASSUMED_BATCH_S
        return {
            "engines": "SIMULATED, in simulated time",
            "driver_us_per_unit": round((call_s + batch_s) * 1e6, 1),
            "driver_measured": measured is not None,
            "many_actors": simulated_clusters.many_actors(call_s, batch_s=batch_s),
            "growth": simulated_clusters.cost_by_size(),
            "spot": simulated_clusters.spot_nodes(),
        }

    def images(document: dict[str, Any], told: Told) -> Any:
        here = image_bytes(runtime=runtime, told=told)
        if settings.against:
            told("the other checkout", 0, 0)
        return here | against(image_bytes_file, here, str(UNITS))

    def fed(document: dict[str, Any], told: Told) -> Any:
        here = feeding()
        if settings.against:
            told("the other checkout", 0, 0)
        return here | against(feeding_file, here)

    def against(file: Any, here: dict[str, Any], *arguments: str) -> dict[str, Any]:
        if settings.against is None:
            return {}
        return {"against": compared_with(settings.against, file.__file__, arguments, here, file.is_figure)}

    def engine(role: Role, told: Told) -> Any:
        told(role, ROLES.index(role), len(ROLES))
        return in_pool_over_bare(
            role,
            settings.engines.of(role),
            BATCHES[role],
            runtime=runtime,
            price_per_gpu_hour=settings.price_per_gpu_hour,
        )

    return {
        "engines": lambda document, told: {role: engine(role, told) for role in ROLES},
        "scaling": lambda document, told: scaling(settings.actors, runtime=runtime, told=told),
        "driver": lambda document, told: driver_cost(runtime=runtime, told=told),
        "streaming": stages,
        "images": images,
        "memory": lambda document, told: memory(told=told),
        "model": simulated,
        "peers": lambda document, told: peers(runtime=runtime, told=told),
        "kills": lambda document, told: kills(runtime=runtime),
        "feeding": fed,
        "script": lambda document, told: script(told=told),
        "votes": lambda document, told: votes(),
    }


PARTS = tuple(parts(Settings(), Path()))


def run(
    out: Path,
    settings: Settings,
    only: tuple[str, ...] = PARTS,
    told: Told = lambda what, done, total: None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure part by part, and write the results after each.

    Args:
        out: The folder for `throughput.json`, `throughput.png` and, with streaming, `timeline.json` (a Chrome trace).
            Parts that are there already, and are not measured now, are kept.
        settings: What to measure with.
        only: Names of the parts to measure.
        told: Is told what is being measured.

    Yields:
        The name of each part, and the document so far.

    Raises:
        ConfigError: there is no such part.
    """
    measures = parts(settings, out)
    from spti_ray.bench.plot import plot  # matplotlib takes a second to import

    for name in only:
        if name not in measures:
            raise ConfigError(f"--only {name}: there is no such part; parts: {', '.join(measures)}")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "throughput.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    took_s: dict[str, int] = document.setdefault("took_s", {})
    for number, name in enumerate(only, 1):
        before = f", which took {clock(took_s[name])} the last time" if name in took_s else ""
        about = f"{name} (part {number} of {len(only)}{before})"
        began = monotonic()
        told(about, 0, 0)
        document[name] = measures[name](document, _within(told, about))
        took_s[name] = round(monotonic() - began)
        document |= {"spti_ray": __version__, "machine": _machine(), "ratios": ratios(document)}
        write_atomic(path, json.dumps(document, indent=2) + "\n")
        write_atomic(out / "throughput.png", plot(document, out / "timeline.json"))
        yield name, document


def _within(told: Told, part: str) -> Told:
    return lambda what, done, total: told(f"{part}: {what}", done, total)


def ratios(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every target whose figure was measured: value, bound, and whether it was reached."""
    found: dict[str, dict[str, Any]] = {}
    for target in TARGETS:
        value = target.value(document)
        if value is not None:
            side = "at_most" if target.at_most else "at_least"
            found[target.name] = {"value": value, side: target.bound, "reached": target.reached(value)}
    return found


def _machine() -> dict[str, Any]:
    """The driver's machine."""
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    """The name of the CPU by Linux; on ARM, where there is none, the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
