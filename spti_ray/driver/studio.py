"""The studio of a run: what each step of a method is made of. See `methods.Studio`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from spti_ray.config import Config, Role
from spti_ray.config.method_traits import candidates_are_images, declaration_of, filter_roles, holds_subjects
from spti_ray.dp.gate import Gate
from spti_ray.dp.unnoised import UnnoisedGate
from spti_ray.errors import RunDamaged
from spti_ray.evolution.label_shares import ask_label_counts
from spti_ray.evolution.private_evolution import evolve
from spti_ray.evolution.protocols import Watcher
from spti_ray.finetuning.public_interface import label_prompts
from spti_ray.methods import Allotment
from spti_ray.models.factory import engines_config
from spti_ray.provenance.marks import Marks
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.image_population import ImagePopulation
from spti_ray.public.label_shares import label_scoring, with_label_shares
from spti_ray.public.population import Population
from spti_ray.public.rejections import REJECTIONS
from spti_ray.public.release import Models
from spti_ray.public.render_jobs import Recipes, check_varies
from spti_ray.public.render_store import RenderStore
from spti_ray.public.rendering import Filtering, render_release
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.public.selection import allot_images
from spti_ray.public.text_agreement import check_common_space
from spti_ray.public.text_limit import TextLimit
from spti_ray.runs.continuation import Origin
from spti_ray.runs.folder import RunDir
from spti_ray.runs.generation_store import GenerationStore, last_themes
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.voter import ShardVoter
from spti_ray.types import ReleaseItem, Selected

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A run whose engines are up. All but `voter` is of the public side, the driver's or the gate's."""

    config: Config
    run: RunDir
    streams: PooledEngines
    gate: Gate | UnnoisedGate | None
    voter: ShardVoter
    """The shards, which are at work already; none where no private data are used."""
    watch: Watcher
    keep_only: Callable[..., None]
    """Nobody votes any more, and no engines but those of the roles that it is given are needed."""
    render_only: Callable[[], Models]
    """From here on nothing but the renderer is needed. Says what each role runs."""
    marks_of: Callable[[Models], Marks]
    """What each image says of itself, by what each role runs."""
    origin: Origin | None = None
    """The finished run that this one starts from, if it does."""
    written: FallbackCounts = field(default_factory=FallbackCounts)
    """Is told how many texts are fallbacks."""
    label_counts: dict[str, int] = field(default_factory=dict[str, int])
    """Is told the noised number of records of each label, where the run or the one that it starts from asked for it."""


def make(stage: Stage) -> Sequence[ReleaseItem] | None:
    """Make `staging/images`, and say what they are where that may be said."""
    return _rerendered(stage) if stage.config.rerenders else declaration_of(stage.config).make(RunStudio(stage))


