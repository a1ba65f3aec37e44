"""Turns raw completions into candidate texts, or drops them.

Small instruction models put an answer into quotes or after a preamble, repeat themselves, or run on. What can be
repaired is repaired. The rest is dropped, and the population asks again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import regex

from spti_ray.models.answers import answer_text
from spti_ray.public.words import count_letters, normal_form, normalise_characters, without_joiners

__all__ = ["clean", "normal_form"]

_PREAMBLE = re.compile(
    r"^(?:sure|okay|ok|certainly|of course|here(?: is| are|'s)?|the (?:new |rewritten )?(?:text|caption) is|"
    r"(?:new |final )?(?:text|caption|description|answer|output|filled|example)s?)\b[^:\n]{0,60}:\s*",
    re.IGNORECASE,
)
# The prompt's own "New (5 words):", repeated with or without what stands before it.
_ECHO = re.compile(r"^.*\b(?:text|new|filled)\s*\(\d+ words?\)\s*:\s*", re.IGNORECASE)
_COUNT = re.compile(r"\s*\(\d+ words?\)", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*•>#]+|\d{1,2}[.)])\s+")
_QUOTES = "\"'`“”„‘’‚«»‹›*_ "
_ENDS = ".,;:!?-–— ،؛؟।॥۔։።፣"
"""Marks that a text does not end on, also Arabic, Indian, Armenian and Ethiopic ones."""
_MARKUP = re.compile(r"https?://|www\.|[<>]|\{|\}|\||\\|\[|\]|=>|@|#")
# A sentence ends after two lower-case letters; letters of scripts without case, and their marks, count as such.
_SENTENCE_END = regex.compile(r"(?<=[\p{Ll}\p{Lo}\p{M}]{2})[.!?;؟।॥۔։።](?:\s|$)")
# A text that ends on one of these was cut off.
_DANGLING = frozenset(
    "a an the of with and or in on at to for from by its their his her is are that which into".split()
)


def clean(
    raw: str, min_words: int, max_words: int, sentences: int = 1, scripts: Sequence[str] = ("Latin",)
) -> str | None:
    """Clean the first line of a completion that is not empty.

    Args:
        raw: The completion. Refusals and reasoning are no texts (`models.answers`).
        min_words: Fewest words of the text.
        max_words: Most words of the text.
        sentences: Most sentences. If more than one is wanted, the last keeps its full stop, and a truncated one is
            dropped.
        scripts: Most of the text must be letters of these scripts: those of the prompts (`words.scripts_of`).

    Returns:
        The text as a plain phrase, or None if the line can't be used.
    """
    raw = normalise_characters(answer_text(raw))
    line = next((part.strip() for part in raw.splitlines() if part.strip()), "")
    line = _BULLET.sub("", line)
    line = _COUNT.sub("", _PREAMBLE.sub("", _ECHO.sub("", line)))
    line, ended = _first_sentences(line, sentences)
    line = " ".join(line.replace('"', "").split()).strip(_QUOTES).rstrip(_ENDS).strip(_QUOTES)
    if not line or _MARKUP.search(line) or "_" in line or not without_joiners(line).isprintable():
        return None
    words = _without_repeats(line.split(" "))
    if not ended:
        words = _whole(words)
    if not min_words <= len(words) <= max_words:
        return None
    if count_letters(" ".join(words), scripts) < 0.7 * sum(len(word) for word in words) or _stutters(words):
        return None
    text = " ".join(words).rstrip(",;: ")
    # Without its preamble, the text may be a refusal.
    return text + ("." if ended else "") if answer_text(text) else None


def _first_sentences(line: str, count: int) -> tuple[str, bool]:
    """The first `count` whole sentences without the last full stop, and whether the full stop belongs to the text."""
    ends = [match.start() for match in _SENTENCE_END.finditer(line)]
    if not ends:
        return line, False
    return line[: ends[min(count, len(ends)) - 1]], count > 1


def without_dangling(words: Sequence[str]) -> str:
    """The words of a text that was cut as a text that does not end on one such as "of" or on a comma."""
    return " ".join(_whole(words)).rstrip(",;: ")


def _whole(words: Sequence[str]) -> list[str]:
    """Without the last words of which a text that ends on them was cut off."""
    kept = list(words)
    while kept and _dangles(kept[-1]):
        kept.pop()
    return kept


def _dangles(word: str) -> bool:
    return not any(character.isalnum() for character in word) or word.lower().strip(",;:") in _DANGLING


def _without_repeats(words: list[str]) -> list[str]:
    """Collapse a word that directly follows itself ("a a red red apple")."""
    return [word for i, word in enumerate(words) if i == 0 or word.lower() != words[i - 1].lower()]


def _stutters(words: list[str]) -> bool:
    """Whether content words repeat too often, as in "a cat and a cat and a cat", or a phrase follows itself."""
    lower = [word.lower().strip(",") for word in words]
    for length in range(2, len(lower) // 2 + 1):
        if any(lower[i : i + length] == lower[i + length : i + 2 * length] for i in range(len(lower))):
            return True
    content = [word for word in lower if word not in _DANGLING]
    return len(content) >= 4 and len(set(content)) <= len(content) * 0.6
