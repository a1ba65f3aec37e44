"""The configuration of a run that starts from a finished one (`spti refine`).

With more generations, the new run starts from the survivors and is charged by itself. Without, it is a re-rendering:
post-processing of noised counts, which costs no privacy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spti_ray.config import ROLES, Config, Role
from spti_ray.config.identity import changed_keys, resolved
from spti_ray.config.loading import ConfigError, parse_config, with_ledger_in, with_overrides
from spti_ray.config.method_traits import candidates_are_images, roles_needed
from spti_ray.models.factory import FAKE, engines_config
from spti_ray.runs.continuation import Origin, output_settings
from spti_ray.runs.run_file import read_run_file

_OF_A_RENDERING = (
    "release.images.",
    "release.images_per_text.",
    "release.filters.",
    "release.png_level.",
    "release.provenance.",
    "runtime.",
    "title.",
)
"""Settings that a re-rendering may change. All others were fixed when its texts were voted for."""


def refined(
    directory: Path, generations: int | None = None, images: int | None = None, overrides: Sequence[str] = ()
) -> Config:
    """The configuration of a run that starts from a finished one, whose settings it keeps but for what is given here.

    Args:
        directory: the finished run's folder.
        generations: how many more; None for a re-rendering.
        images: how many in the new release; None for as many as in the old one.
        overrides: settings as `a.b=value`.

    Raises:
        ConfigError: no run can be started from that one, or nothing would be different.
    """
    origin = Origin(directory)
    raw = _with_room_for(overrides, copy.deepcopy(origin.raw))
    if "provenance" not in read_run_file(directory)["config"].get("release", {}):
        # Images of an earlier build are bare. What is made of them now says what it is.
        raw["release"].pop("provenance", None)
    short = [f"release.images={images}"] if images is not None else []
    wanted = {"run": origin.run_id, "path": str(directory)}
    if generations is None:
        # A re-rendering has no writer that the renderer could take turns with.
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
    # Image variations begin as near to their parents as they were at the end.
    nearest = f"evolution.image_variation.first_strength={origin.config.evolution.image_variation.last_strength}"
    raw["origin"] = wanted | {"generation": origin.last_generation + 1}
    raw["evolution"]["themes"] = _more_themes(origin, generations)
    config = _parsed(with_overrides(raw, [nearest, *overrides, *short, f"evolution.generations={generations}"]))
    _check_goes_on(origin, config)
    return config


def _more_themes(origin: Origin, generations: int) -> list[int]:
    """The levels of themes, of which the new generations have the last if all of the origin's had themes.

    Levels count from the first generation with candidates of the run that all began with.
    """
    evolution, last = origin.config.evolution, origin.last_generation
    assert last is not None
    all_themed = len(evolution.themes) == last + 1 - evolution.first_with_candidates
    return [*evolution.themes, *(evolution.themes[-1:] * generations if all_themed else ())]


def _parsed(raw: dict[str, Any]) -> Config:
    """The configuration, with the ledger of the run that it starts from.

    Earlier builds took a relative ledger path as one in the current folder.
    """
    return parse_config(with_ledger_in(Path.cwd(), raw))


def _check_goes_on(origin: Origin, config: Config) -> None:
    """Raise ConfigError if the survivors of `origin` can't be candidates of a run with `config`."""
    before = origin.config
    if config.method != before.method:
        raise ConfigError(f"method: is {config.method}, but what is there is of method {before.method}; leave it")
    if set(config.evolution.label_names) != set(before.evolution.label_names):
        raise ConfigError("evolution.labels: must name the labels of the run that it goes on from; shares may differ")
    if config.evolution.label_shares == "public" and origin.label_counts:
        raise ConfigError(
            f"evolution.label_shares: is public, but those of {origin.folder} were voted for, and what goes on from it "
            "rests on them; leave it voted"
        )
    if config.evolution.label_shares == "voted" and not origin.label_counts:
        raise ConfigError(
            f"evolution.label_shares: is voted, but {origin.folder} did not ask for the labels' shares, and a run that "
            "goes on does not; leave it public"
        )
    if candidates_are_images(config) and not origin.embeds_as(config):
        raise ConfigError(
            "method: pe-image goes on with the images that it has, so engines, seed, prompts and how candidates are "
            "embedded must stay, and the version of spti-ray"
        )


def _check_rendering_alone(changed: Sequence[str], before: Config, after: Config) -> None:
    """Raise ConfigError if a changed setting had a part in the vote: the new run would then state it wrongly."""
    fixed = [key for key in changed if not f"{key}.".startswith(_OF_A_RENDERING)]
    bare = before.model_copy(update={"release": before.release.model_copy(update={"filters": None})})
    voting = [role for role in ROLES if role != "renderer" and role in roles_needed(bare)]
    fixed += [f"runtime.engines.{role}" for role in _changed_roles(before, after) if role in voting]
    if fixed:
        raise ConfigError(
            f"{fixed[0]}: a re-rendering can't change it, since the texts were voted for with it; it can change "
            "release.images, release.images_per_text, release.filters (null for none), release.provenance, "
            "release.png_level, title, runtime.seed, "
            "runtime.engines.renderer, engines that filters alone use, and where it runs"
        )


def _changed_roles(before: Config, after: Config) -> list[Role]:
    """Roles whose engine would make something else."""
    try:
        old, new = engines_config(before.runtime.engines), engines_config(after.runtime.engines)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return [role for role in ROLES if output_settings(new.of(role)) != output_settings(old.of(role))]


def _with_room_for(overrides: Sequence[str], raw: dict[str, Any]) -> dict[str, Any]:
    """`raw`, the settings of a run, changed in place so that overrides can change single settings of engines."""
    keys = {override.partition("=")[0].strip() for override in overrides}
    runtime = raw.setdefault("runtime", {})
    if runtime.get("engines") == "fake" and any(key.startswith("runtime.engines.") for key in keys):
        runtime["engines"] = FAKE.model_dump(mode="json")
    for role in ROLES:
        engine = runtime["engines"].get(role) if isinstance(runtime.get("engines"), dict) else None
        if engine and {f"runtime.engines.{role}.model", f"runtime.engines.{role}.kind"} & keys:
            # These belong to the model that is replaced.
            for key in ("options", "revision", "dtype"):
                engine.pop(key, None)
    return raw