class RunStudio:
    """`methods.Studio` of one run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._config = stage.config
        self._are_images = candidates_are_images(stage.config)
        self._cache = ScoreCache()

    @cached_property
    def _population(self) -> Population | ImagePopulation:
        """What makes candidates of the declared kind."""
        if not self._are_images:
            stage, limit = self._stage, TextLimit.of(self._config)
            return Population(self._config, stage.streams, stage.written, stage.watch.asked_again, limit=limit)
        return ImagePopulation(self._config)

    def evolve(self) -> Sequence[Selected]:
        stage = self._stage
        assert stage.gate is not None
        if (filters := self._config.release.filters) and filters.mismatch:
            check_common_space(stage.streams)
        if self._are_images:
            # Before anything is charged: NothingMade if the renderer can't vary an image.
            check_varies(stage.streams, self._config.evolution.image_variation.last_strength)
        # All that follows, and the release, has these shares.
        self._config = config = _with_voted_shares(stage, self._ask_label_counts)
        # Beside the generations, which are inside where nothing protects them.
        self._cache = ScoreCache(renders=RenderStore(stage.run.generations.parent))
        population = self._population
        scoring = Scoring(config, stage.streams, population.variations, self._cache, self._are_images)
        store = GenerationStore(stage.run, self._cache)
        # What the origin embeds alike is seen by the settings as they were given.
        start = stage.origin.survivors(stage.config, self._cache, population.learn) if stage.origin else ()
        selected = evolve(config, population, scoring, stage.voter, stage.gate, store, stage.watch, start)
        log.info("texts: %s", dict(population.outcomes))
        return selected

    def _ask_label_counts(self) -> dict[str, int]:
        stage, cache = self._stage, ScoreCache()
        assert stage.gate is not None
        scoring = label_scoring(self._config, stage.streams, cache)
        store = GenerationStore(stage.run, cache)
        return ask_label_counts(self._config, scoring, stage.voter, stage.gate, store, stage.watch)

    def first_generation(self) -> Sequence[Selected]:
        self._stage.watch.generation(0, "candidates")
        everyone = sorted(self._population.random_api(), key=lambda candidate: candidate.id)
        self._population.count(0, everyone, ())
        log.info("texts: %s", dict(self._population.outcomes))
        return [Selected(candidate, count=0, share=1) for candidate in everyone]

    def wait_for_shards(self) -> None:
        self._stage.voter.ready()

    def label_texts(self) -> Mapping[str, str]:
        return label_prompts(self._config)

    def quota(self) -> Mapping[str, int]:
        return self._config.evolution.quota(self._config.release.images)

    def allot(self, selected: Sequence[Selected]) -> Allotment:
        return allot_images(selected, self.quota(), self._config.release.images_per_text, self._are_images)

    def varied(self, allotment: Allotment) -> Allotment:
        if self._config.release.texts != "varied":
            return allotment
        writing: tuple[Role, ...] = ("writer", "text_embedder") if holds_subjects(self._config) else ("writer",)
        self._stage.keep_only(*writing, "renderer", *filter_roles(self._config))
        varied = self._population.varied([candidate for candidate, _ in allotment])
        return [(candidate, count) for candidate, (_, count) in zip(varied, allotment, strict=True)]

    def render(self, allotment: Allotment) -> list[ReleaseItem]:
        stage = self._stage
        packet = stage.marks_of(stage.render_only()).packet
        recipes = Recipes(self._config, self._cache.render_of, self._are_images)
        return render_release(
            stage.run.staging,
            allotment,
            self._cache.renders,
            stage.streams,
            recipes,
            filtering=_filtering(stage, lambda: last_themes(stage.run)),
            packet=packet,
        )


def _filtering(stage: Stage, themes: Callable[[], Mapping[str, str]]) -> Filtering | None:
    """The filters of the release, if it has any. `themes`: by candidate, which replacements keep to."""
    filters = stage.config.release.filters
    return Filtering(filters, stage.run.internal / REJECTIONS, themes()) if filters else None


def _with_voted_shares(stage: Stage, ask: Callable[[], dict[str, int]]) -> Config:
    """The run's configuration with the shares of labels that were voted for; as it is where they are public.

    Those of a run that starts from another one were asked for there.

    Raises:
        RunDamaged: that one's release has them no more.
    """
    config, origin = stage.config, stage.origin
    if config.evolution.label_shares != "voted":
        return config
    stage.label_counts.update(origin.label_counts if origin else ask())
    if not stage.label_counts:
        where = origin.folder if origin else stage.run.path
        raise RunDamaged(f"{where}: its manifest has no voted shares of labels; restore the release")
    return with_label_shares(config, stage.label_counts)


def _rerendered(stage: Stage) -> list[ReleaseItem]:
    """The texts of a finished run, in other images or in more. No shard, no gate: post-processing."""
    config, origin = _with_voted_shares(stage, dict), stage.origin
    assert origin is not None
    cache = ScoreCache(renders=RenderStore(stage.run.path))
    texts = origin.texts(cache)
    models = stage.render_only()
    ours, theirs = engines_config(config.runtime.engines), engines_config(origin.config.runtime.engines)
    again = origin.renders_as(config, ours.renderer, theirs.renderer, models)
    log.info("images of run %s are %s", origin.run_id, "taken as they are" if again else "rendered anew")
    quota, are_images = config.evolution.quota(config.release.images), candidates_are_images(config)
    allotted = allot_images(texts, quota, config.release.images_per_text, are_images)
    recipes = Recipes(config, cache.render_of, are_images)
    voted, made = (cache.renders, origin.images()) if again else ({}, lambda item: None)
    filtering, packet = _filtering(stage, origin.themes), stage.marks_of(models).packet
    return render_release(stage.run.staging, allotted, voted, stage.streams, recipes, made, filtering, packet)
