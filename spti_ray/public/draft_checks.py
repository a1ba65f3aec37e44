"""Checks of what a language model drafts for a new configuration: distinct, about the domain, readable.

Small models copy what they were shown, repeat themselves and leave the subject. A text embedder tells what a value or a
text is about.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import regex

from spti_ray.public.drafting_examples import EXAMPLE_CHANGES, EXAMPLE_LISTS, EXAMPLE_TEXTS
from spti_ray.public.words import normal_form

Similarity = Callable[[Sequence[str], Sequence[str]], Sequence[Sequence[float]]]
"""From N and M texts to their [N, M] similarities: cosines of a text embedder."""

MIN_SIMILARITY = 0.2
"""What has less to do with the domain is about something else."""

_SAME = 0.95
"""Texts that are more similar say the same."""
_SAME_DOMAIN = 0.8
"""A domain that was shown, and is more similar to the wanted one, is no other domain."""

_FUNCTION_WORDS = frozenset("a an the of with and or in on at to for from by its their is are".split())
"""No description ends with one of these."""
_SMALL_WORDS = _FUNCTION_WORDS | {"image", "images", "photo", "photos"}
_VALUE = regex.compile(r"\p{L}[\p{L}\p{M}\u200c\u200d' -]*[\p{L}\p{M}]")


def usable_values(answers: Sequence[str], unwanted: set[str]) -> tuple[str, ...]:
    """The values in comma-separated answers, the most frequent first.

    Args:
        answers: Answers of the language model.
        unwanted: Keys of values that are left out (`key_of`), such as those of the examples.
    """
    times: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for answer in answers:
        first = next((line for line in answer.splitlines() if line.strip()), "")
        parts = re.split(r"[,;.،؛]|\band\b", first)
        # The last value may be truncated.
        named = {key_of(part): part.strip() for part in reversed(parts[:-1] if len(parts) > 2 else parts)}
        for key, value in reversed(named.items()):
            plausible = _VALUE.fullmatch(value) and 1 <= len(key.split()) <= 4 and 3 <= len(key) <= 40
            if plausible and key not in unwanted and len(set(key.split())) == len(key.split()):
                times[key] += 1
                spelled.setdefault(key, re.sub(r"^(?:a|an|the) ", "", value, flags=re.IGNORECASE))
    return tuple(spelled[key] for key, _ in times.most_common())


def key_of(value: str) -> str:
    """A key that is the same for a value, its plural, and the value with an article."""
    return " ".join(word.removesuffix("s") for word in normal_form(value).split() if word not in ("a", "an", "the"))


def content_words(text: str) -> set[str]:
    """The content words without a final s, so that `slides` matches `a slide of`."""
    return {word.removesuffix("s") for word in normal_form(text).split() if word not in _SMALL_WORDS}


def names_domain(text: str, domain: str) -> bool:
    """Whether a text says what the images are: "a photo of a truck" does for "photos and drawings for children"."""
    wanted, words = ({word.removesuffix("s") for word in normal_form(t).split()} for t in (domain, text))
    return bool((wanted - _FUNCTION_WORDS) & words)


def is_copy(text: str) -> bool:
    """Whether it is one of the texts that the model was shown."""
    shown = {normal_form(line) for _, _, line in EXAMPLE_TEXTS} | {
        normal_form(t) for pair in EXAMPLE_CHANGES for t in pair
    }
    return normal_form(text) in shown


def is_readable(text: str) -> bool:
    """Whether it can be a description that somebody wrote: it has an end, no list of words, and no stammer."""
    words = normal_form(text).split()
    if not words or words[-1] in _FUNCTION_WORDS or text.count(",") > 2 or ":" in text or "_" in text:
        return False
    counts = Counter(word for word in words if word not in _SMALL_WORDS)
    stammers = any(a == b for a, b in zip(words, words[1:], strict=False))
    return not stammers and (not counts or max(counts.values()) <= 2)


def on_domain(
    texts: Sequence[str], domain: str, similarity: Similarity, others: Sequence[str] = ()
) -> list[float | None]:
    """How similar each text is to the domain; None for one that is about something else.

    Args:
        texts: What was drafted.
        domain: What it should be about.
        similarity: The text embedder's.
        others: What it should rather not be about, beside the domains that the model was shown.
    """
    if not texts:
        return []
    known = [*EXAMPLE_LISTS, *others]
    alike = similarity([domain], known)[0]
    known = [other for other, likeness in zip(known, alike, strict=True) if likeness < _SAME_DOMAIN]
    rows = similarity(texts, (domain, *known))
    return [row[0] if row[0] > max((*row[1:], MIN_SIMILARITY)) else None for row in rows]


def of_kind(values: Sequence[str], name: str, similarity: Similarity) -> list[str]:
    """The values that are nearest to a shown one of their list, and not to one of another: "silver" is a colour."""
    shown = [
        (kind, value) for lists in EXAMPLE_LISTS.values() for kind, line in lists.items() for value in line.split(", ")
    ]
    if not values:
        return []
    rows = similarity(values, [value for _, value in shown])
    nearest = [max(zip(row, shown, strict=True))[1][0] for row in rows]
    return [value for value, kind in zip(values, nearest, strict=True) if kind == name]


def distinct(texts: Sequence[str], similarity: Similarity | None) -> list[bool]:
    """Which of the texts say something that none before them says."""
    if similarity is None or not texts:
        forms = [normal_form(text) for text in texts]
        return [form not in forms[:i] for i, form in enumerate(forms)]
    kept: list[int] = []
    rows = similarity(texts, texts)
    for i, row in enumerate(rows):
        if all(row[other] < _SAME and normal_form(texts[i]) != normal_form(texts[other]) for other in kept):
            kept.append(i)
    return [i in kept for i in range(len(texts))]
