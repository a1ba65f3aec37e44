"""The base class of all sections of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

_NUMBERS = {int, float}


class Section(BaseModel):
    """Base of all sections: immutable, strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, raw: Any) -> Any:
        """Refuse true and false for a number: YAML reads a bare `yes` or `on` as true, which Python takes for 1."""
        for name, field in cls.model_fields.items():
            is_union = get_origin(field.annotation) in (Union, UnionType)
            kinds = {*get_args(field.annotation)} if is_union else {field.annotation}
            if isinstance(raw, Mapping) and isinstance(raw.get(name), bool) and kinds & _NUMBERS and bool not in kinds:
                raise ValueError(f"{name} should be a number, and is {str(raw[name]).lower()}: write the number")
        return raw
