"""`spti refine`: from a finished run to the configuration of one that starts from it.

With more generations it is a run of its own, with a charge of its own, that starts from the survivors. Without it is a
re-rendering: post-processing of noised counts, which costs no privacy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spti_ray.config import ROLES, Config, Role
from spti_ray.config.identity import changed_keys, resolved
from spti_ray.config.loading import ConfigError, parse_config, with_ledger_in, with_overrides
from spti_ray.config.method_traits import candidates_are_images
from spti_ray.models.factory import FAKE, engines_config
from spti_ray.run.continuation import WHICH, Origin

_OF_A_RENDERING = ("release.images.", "release.images_per_text.", "runtime.", "title.")
"""What a re-rendering may change: all else was decided when its texts were voted for."""


def refined(
    directory: Path, generations: int | None = None, images: int | None = None, overrides: Sequence[str] = ()
) -> Config:
    """The configuration of a run that starts from the one in `directory`: its own, with so many more `generations`, or
    none and a re-rendering, so many `images` of the release, and `a.b=value` overrides.

    ConfigError, in one line, if the run can't be started from, or if nothing would be different.
    """
    origin = Origin(directory)
    raw = _with_room_for(overrides, copy.deepcopy(origin.raw))
    short = [f"release.images={images}"] if images is not None else []
    wanted = {"run": origin.run_id, "path": str(directory)}
    if generations is None:
        # Nobody is there to take turns with.
        config = _parsed(with_overrides(raw, [*overrides, *short, "runtime.take_turns=[]"]))
        changed = changed_keys(resolved(origin.config), resolved(config))
        if not changed:
            raise ConfigError(
                "nothing to do: say --generations N, --images N, or --set what is to be rendered differently"
            )
        _check_rendering_alone(changed, origin.config, config)
        return _parsed(raw | {"origin": wanted | {"rerender": True}})
    if origin.last_generation is None:
        raise ConfigError(f"{directory}: nobody voted in it, so there is nothing to go on from; start a run of its own")
    # Images stay as near to their parents as they had come.
    nearest = f"evolution.image_variation.first_strength={origin.config.evolution.image_variation.last_strength}"
    config = _parsed(with_overrides(raw, [nearest, *overrides, *short, f"evolution.generations={generations}"]))
    _check_goes_on(origin, config)
    return _parsed(raw | {"origin": wanted | {"generation": origin.last_generation + 1}})


def _parsed(raw: dict[str, Any]) -> Config:
    """The configuration. Its ledger is that of the run it starts from, which an earlier build looked for from here."""
    return parse_config(with_ledger_in(Path.cwd(), raw))


def _check_goes_on(origin: Origin, config: Config) -> None:
    """ConfigError if the survivors of `origin` are no candidates of a run with `config`."""
    before = origin.config
    if config.method != before.method:
        raise ConfigError(f"method: is {config.method}, but what is there is of method {before.method}; leave it")
    if set(config.evolution.label_names) != set(before.evolution.label_names):
        raise ConfigError("evolution.labels: must name the labels of the run that it goes on from; shares may differ")
    if candidates_are_images(config) and not origin.embeds_as(config):
        raise ConfigError(
            "method: pe-image goes on with the images that it has, so engines, seed, prompts and how candidates are "
            "embedded must stay, and the version of spti-ray"
        )


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
