"""Rates that were measured on one's own machines: by `spti bench`, or by a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spti_ray.config import ROLES, Config, EngineConfig
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.config.method_traits import trains
from spti_ray.config.parsing import parse_json
from spti_ray.models.factory import engines_config
from spti_ray.planning.costs.rates import (
    EngineRate,
    Rates,
    RatesFile,
    TrainingRate,
    merged,
    pixels_of,
    published,
    read_rates,
    steps_of,
)
from spti_ray.runs.run_file import read_run


def load_rates(paths: tuple[Path, ...] = ()) -> Rates:
    """The published rates, and before them those at `paths`.

    Args:
        paths: results of `spti bench` (file or folder), folders of finished runs, files in the form of
            `published.yaml`.

    Raises:
        ConfigError: one of them is none of these.
    """
    given: list[RatesFile] = []
    png_bytes = None
    for path in paths:
        if (path / "internal" / "timings.json").is_file():
            rates, size = _of_run(path)
            given.append(rates)
            png_bytes = png_bytes or size
        elif path.is_dir() and not (path / "throughput.json").is_file():
            raise ConfigError(
                f"--rates {path}: holds neither a finished run's internal/timings.json nor a throughput.json"
            )
        else:
            file = path / "throughput.json" if path.is_dir() else path
            bench = _bench(file)
            given.append(read_rates(path) if bench is None else bench)
    return Rates(merged(given), published(), png_bytes)


def _bench(path: Path) -> RatesFile | None:
    """Rates in a bench's JSON; None if the file is none."""
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
        engines, machine = document["engines"], document["machine"]
        return RatesFile(rates=tuple(_of_bench(path, role, found, machine) for role, found in engines.items()))
    except OSError as error:
        raise ConfigError(f"--rates {path}: can't be read ({type(error).__name__})") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _of_bench(path: Path, role: Any, found: dict[str, Any], machine: dict[str, Any]) -> EngineRate:
    kind, _, model = found["engine"].partition(" ")
    settings = EngineConfig(kind=kind, model=model, **found.get("settings", {}))
    said = "" if "settings" in found else "; its options are not recorded"
    return EngineRate(
        role=role,
        models=(model,),
        kind=kind,
        of="tokens" if "tokens" in found["rate_of"] else "items",
        per_s=found["pool"],
        steps=steps_of(settings),
        pixels=_side(settings),
        gpus=found["pool"] / found["per_gpu_second"] if found["per_gpu_second"] else 0,
        hardware=f"a driver with {machine['cpus']} cores of {machine.get('cpu') or 'a CPU that is not recorded'}",
        measured=f"the engine in its pool, nothing beside it{said}",
        source=f"spti bench: {path}",
    )


def _of_run(path: Path) -> tuple[RatesFile, tuple[float, int] | None]:
    """Rates of a run's stages per busy second of their actors, and the size of its images (`_png_bytes`).

    Whatever else used the machine during the run is in them.
    """
    try:
        config = parse_config(read_run(path)["config"])
        timings = parse_json((path / "internal" / "timings.json").read_text(encoding="utf-8"))
        engines = engines_config(config.runtime.engines)
        rates: list[EngineRate] = []
        for role in ROLES:
            stage, engine = timings["stages"].get(role), engines.of(role)
            if not stage or not stage["busy_s"]:
                continue
            tokens = stage["output_tokens_per_s"]
            rates.append(
                EngineRate(
                    role=role,
                    models=(engine.model,),
                    kind=engine.kind,
                    of="tokens" if tokens else "items",
                    per_s=tokens or stage["units_per_s"],
                    steps=steps_of(engine),
                    pixels=_side(engine),
                    gpus=engine.num_gpus,
                    hardware="the run's machines",
                    measured="busy seconds of its actors, which share the machine and may have two units at once",
                    source=f"the run in {path}",
                )
            )
        training = _of_training(path, config, engines.renderer, timings)
        return RatesFile(rates=tuple(rates), training=training), _png_bytes(path, engines.renderer)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"--rates {path}: its run.yaml or internal/timings.json can't be read") from None


def _of_training(
    path: Path, config: Config, renderer: EngineConfig, timings: dict[str, Any]
) -> tuple[TrainingRate, ...]:
    """The rate of a run that trained without interruption; empty for any other run."""
    seconds = timings["phases_s"].get("fine-tuning") if trains(config) else None
    if not seconds:
        return ()
    settings = config.finetune
    log = path / "internal" / "finetune" / "steps.log"
    examples = len(log.read_bytes().splitlines()) * settings.batch_size * settings.draws
    return (
        TrainingRate(
            models=(renderer.model,),
            per_s=examples / seconds,
            gpus=renderer.num_gpus,
            pixels=_side(renderer),
            hardware="the run's machines",
            measured=f"dp-finetune, mode {settings.mode}, reading and loading included, batches of the expected size; "
            "internal: how long it took depends on the private records",
            source=f"the run in {path}",
        ),
    )


def _png_bytes(path: Path, renderer: EngineConfig) -> tuple[float, int] | None:
    """(mean bytes of a released image, pixels of one), where the renderer's settings say how large it is."""
    sizes = [file.stat().st_size for file in (path / "release" / "images").glob("*.png")]
    pixels = pixels_of(renderer)
    return (sum(sizes) / len(sizes), pixels) if sizes and pixels else None


def _side(engine: EngineConfig) -> int | None:
    pixels = pixels_of(engine)
    return round(pixels**0.5) if pixels else None
