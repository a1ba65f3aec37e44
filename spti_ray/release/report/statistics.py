"""Statistics of generations for the report: vote curves, shares of operators, words that won or lost votes."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spti_ray.release.report.generations import GenerationData

_MAX_WORDS = 8
_STOP_WORDS = frozenset(
    "the and with for from that this into onto over under its his her their are was has have one two some very of "
    "a an in on at by to is it as or but not up out off near between".split()
)


@dataclass(frozen=True)
class Curve:
    """Noised votes in one generation: the best text's, and those of survivors and of all texts on average."""

    best: float
    survivors: float
    average: float
    sigma: float


def evenly_spaced(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of `items`, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def vote_curve(generation: GenerationData) -> Curve:
    """Noised votes of the generation's best text, of its survivors on average, and of all its texts on average."""
    counts = generation.counts_K
    kept = [candidate.id in generation.selected for candidate in generation.candidates]
    survivors = counts[np.array(kept, dtype=np.bool_)]
    average = float(counts.mean()) if len(counts) else 0.0
    return Curve(
        best=float(counts.max(initial=0)),
        survivors=float(survivors.mean()) if len(survivors) else average,
        average=average,
        sigma=generation.sigma,
    )


def operator_shares(generation: GenerationData) -> dict[str, float]:
    """Share of the noised votes per operator; empty when the votes are not above their noise."""
    votes: Counter[str] = Counter()
    for candidate, count in zip(generation.candidates, generation.counts_K.tolist(), strict=True):
        votes[candidate.operator] += count
    # Noise can take an operator with few votes below zero; a share can't be.
    positive = {operator: count for operator, count in votes.items() if count > 0}
    total = sum(positive.values())
    if total <= 2 * generation.sigma * math.sqrt(len(generation.candidates)):
        return {}
    return {operator: count / total for operator, count in positive.items()}


def word_shifts(first: GenerationData, last: GenerationData) -> list[tuple[str, float, float]]:
    """Words that won or lost votes between two generations, largest gain first.

    Only words whose change is larger than twice the noise's standard deviation, so that the plot does not show noise.

    Returns:
        (word, share of the first texts that have it, share of the last noised votes for texts that have it).
    """
    total = float(last.counts_K.sum())
    if total <= 2 * last.sigma * math.sqrt(max(1, len(last.candidates))):
        return []
    before: Counter[str] = Counter()
    for candidate in first.candidates:
        before.update(_words(candidate.text))
    texts: Counter[str] = Counter()
    votes: Counter[str] = Counter()
    for candidate, count in zip(last.candidates, last.counts_K.tolist(), strict=True):
        for word in _words(candidate.text):
            texts[word] += 1
            votes[word] += count
    moved = []
    for word in sorted(before.keys() | texts.keys()):
        start, end = before[word] / len(first.candidates), max(0.0, votes[word] / total)
        noise = last.sigma * math.sqrt(texts[word]) / total
        if before[word] + texts[word] >= 2 and abs(end - start) > max(2 * noise, 0.01):
            moved.append((word, start, min(end, 1.0)))
    moved.sort(key=lambda entry: entry[1] - entry[2])
    gained = [entry for entry in moved if entry[2] > entry[1]][:_MAX_WORDS]
    lost = [entry for entry in moved if entry[2] < entry[1]][-_MAX_WORDS:]
    return gained + lost


def mark_new_words(before: str | None, after: str) -> list[tuple[str, bool]]:
    """`after` as runs of words, each with whether it is new since `before` (None: nothing is new)."""
    new = after.split()
    if before is None:
        return [(" ".join(new), False)]
    old = before.lower().split()
    matcher = difflib.SequenceMatcher(None, old, [word.lower() for word in new], autojunk=False)
    return [(" ".join(new[j1:j2]), tag != "equal") for tag, _, _, j1, j2 in matcher.get_opcodes() if j2 > j1]


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[^\W\d_]{3,24}", text.lower())} - _STOP_WORDS
