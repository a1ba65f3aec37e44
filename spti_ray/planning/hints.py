"""Settings that are valid and most likely not meant: they are pointed out, and nothing is refused for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from spti_ray.config import ROLES, Config, EngineConfig
from spti_ray.config.method_traits import holds_subjects, trains, uses_private_data, why_not_private
from spti_ray.models.factory import KINDS, endpoint_of, engines_config
from spti_ray.planning.rendered_texts import rendered_texts

_SLOW_ON_CPU = 2.5
"""Billions of parameters above which a model without a GPU is most likely a mistake: gigabytes, minutes a batch."""
_BYTES_PER_PARAMETER = 2
_MANY_CUT = 0.05
"""The share of planned lengths, too long for the renderer, from which on it is pointed out."""
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)[bB](?![A-Za-z0-9])")
_KNOWN_SIZES = {"sdxl": 3.5, "stable-diffusion-xl": 3.5, "stable-diffusion-3": 8.0, "flux": 12.0, "qwen-image": 20.0}
"""Billions of parameters of families that do not say so in their names; a size in the name counts first."""


def hints(config: Config, private_records: int | None = None) -> Iterator[str]:
    """What is most likely not meant, a line each.

    Args:
        config: a valid configuration.
        private_records: a publicly stated order of magnitude of the records; None if none was stated.
    """
    records = config.finetune.records_estimate if trains(config) else private_records
    stated = "finetune.records_estimate" if trains(config) else "--private-records"
    if records and uses_private_data(config) and not why_not_private(config) and config.privacy.delta * records >= 1:
        yield (
            f"privacy.delta {config.privacy.delta:g} is not below 1 / {records} ({stated}): at such a delta a "
            f"mechanism may publish whole {config.privacy.unit}s; set it well below {1 / records:.2g}"
        )
    if config.prompts.hold_subject and not holds_subjects(config) and not config.rerenders:
        yield (
            "prompts.hold_subject does nothing here: it compares texts with the names of evolution.labels, of which "
            "there must be two, and with evolution.themes that were voted on"
        )
    read = rendered_texts(config)
    if read and (read["examples_over"] or read["lengths_over"] >= _MANY_CUT):
        yield (
            f"prompts.max_words: texts may have {config.prompts.max_words} words, and the renderer reads about "
            f"{read['words']} ({read['tokens']} tokens): set it to that, or longer texts are cut"
        )
    given = config.runtime.engines
    engines = engines_config(given)
    for role in ROLES:
        engine = engines.of(role)
        billions = _billions(engine) if isinstance(given, dict) and role in given else 0.0
        if billions > _SLOW_ON_CPU and not engine.num_gpus:
            yield (
                f"runtime.engines.{role}: {engine.model} has about {billions:g} billion parameters "
                f"({billions * _BYTES_PER_PARAMETER:.0f} GB) and would run on the CPU; set "
                f"runtime.engines.{role}.num_gpus: 1, or use a smaller model or an endpoint"
            )


def _billions(engine: EngineConfig) -> float:
    """Billions of parameters of a model that runs here, by its name; 0 if the name does not say."""
    ours = engine.kind in KINDS and not engine.kind.startswith("fake-")
    if not ours or endpoint_of(engine) is not None:
        return 0.0
    name = engine.model.rpartition("/")[2]
    sizes = [int(experts or 1) * float(size) for experts, size in _SIZE.findall(name)]
    if sizes:
        return max(sizes)
    return next((size for family, size in _KNOWN_SIZES.items() if family in name.lower()), 0.0)
