"""Selects the candidates that become parents, and those that are released, from the noised histogram alone."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from spti_ray.config import EvolutionConfig
from spti_ray.public.shrinkage import shrink_counts
from spti_ray.public.themes import Theme, select_by_theme
from spti_ray.public.words import normal_form
from spti_ray.types import Candidate, Candidates, NoisyHistogram, Selected, derive_seed, split_by_share


def select(
    candidates: Candidates,
    histogram: NoisyHistogram,
    themes: Sequence[Theme],
    evolution: EvolutionConfig,
    seed: int,
) -> tuple[Selected, ...]:
    """Select the survivors of a generation, label by label, in the order of their rank within a label.

    `evolution.selection: rank` takes the candidates with the most noised votes (ties to the lowest id), with equal
    shares. `sample` draws with replacement in proportion to the noised votes (negative counts are zero); a share is how
    often a candidate was drawn. With `evolution.shrinkage: family` both use estimates that are shrunk towards families
    (`shrinkage`). A generation that was voted on in themes is selected from by these (`themes`).

    Args:
        candidates: The candidates of the generation.
        histogram: Their noised counts, or those of the themes.
        themes: What was voted on, if not the candidates one by one.
        evolution: The settings of selection.
        seed: The run's public seed, for `sample`.

    Raises:
        ValueError: the histogram is of other candidates.
    """
    if themes:
        return select_by_theme(candidates, histogram, themes, evolution)
    if histogram.candidate_ids != tuple(candidate.id for candidate in candidates):
        raise ValueError(f"generation {histogram.generation}: the histogram is of other candidates")
    counts = dict(zip(histogram.candidate_ids, (int(count) for count in histogram.counts_K), strict=True))
    scores: Mapping[str, float] = counts
    if evolution.shrinkage == "family":
        # Label by label, since each label has its own records.
        for label in evolution.label_names:
            kin = [candidate for candidate in candidates if candidate.label == label]
            estimates = shrink_counts(kin, [counts[candidate.id] for candidate in kin], histogram.sigma)
            scores = {**scores, **dict(zip((candidate.id for candidate in kin), estimates, strict=True))}
    selected: list[Selected] = []
    for label, wanted in evolution.survivors_per_label().items():
        ranked = sorted((c for c in candidates if c.label == label), key=lambda c: (-scores[c.id], c.id))
        shares: Mapping[str, int] = {candidate.id: 1 for candidate in ranked[:wanted]}
        if evolution.selection == "sample":
            rng = random.Random(derive_seed(seed, histogram.generation, label, "select"))
            shares = _sampled([c.id for c in ranked], [max(0, scores[c.id]) for c in ranked], wanted, rng) or shares
        selected += [Selected(c, counts[c.id], shares[c.id]) for c in ranked if c.id in shares]
    return tuple(selected)


def _sampled(ids: list[str], weights: Sequence[float], draws: int, rng: random.Random) -> dict[str, int]:
    """How often each id is drawn; empty if no weight is positive."""
    times: dict[str, int] = {}
    if any(weights):
        for drawn in rng.choices(ids, weights=weights, k=draws):
            times[drawn] = times.get(drawn, 0) + 1
    return times


def allot_images(
    selected: Sequence[Selected], quota: Mapping[str, int], images_per_text: int, are_images: bool = False
) -> list[tuple[Candidate, int]]:
    """(candidate, number of images) for the release: the best texts of each label, `images_per_text` each by rank
    or in proportion to the times sampled. With fewer texts than the quota needs, the texts get more images. Of equal
    texts (a variation may have fallen back to its parent's) the first speaks for all, unless the candidates
    `are_images`, which share their texts.
    """
    allotted: list[tuple[Candidate, int]] = []
    for label, images in quota.items():
        texts = [item for item in selected if item.candidate.label == label]
        texts = texts if are_images else _distinct(texts)
        texts = texts[: max(1, -(-images // images_per_text))]
        if texts and images:
            counts = split_by_share(images, [item.share for item in texts])
            allotted += [(item.candidate, count) for item, count in zip(texts, counts, strict=True) if count]
    return allotted


def _distinct(items: Iterable[Selected]) -> list[Selected]:
    first: dict[str, Selected] = {}
    for item in items:
        first.setdefault(normal_form(item.candidate.text), item)
    return list(first.values())
