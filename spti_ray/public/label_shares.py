"""The shares of labels that the private images voted for: what they are asked, and what is made of the answer.

With `evolution.label_shares: voted`, generation 0 has one candidate for each label. A record votes only for candidates
of its own label, so each votes for its label, and the noised counts say how many records each label has. To the private
side and the gate it is a query like any other. What is done with the counts is post-processing and costs no privacy:
they are settled by Norm-Sub (`themes.norm_sub` has the source), and then are the shares of labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from spti_ray.config import Config, EvolutionConfig
from spti_ray.errors import NothingMade
from spti_ray.public.engines import Engines
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.public.themes import norm_sub
from spti_ray.types import Candidate, FloatArray, NoisyHistogram, ScoredCandidates

LabelCounts = Mapping[str, int]
"""The noised number of records (or groups) of each label, in votes; empty where it was not asked for."""


def label_candidates(evolution: EvolutionConfig) -> list[Candidate]:
    """One candidate for each label, in their order. Its text is the label's hint, or its name."""
    return [
        Candidate(f"g00-label-{i:06d}", label.text, label.name, generation=0)
        for i, label in enumerate(evolution.labels)
    ]


def label_scoring(config: Config, engines: Engines, cache: ScoreCache) -> Scoring:
    """What embeds the labels' candidates: as they are, also with lookahead, since their embeddings decide nothing.

    Args:
        config: The run's configuration.
        engines: Has the renderer and the embedders.
        cache: Gets the embeddings and renders.
    """
    evolution = config.evolution.model_copy(update={"lookahead": 0})
    plain = config.model_copy(update={"evolution": evolution})
    return Scoring(plain, engines, lambda candidates, count: iter(()), cache)


def all_votable(scored: ScoredCandidates) -> ScoredCandidates:
    """The candidates of labels, each with an embedding, so that a label's records can vote for it.

    Which embedding it is decides nothing: a record has one candidate to vote for. So one that could not be rendered or
    embedded, which would take all its records' votes from it, has that of another.

    Args:
        scored: The candidates with their embeddings, [K, E] by space.

    Raises:
        NothingMade: in some space none has an embedding.
    """
    return ScoredCandidates(
        scored.candidates, {space: _filled(rows) for space, rows in scored.embeddings_KE.items()}, scored.weights
    )


def counts_of(evolution: EvolutionConfig, histogram: NoisyHistogram) -> dict[str, int]:
    """The noised counts by label.

    Args:
        evolution: The settings, with all labels.
        histogram: The noised counts of `label_candidates`.

    Raises:
        ValueError: the histogram is of other candidates.
    """
    if histogram.candidate_ids != tuple(candidate.id for candidate in label_candidates(evolution)):
        raise ValueError(f"generation {histogram.generation}: the histogram is of other labels")
    return dict(zip(evolution.label_names, histogram.counts_K.tolist(), strict=True))


def shares_of(counts: LabelCounts) -> dict[str, float]:
    """The share of each label, from 0 to 1, by its noised count; empty if nothing is left of the counts."""
    settled = norm_sub(np.array(list(counts.values()), dtype=np.int64))
    if not settled.any():
        return {}
    # Exact, and so the same for any order of the labels.
    total = math.fsum(settled)
    return {label: float(count) / total for label, count in zip(counts, settled, strict=True)}


def with_label_shares(config: Config, counts: LabelCounts) -> Config:
    """The configuration for all that follows the labels' query: labels with the voted shares.

    A label of which nothing is left is not in it, and so gets no candidate and no image. If nothing is left of any, or
    none was asked for, the public shares stand.

    Args:
        config: The configuration as it was given. What is hashed, stored and told to shards stays this one.
        counts: The noised counts by label.
    """
    shares = shares_of(counts)
    if not shares:
        return config
    labels = tuple(
        label.model_copy(update={"share": shares[label.name]})
        for label in config.evolution.labels
        if shares.get(label.name, 0) > 0
    )
    return config.model_copy(update={"evolution": config.evolution.model_copy(update={"labels": labels})})


def _filled(rows_KE: FloatArray) -> FloatArray:
    usable = np.flatnonzero(np.isfinite(rows_KE).all(axis=1))
    if not len(usable):
        raise NothingMade("evolution.label_shares: no label's text could be embedded; see internal/driver.log")
    filled_KE = np.repeat(rows_KE[usable[:1]], len(rows_KE), axis=0)
    filled_KE[usable] = rows_KE[usable]
    return filled_KE
