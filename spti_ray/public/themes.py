"""Themes: groups of similar candidates that are voted on as one, where single candidates would drown in the noise.

N records that vote for n candidates give each N k / n votes, in noise of sigma. At the same charge they give each of C
themes N k / C. So the first generations are asked what the images are of, and the later ones which candidate it is;
`evolution.themes` says how many themes there are of each. Where it does, the writer is asked for one more of a kind in
all generations: of a theme, or of a cluster of those candidates that were voted on one by one.

Themes are made by k-means of the candidates' public embeddings (Dhillon and Modha, "Concept decompositions for large
sparse text data using clustering", Machine Learning 2001). A theme stands where the mean of its members does. What is
done with its noised votes is post-processing, and costs no privacy: negative counts are settled by Norm-Sub (Wang et
al., "Locally differentially private frequency estimation with consistency", NDSS 2020, arXiv 1905.08320).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spti_ray.config import EvolutionConfig
from spti_ray.errors import NothingMade
from spti_ray.public.prompts import MOST_KIN
from spti_ray.types import (
    Candidate,
    Candidates,
    CountArray,
    FloatArray,
    NoisyHistogram,
    ScoredCandidates,
    Selected,
    Space,
    derive_seed,
    split_by_share,
)

_ROUNDS = 30
"""Of k-means, which has settled by then."""

_SHARE_STEPS = 1_000
"""Steps of a share: a selected candidate's is a whole number."""


@dataclass(frozen=True)
class Theme:
    """Similar candidates, mostly voted on as one. `members` are their ids, the one nearest to its place first."""

    id: str
    label: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What the records are asked.

    `themes` are what the candidates of `asked` stand for; none if for themselves. `kin` are groups of similar
    candidates, of which the writer is shown several when it varies one of them: the themes, if there are any.
    """

    asked: ScoredCandidates
    themes: tuple[Theme, ...] = ()
    kin: tuple[Theme, ...] = ()


def question_of(
    generation: int,
    scored: ScoredCandidates,
    evolution: EvolutionConfig,
    seed: int,
    value_of: Callable[[Candidate], str] | None = None,
) -> Question:
    """What to ask of a generation: about its themes, if `evolution.themes` says so, or about its candidates.

    Args:
        generation: Its number.
        scored: Its candidates. Those without an embedding belong to no theme.
        evolution: The settings.
        seed: The run's public seed.
        value_of: What a candidate's theme is, where themes are values of a public vocabulary; else they are clusters.

    Raises:
        NothingMade: no candidate has an embedding.
    """
    wanted = evolution.themes_per_label(generation)
    if not wanted:
        quota = evolution.candidates_per_label() if evolution.themes else {}
        # As many of a kind as a prompt shows.
        kin = {label: -(-count // MOST_KIN) for label, count in quota.items()}
        return Question(scored, kin=_groups(generation, scored, kin, seed))
    themes = _groups(generation, scored, wanted, seed, value_of)
    if not themes:
        raise NothingMade("evolution.themes: no candidate could be embedded; see internal/driver.log")
    row_of = {candidate.id: row for row, candidate in enumerate(scored.candidates)}
    rows_of = [[row_of[member] for member in theme.members] for theme in themes]
    asked = Candidates(
        tuple(
            Candidate(theme.id, scored.candidates.items[rows[0]].text, theme.label, generation)
            for theme, rows in zip(themes, rows_of, strict=True)
        )
    )
    places: dict[Space, FloatArray] = {
        space: np.stack([_mean(matrix_KE[rows]) for rows in rows_of])
        for space, matrix_KE in scored.embeddings_KE.items()
    }
    return Question(ScoredCandidates(asked, places, scored.weights), themes, themes)


def _groups(
    generation: int,
    scored: ScoredCandidates,
    wanted: Mapping[str, int],
    seed: int,
    value_of: Callable[[Candidate], str] | None = None,
) -> tuple[Theme, ...]:
    """Group the embedded candidates of each label: by `value_of`, or else into as many clusters as are `wanted`."""
    whole_KE = _joined(scored)
    embedded_K = np.isfinite(whole_KE).all(axis=1)
    found: list[Theme] = []
    for label, count in wanted.items():
        of_label_K = np.array([candidate.label == label for candidate in scored.candidates])
        rows = np.flatnonzero(embedded_K & of_label_K)
        if value_of:
            groups = _equal([value_of(scored.candidates.items[row]) for row in rows])
        else:
            groups = clusters(whole_KE[rows], count, derive_seed(seed, generation, label, "themes"))
        for group in groups:
            members = rows[group]
            by_nearness = members[np.argsort(-whole_KE[members] @ _mean(whole_KE[members]), kind="stable")]
            ids = tuple(scored.candidates.items[row].id for row in by_nearness)
            found.append(Theme(f"g{generation:02d}-theme-{len(found):06d}", label, ids))
    return tuple(found)


def clusters(rows_KE: FloatArray, count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Group rows by k-means.

    Args:
        rows_KE: Embeddings of the same norm, [K, E].
        count: How many groups are wanted. There are fewer if some would be empty, as among equal rows.
        seed: A public seed.

    Returns:
        The row numbers of each group, ascending; groups in the order of their first row.
    """
    if not len(rows_KE):
        return []
    # Imported here: SciPy takes a second.
    from scipy.cluster.vq import kmeans2

    distinct, group_K = np.unique(rows_KE, axis=0, return_inverse=True)
    if count < len(distinct):
        generator = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "One of the clusters is empty")
            _, group_K = kmeans2(rows_KE.astype(np.float64), count, _ROUNDS, minit="++", rng=generator)
    groups = [np.flatnonzero(group_K == group) for group in np.unique(group_K)]
    return sorted(groups, key=lambda group: int(group[0]))


