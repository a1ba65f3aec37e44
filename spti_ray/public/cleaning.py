"""Turns raw completions into candidate texts, or drops them.

Small instruction models wrap an answer in quotes or a preamble, repeat themselves, or run on. What can be repaired
is repaired; what can't is dropped, and the population asks again.
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
# The prompts' own "New (5 words):", echoed with or without what stands before it.
_ECHO = re.compile(r"^.*\b(?:text|new|filled)\s*\(\d+ words?\)\s*:\s*", re.IGNORECASE)
_COUNT = re.compile(r"\s*\(\d+ words?\)", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*•>#]+|\d{1,2}[.)])\s+")
_QUOTES = "\"'`“”„‘’‚«»‹›*_ "
_ENDS = ".,;:!?-–— ،؛؟।॥۔։።፣"
"""What a text does not end on: also Arabic, Indian, Armenian and Ethiopic."""
_MARKUP = re.compile(r"https?://|www\.|[<>]|\{|\}|\||\\|\[|\]|=>|@|#")
# Letters with upper case end a sentence in lower case; scripts without it, and their marks, count as that.
_SENTENCE_END = regex.compile(r"(?<=[\p{Ll}\p{Lo}\p{M}]{2})[.!?;؟।॥۔։።](?:\s|$)")
# A text that ends on one of these was cut off.
_DANGLING = frozenset(
    "a an the of with and or in on at to for from by its their his her is are that which into".split()
)


def clean(
    raw: str, min_words: int, max_words: int, sentences: int = 1, scripts: Sequence[str] = ("Latin",)
) -> str | None:
    """Return the first usable line of `raw` as a plain phrase of `min_words` to `max_words` words, or None.

    Of at most `sentences` sentences. Where more than one is wanted, the last keeps its full stop, and one that was cut
    off is dropped. Most of it must be letters of `scripts`, see `words.scripts_of`: those of the prompts. What a model
    says instead of an answer (`models.answers`) is none.
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
    while words and not ended and _dangles(words[-1]):
        words.pop()
    if not min_words <= len(words) <= max_words:
        return None
    if count_letters(" ".join(words), scripts) < 0.7 * sum(len(word) for word in words) or _stutters(words):
        return None
    text = " ".join(words).rstrip(",;: ")
    # A preamble may stand before a refusal.
    return text + ("." if ended else "") if answer_text(text) else None


def _first_sentences(line: str, count: int) -> tuple[str, bool]:
    """The first `count` whole sentences, without the last full stop, and whether that belongs to them."""
    ends = [match.start() for match in _SENTENCE_END.finditer(line)]
    if not ends:
        return line, False
    return line[: ends[min(count, len(ends)) - 1]], count > 1


def _dangles(word: str) -> bool:
    return not any(character.isalnum() for character in word) or word.lower().strip(",;:") in _DANGLING


def _without_repeats(words: list[str]) -> list[str]:
    """Collapse a word that directly follows itself ("a a red red apple")."""
    return [word for i, word in enumerate(words) if i == 0 or word.lower() != words[i - 1].lower()]


def _stutters(words: list[str]) -> bool:
    """Whether content words come again and again, as in "a cat and a cat and a cat", or a phrase follows itself."""
    lower = [word.lower().strip(",") for word in words]
    for length in range(2, len(lower) // 2 + 1):
        if any(lower[i : i + length] == lower[i + length : i + 2 * length] for i in range(len(lower))):
            return True
    content = [word for word in lower if word not in _DANGLING]
    return len(content) >= 4 and len(set(content)) <= len(content) * 0.6
