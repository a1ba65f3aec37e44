"""Names of all settings, as `evolution.labels[].name`, read from the models of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from spti_ray.config import Config, EngineConfig


def setting_names() -> set[str]:
    """Those of a run, and those of an engine as `runtime.engines.*`."""
    return {*_names(Config, ""), *_names(EngineConfig, "runtime.engines.*.")}


def _names(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner, mark = _section_in(field.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from _names(inner, f"{prefix}{name}{mark}.")


def _section_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return (annotation, "") if issubclass(annotation, BaseModel) else (None, "")
    for argument in get_args(annotation):
        found, mark = _section_in(argument)
        if found is not None:
            return found, "[]" if get_origin(annotation) in (tuple, list) else mark
    return None, ""
