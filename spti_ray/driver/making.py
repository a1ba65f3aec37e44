"""What each method does between engines that are up and images that lie in the run's folder: the one place to dispatch.

`MAKE` has a function per method. Methods that evolve share the loop. `TRAIN` has those that train before engines start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from spti_ray.config import Config, Method
from spti_ray.dp.gate import Gate
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.evolution.private_evolution import Watcher, evolve
from spti_ray.finetuning.public_side import prompts_of
from spti_ray.models.factory import engines_config
from spti_ray.public.fallbacks import Written
from spti_ray.public.image_population import ImagePopulation
from spti_ray.public.population import Population
from spti_ray.public.release import Models
from spti_ray.public.render_jobs import Recipes, check_varies
from spti_ray.public.render_store import RenderSpool
from spti_ray.public.rendering import render_release
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.public.selection import Selected, allot_images
from spti_ray.run.continuation import Origin
from spti_ray.run.folder import GenerationStore, RunDir
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.voter import ShardVoter
from spti_ray.types import Candidate, ReleaseItem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """What a method works with. All but `voter` is of the public side, the driver's or the gate's."""

    config: Config
    run: RunDir
    streams: PooledEngines
    gate: Gate | UnnoisedGate | None
    voter: ShardVoter
    """The shards, which are at work already; none where no private data are used."""
    watch: Watcher
    render_only: Callable[[], Models]
    """From here on nothing but the renderer is needed. Says what each role runs."""
    origin: Origin | None = None
    """The finished run that this one starts from, if it does."""
    written: Written = field(default_factory=Written)
    """Is told how many texts are fallbacks."""


def _evolved(stage: Stage) -> list[ReleaseItem]:
    """SPTI, and Private Evolution on images."""
    config, run = stage.config, stage.run
    assert stage.gate is not None
    # Beside the generations, which are inside where nothing protects them.
    cache = ScoreCache(renders=RenderSpool(run.generations.parent))
    population: Population | ImagePopulation
    if config.are_images:
        population = ImagePopulation(config)
        check_varies(stage.streams, config.evolution.image_variation.last_strength)
    else:
        population = Population(config, stage.streams, stage.written)
    scoring = Scoring(config, stage.streams, population.variations, cache)
    store = GenerationStore(run, cache)
    start = stage.origin.survivors(config, cache, population.learn) if stage.origin else ()
    selected = evolve(config, population, scoring, stage.voter, stage.gate, store, stage.watch, start)
    log.info("texts: %s", dict(population.outcomes))
    return _rendered(stage, selected, cache, population)


def _unvoted(stage: Stage) -> list[ReleaseItem]:
    """Generation 0 as it comes, in the order of its slots. No shard is started and no private image is read."""
    stage.watch.generation(0, "candidates")
    population = Population(stage.config, stage.streams, stage.written)
    everyone = sorted(population.initial(), key=lambda candidate: candidate.id)
    population.count(0, everyone, ())
    log.info("texts: %s", dict(population.outcomes))
    return _rendered(stage, tuple(Selected(candidate, count=0, share=1) for candidate in everyone), ScoreCache())


def _rerendered(stage: Stage) -> list[ReleaseItem]:
    """The texts of a finished run, in other images or in more. No shard, no gate: post-processing."""
    config, origin = stage.config, stage.origin
    assert origin is not None
    cache = ScoreCache(renders=RenderSpool(stage.run.path))
    texts = origin.texts(cache)
    models = stage.render_only()
    ours, theirs = engines_config(config.runtime.engines), engines_config(origin.config.runtime.engines)
    again = origin.renders_as(config, ours.renderer, theirs.renderer, models)
    log.info("images of run %s are %s", origin.run_id, "taken as they are" if again else "rendered anew")
    allotted = allot_images(
        texts, config.evolution.quota(config.release.images), config.release.images_per_text, config.are_images
    )
    recipes = Recipes(config, cache.render_of)
    voted, made = (cache.renders, origin.images()) if again else ({}, lambda item: None)
    return render_release(stage.run.staging, allotted, voted, stage.streams, recipes, made)


def _from_captions(stage: Stage) -> None:
    """Renders of captions. NOT private; the shards write the images themselves."""
    stage.voter.ready()


def _finetuned(stage: Stage) -> list[ReleaseItem]:
    """Images of the public text of each label, by the renderer that `TRAIN` has made."""
    config = stage.config
    quota = config.evolution.quota(config.release.images)
    texts = prompts_of(config)
    allotted = [
        (Candidate(f"g00-{index:05d}", texts[label], label, generation=0), quota[label])
        for index, label in enumerate(texts)
    ]
    stage.render_only()
    return render_release(stage.run.staging, allotted, {}, stage.streams, Recipes(config, lambda _: None))


def _rendered(
    stage: Stage,
    selected: tuple[Selected, ...],
    cache: ScoreCache,
    population: Population | ImagePopulation | None = None,
) -> list[ReleaseItem]:
    config = stage.config
    quota = config.evolution.quota(config.release.images)
    allotted = allot_images(selected, quota, config.release.images_per_text, config.are_images)
    if config.release.texts == "varied" and population is not None:
        varied = population.varied([candidate for candidate, _ in allotted])
        allotted = [(candidate, count) for candidate, (_, count) in zip(varied, allotted, strict=True)]
    stage.render_only()
    recipes = Recipes(config, cache.render_of)
    return render_release(stage.run.staging, allotted, cache.renders, stage.streams, recipes)


def make(stage: Stage) -> list[ReleaseItem] | None:
    """Make `staging/images`, and say what they are where that may be said."""
    return _rerendered(stage) if stage.config.rerenders else MAKE[stage.config.method](stage)


MAKE: Mapping[Method, Callable[[Stage], list[ReleaseItem] | None]] = {
    "spti": _evolved,
    "pe-image": _evolved,
    "random": _unvoted,
    "captions": _from_captions,
    "dp-finetune": _finetuned,
}
"""What `make` does for each method."""

TRAIN: frozenset[Method] = frozenset({"dp-finetune"})
"""Methods that train the renderer's model in the run's resources, before engines have them: see `Session.train`."""