def _equal(values: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """The positions of each value, ascending; values in the order of their first position."""
    where: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        where.setdefault(value, []).append(i)
    return [np.array(positions, dtype=np.int64) for positions in where.values()]


def by_candidate(candidates: Candidates, histogram: NoisyHistogram, themes: Sequence[Theme]) -> NoisyHistogram:
    """The histogram with each theme's noised count for each of its members, and 0 for candidates without a theme."""
    if not themes:
        return histogram
    votes = dict(zip(histogram.candidate_ids, histogram.counts_K.tolist(), strict=True))
    of_member = {member: votes[theme.id] for theme in themes for member in theme.members}
    return NoisyHistogram(
        histogram.generation,
        tuple(candidate.id for candidate in candidates),
        np.array([of_member.get(candidate.id, 0) for candidate in candidates], dtype=np.int64),
        histogram.sigma,
        histogram.candidates_sha256,
        histogram.artifact_sha256,
    )


def norm_sub(counts_K: CountArray) -> npt.NDArray[np.float64]:
    """Non-negative estimates with the same sum: counts less one amount, and zero where nothing is left.

    It is the nearest such vector (Duchi et al., "Efficient projections onto the l1-ball", ICML 2008).

    Args:
        counts_K: Noised counts. All estimates are 0 if their sum is not positive.
    """
    total = int(counts_K.sum())
    if total <= 0:
        return np.zeros(len(counts_K))
    falling = np.sort(counts_K.astype(np.float64))[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, len(falling) + 1)
    left = int(np.flatnonzero(falling > excess)[-1])
    return np.maximum(counts_K - excess[left], 0.0)


def select_by_theme(
    candidates: Candidates, histogram: NoisyHistogram, themes: Sequence[Theme], evolution: EvolutionConfig
) -> tuple[Selected, ...]:
    """Give each theme a part of the next generation that is proportional to its votes.

    Of a theme's part, `evolution.survivors` are members, those nearest to its place first; the rest are to be their
    children. A theme in which there are too few members has more children. A label of which nothing is left of the
    votes is dealt out equally.

    Args:
        candidates: The candidates of the generation.
        histogram: The noised counts of the themes.
        themes: The themes.
        evolution: The settings.

    Raises:
        ValueError: the histogram is of other themes.
    """
    if histogram.candidate_ids != tuple(theme.id for theme in themes):
        raise ValueError(f"generation {histogram.generation}: the histogram is of other themes")
    by_id = {candidate.id: candidate for candidate in candidates}
    survivors = evolution.survivors_per_label()
    selected: list[Selected] = []
    for label, quota in evolution.candidates_per_label().items():
        ours = [i for i, theme in enumerate(themes) if theme.label == label]
        shares = norm_sub(histogram.counts_K[ours])
        shares = shares if shares.any() else np.ones(len(ours))
        if not len(ours):
            continue  # none of its candidates could be embedded
        parts = split_by_share(quota, shares.tolist())
        kept = split_by_share(survivors[label], shares.tolist())
        for i in sorted(range(len(ours)), key=lambda i: (-shares[i], ours[i])):
            members = themes[ours[i]].members[: kept[i]]
            for member in members:
                share = max(1, round(_SHARE_STEPS * parts[i] / len(members)))
                selected.append(Selected(by_id[member], int(histogram.counts_K[ours[i]]), share))
    return tuple(selected)


def _joined(scored: ScoredCandidates) -> FloatArray:
    """One row for each candidate, whose inner products are the weighted similarities that records vote by."""
    return np.concatenate(
        [math.sqrt(scored.weights[space]) * scored.embeddings_KE[space] for space in sorted(scored.weights)], axis=1
    ).astype(np.float32)


def _mean(rows_KE: FloatArray) -> FloatArray:
    """The direction of the mean; NaN, which nobody votes for, if there is none."""
    mean_E = rows_KE.mean(axis=0)
    norm = float(np.linalg.norm(mean_E))
    return (mean_E / norm if norm > 0 else np.full_like(mean_E, np.nan)).astype(np.float32)
