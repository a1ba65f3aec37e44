"""Engines by name: `renderer: preset:sdxl-turbo` is the entry of that name in `package_data/engines/renderers.yaml`.

A name is replaced by what it means where a configuration is read: a run's own settings and their hash never have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from spti_ray.config.parsing import parse_yaml, read_text

PREFIX = "preset:"
KEY = "preset"
"""`renderer: {preset: sdxl-turbo, batch_size: 8}` is the entry with another batch size."""


def renderer_presets() -> dict[str, dict[str, Any]]:
    """The settings of each renderer that has a name."""
    return parse_yaml(read_text(Path(str(resources.files("spti_ray"))) / "package_data" / "engines" / "renderers.yaml"))


def as_settings(engine: Any) -> Any:
    """`preset:NAME` as the mapping `{preset: NAME}`, to which settings can be added; all else as it is."""
    if isinstance(engine, str) and engine.startswith(PREFIX):
        return {KEY: engine.removeprefix(PREFIX).strip()}
    return engine


def without_presets(engines: Any) -> Any:
    """The value of `runtime.engines` with the settings that names of presets mean.

    Settings beside a name win over the entry's, and `options` over single ones of its options.

    Raises:
        ValueError: there is no such preset, or `kind` beside it is another; one line.
    """
    if not isinstance(engines, Mapping):
        return engines
    return {role: _written_out(str(role), as_settings(engine)) for role, engine in engines.items()}


def _written_out(role: str, engine: Any) -> Any:
    if not isinstance(engine, Mapping) or KEY not in engine:
        return engine
    presets = renderer_presets() if role == "renderer" else {}
    entry = presets.get(str(engine[KEY]))
    if not engine[KEY]:
        raise ValueError(f"{role}: the preset has no name; write preset:NAME, such as {next(iter(presets), 'NAME')}")
    if entry is None:
        there = f"; there are: {', '.join(presets)}" if presets else ": only renderers have presets"
        raise ValueError(f"{role}: no preset {engine[KEY]!r}{there}")
    given = {name: value for name, value in engine.items() if name != KEY}
    kind = given.get("kind", entry["kind"])
    if kind != entry["kind"] and ":" not in str(kind):  # a class of one's own may be for the same model
        raise ValueError(
            f"{role}: a preset brings its own kind, and {engine[KEY]} is of kind {entry['kind']}; leave kind out, or "
            "leave preset out and give model and options"
        )
    options = given.get("options")
    # A bare `options:` adds nothing; without the preset's own its model would be asked for diffusers' defaults.
    if options is None or isinstance(options, Mapping):
        given["options"] = entry["options"] | (options or {})
    return entry | given
