"""What a run makes, counted from its settings alone: texts, images and embeddings, by phase and by stream.

The run's progress display (`StepsAhead`), `spti plan` and its costs all count with these functions. Two things are
not foreseen: texts that are asked for again, and `selection: sample`, where a candidate that is drawn twice leaves room
for one more child.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spti_ray.config import Config, Role
from spti_ray.config.method_traits import (
    candidates_are_images,
    declaration_of,
    filter_roles,
    holds_subjects,
    roles_shown_private,
    shards_caption,
    shards_vote,
)
from spti_ray.methods import Candidates, PrivateData

Streams = Mapping[Role, tuple[int, ...]]
"""By role, the number of items of each stream through its pool. Every stream is cut into batches by itself."""


@dataclass(frozen=True)
class Phase:
    """A part of a run that must be complete before the next one begins: a generation, or the release."""

    name: str
    streams: Streams

    def items(self, role: Role) -> int:
        """Items that the role's engines make or embed."""
        return sum(self.streams.get(role, ()))

    def batches(self, role: Role, batch_size: int) -> int:
        """Batches that the role's pool cuts its streams into."""
        return sum(-(-items // batch_size) for items in self.streams.get(role, ()))

    @property
    def steps(self) -> int:
        """Texts and images, which the progress display counts."""
        return self.items("writer") + self.items("renderer")


def phases(config: Config) -> tuple[Phase, ...]:
    """The generations in order, then the release. Public work only: what shards ask engines for is not in it."""
    return (*_generations(config), _release(config))


def work_of(config: Config) -> tuple[int, int]:
    """(texts to write, candidates to render) of all generations, without those of the release."""
    made = _generations(config)
    return sum(phase.items("writer") for phase in made), sum(phase.items("renderer") for phase in made)


def varied_texts(config: Config) -> int:
    """Texts to write for the release, beyond those that are voted on."""
    return _release(config).items("writer")


def kept_renders(config: Config) -> int:
    """How many renders of candidates stay in the run's folder. With lookahead only image candidates have one."""
    if not _release_reuses(config):
        return 0
    labels = len(config.evolution.labels) if config.asks_label_shares else 0
    return labels + sum(_fresh(config, number) for number in config.candidate_generations)


def released_texts(config: Config) -> int:
    """Texts of a release under rank selection, as `public.selection.allot_images` gives them their images."""
    images_of = config.evolution.quota(config.release.images)
    survivors = config.evolution.survivors_per_label()
    return sum(
        min(survivors[label], -(-images // config.release.images_per_text)) for label, images in images_of.items()
    )


def shown_by_shards(config: Config, records: int) -> dict[Role, int]:
    """Items that shards would show each role's engines.

    Args:
        config: the configuration.
        records: how many private records there are, as stated publicly; nothing is counted from data.
    """
    if shards_vote(config):
        return dict.fromkeys(roles_shown_private(config), records)
    # Renders of captions are counted with the release.
    return {"captioner": min(records, config.release.images)} if shards_caption(config) else {}


def in_whole_batches(items: int, shards: int, batch_size: int) -> int:
    """Items that engines work on if `items` lie evenly in `shards`: each shard fills its last batch up with blanks."""
    per_shard, more = divmod(items, shards)
    whole = -(-per_shard // batch_size) * (shards - more) + -(-(per_shard + 1) // batch_size) * more
    return whole * batch_size


def _generations(config: Config) -> tuple[Phase, ...]:
    method = declaration_of(config)
    if method.private_data is PrivateData.NOT_READ and method.candidates is Candidates.TEXTS:
        evolution = config.evolution
        streams: dict[Role, tuple[int, ...]] = {"writer": (evolution.candidates,)}
        if compared := _compared(config, 0, evolution.candidates):
            streams["text_embedder"] = compared
        return (Phase("generation 0", streams),)
    if not shards_vote(config):
        return ()
    return tuple(
        Phase(
            f"generation {number}",
            _streams(config, number, _fresh(config, number))
            if number in config.candidate_generations
            else _of_labels(config),
        )
        for number in config.generation_numbers
    )


def _fresh(config: Config, number: int) -> int:
    """New candidates of a generation, by its number."""
    evolution = config.evolution
    kept = sum(evolution.survivors_per_label().values()) if evolution.keep_survivors else 0
    # A run that goes on from another one has survivors from the start.
    has_parents = config.origin or number > config.candidate_generations.start
    return evolution.candidates - (kept if has_parents else 0)


def _of_labels(config: Config) -> Streams:
    """Of the generation that asks for the labels' shares: one candidate for each, whose text nobody writes."""
    labels = (len(config.evolution.labels),)
    in_images: Streams = {"renderer": labels, "image_embedder": labels}
    in_texts: Streams = {"text_embedder": labels}
    spaces = config.evolution.spaces
    return {**(in_images if "image" in spaces else {}), **(in_texts if "text" in spaces else {})}


def _streams(config: Config, generation: int, fresh: int) -> Streams:
    """Of a generation with `fresh` new candidates; survivors are neither rendered nor embedded again."""
    evolution = config.evolution
    variations = (fresh * evolution.lookahead,) if evolution.lookahead else ()
    shown = variations or (fresh,)
    streams: dict[Role, tuple[int, ...]] = {}
    if candidates_are_images(config):
        streams["renderer"] = (fresh, *variations)
    else:
        streams["writer"] = (fresh, *variations)
    if "image" in evolution.spaces:
        streams.setdefault("renderer", shown)
        streams["image_embedder"] = shown
    if "text" in evolution.spaces:
        streams["text_embedder"] = shown
    if compared := _compared(config, generation, fresh):
        streams["text_embedder"] = (*streams.get("text_embedder", ()), *compared)
    return streams


def _compared(config: Config, generation: int, fresh: int) -> tuple[int, ...]:
    """Streams of texts that are embedded to hold a generation's `fresh` texts to their subjects; none if they are not.

    The labels' names once, then the last generation's texts where they have themes or kin, then the new texts.
    """
    if not holds_subjects(config):
        return ()
    evolution = config.evolution
    is_first = generation == config.candidate_generations.start
    labels = (len(evolution.labels),) if evolution.labels and is_first else ()
    members = (evolution.candidates,) if evolution.themes and generation > evolution.first_with_candidates else ()
    return (*labels, *members, fresh)


def _release(config: Config) -> Phase:
    streams: dict[Role, tuple[int, ...]] = {}
    reused = 0
    if shards_vote(config):
        texts = released_texts(config)
        if config.release.texts == "varied":
            streams = {} if candidates_are_images(config) else {"writer": (texts,)}
            if compared := _compared(config, config.generation_numbers.stop, texts):
                streams["text_embedder"] = compared
        elif _release_reuses(config):
            # The release takes the voted render of each of its texts as it is.
            reused = texts
    streams["renderer"] = (config.release.images - reused,)
    for role, items in _filtered(config).items():
        streams[role] = (*streams.get(role, ()), items)
    return Phase("release", streams)


def _filtered(config: Config) -> dict[Role, int]:
    """What the filters of the release embed by role, if they accept every image."""
    items = {"image_embedder": config.release.images, "text_embedder": released_texts(config)}
    return {role: items[role] for role in filter_roles(config)}


def most_replacements(config: Config) -> int:
    """How many renders, at most, are made in place of such as the filters of the release do not accept."""
    filters = config.release.filters
    # The first of a place stays if none is accepted, and is then rendered once more.
    return config.release.images * (filters.other_seeds + filters.other_texts + 1) if filters else 0


def _release_reuses(config: Config) -> bool:
    """Whether candidates have a render of their own."""
    if not shards_vote(config) or "image" not in config.evolution.spaces:
        return False
    return candidates_are_images(config) or not config.evolution.lookahead
