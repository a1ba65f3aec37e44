"""`spti refine`: from a finished run to the configuration of one that starts from it.

Without more generations it is a re-rendering: post-processing of noised counts, which costs no privacy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spti_ray.config import ROLES, Config, Role
from spti_ray.config_load import ConfigError, changed_keys, parse_config, resolved, with_overrides
from spti_ray.models.factory import FAKE, engines_config
from spti_ray.origin import WHICH, Origin

_OF_A_RENDERING = ("release.images.", "release.images_per_text.", "runtime.", "title.")
"""What a re-rendering may change: all else was decided when its texts were voted for."""


def refined(directory: Path, images: int | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a re-rendering of the run in `directory`: its own, with `images` of the release and
    `a.b=value` overrides.

    ConfigError, in one line, if the run can't be started from, or if nothing would be different.
    """
    origin = Origin(directory)
    raw = with_overrides(_with_room_for(overrides, copy.deepcopy(origin.raw)), overrides)
    if images is not None:
        raw = with_overrides(raw, [f"release.images={images}"])
    # Nobody is there to take turns with.
    raw = with_overrides(raw, ["runtime.take_turns=[]"])
    config = parse_config(raw)
    changed = changed_keys(resolved(origin.config), resolved(config))
    if not changed:
        raise ConfigError("nothing to do: say --images N, or --set what is to be rendered differently")
    _check_rendering_alone(changed, origin.config, config)
    raw["origin"] = {"run": origin.run_id, "path": str(directory), "rerender": True}
    return parse_config(raw)


def _check_rendering_alone(changed: Sequence[str], before: Config, after: Config) -> None:
    """ConfigError if something is changed of what the texts were voted for with: it would say what was not so."""
    fixed = [key for key in changed if not f"{key}.".startswith(_OF_A_RENDERING)]
    fixed += [f"runtime.engines.{role}" for role in _changed_roles(before, after) if role != "renderer"]
    if fixed:
        raise ConfigError(
            f"{fixed[0]}: a re-rendering can't change it, since the texts were voted for with it; it can change "
            "release.images, release.images_per_text, title, runtime.seed, runtime.engines.renderer and where it runs"
        )


def _changed_roles(before: Config, after: Config) -> list[Role]:
    """Roles that would run another engine."""
    try:
        old, new = engines_config(before.runtime.engines), engines_config(after.runtime.engines)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return [role for role in ROLES if new.of(role).model_dump(include=WHICH) != old.of(role).model_dump(include=WHICH)]


def _with_room_for(overrides: Sequence[str], raw: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run, `raw` (changed in place), such that overrides of single engines can be laid over them."""
    keys = {override.partition("=")[0].strip() for override in overrides}
    runtime = raw.setdefault("runtime", {})
    if runtime.get("engines") == "fake" and any(key.startswith("runtime.engines.") for key in keys):
        runtime["engines"] = FAKE.model_dump(mode="json")
    for role in ROLES:
        engine = runtime["engines"].get(role) if isinstance(runtime.get("engines"), dict) else None
        if engine and {f"runtime.engines.{role}.model", f"runtime.engines.{role}.kind"} & keys:
            # They belong to the model that is replaced.
            for key in ("options", "revision", "dtype"):
                engine.pop(key, None)
    return raw
