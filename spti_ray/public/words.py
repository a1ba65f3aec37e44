"""Words, letters and scripts by Unicode's rules: of texts in scripts that put spaces between words.

In ASCII a word is what it always was here: letters and digits, whatever their case.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

import regex

from spti_ray.config import Config

WITHOUT_SPACES = (
    "Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Javanese", "Balinese",
    "Tai_Tham", "Tai_Le", "New_Tai_Lue", "Tai_Viet", "Yi", "Vai",
)  # fmt: skip
"""Scripts whose words can't be told by spaces."""

_IN_WORDS = {
    "Han": "Chinese characters (Han)",
    "Hiragana": "Japanese (Hiragana)",
    "Katakana": "Japanese (Katakana)",
    "Myanmar": "Burmese (Myanmar)",
}
_WITH_SPACES = (
    "Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Hangul", "Armenian", "Georgian", "Devanagari", "Bengali",
    "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Ethiopic", "Mongolian",
    "Syriac", "Thaana", "Nko", "Tifinagh", "Cherokee", "Canadian_Aboriginal", "Ol_Chiki", "Adlam",
)  # fmt: skip

_LETTER = {script: regex.compile(rf"[\p{{L}}&&\p{{Script={script}}}]", regex.V1) for script in _WITH_SPACES}
_UNSPACED = {script: regex.compile(rf"[\p{{L}}&&\p{{Script={script}}}]", regex.V1) for script in WITHOUT_SPACES}
_UNKNOWN = regex.compile(
    r"[\p{L}--"
    + "--".join(rf"\p{{Script={name}}}" for name in (*_WITH_SPACES, *WITHOUT_SPACES, "Common", "Inherited"))
    + "]",
    regex.V1,
)
# Marks that are of no script of their own belong to the letter before them, and so do joiners between letters.
_RUN = regex.compile(r"\p{L}[\p{M}\u200c\u200d]*")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_INVISIBLE = regex.compile(r"[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
"""Marks of direction, which renderers and embedders have no use for."""
_ETHIOPIC_SPACE = "\u1361"
_JOINERS = regex.compile(r"(?<=[\p{L}\p{M}])[\u200c\u200d]+(?=\p{L})")
"""They shape what stands around them, as in Persian and Hindi."""


def normal_form(text: str) -> str:
    """Two texts with the same normal form count as duplicates: their words, in one spelling, whatever their case."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_WORD.findall(regex.sub(r"\p{Cf}+", "", folded)))


def normalise_characters(text: str) -> str:
    """Characters that look alike in one encoding (NFC), without marks of direction, words apart by spaces alone."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).replace(_ETHIOPIC_SPACE, " ")


def without_joiners(text: str) -> str:
    """Without the invisible characters that belong between letters; what is left of them is out of place."""
    return _JOINERS.sub("", text)


def count_letters(text: str, scripts: Iterable[str] = ("Latin",)) -> int:
    """How many characters of the text are letters of these scripts, with their marks."""
    wanted = [_LETTER[script] for script in scripts]
    return sum(len(run) for run in _RUN.findall(text) if any(letter.match(run) for letter in wanted))


def scripts_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The scripts with spaces that the texts have letters of; Latin, that of brands and signs, is always among them."""
    together = "".join(texts)
    return ("Latin", *(name for name in _WITH_SPACES[1:] if _LETTER[name].search(together)))


def script_without_spaces(text: str) -> str:
    """The name, for people, of a script without spaces that a text has letters of; else empty."""
    name = next((name for name, letter in _UNSPACED.items() if letter.search(text)), "")
    if not name and (letter := _UNKNOWN.search(text)):
        return f"that of {unicodedata.name(letter.group(), 'a letter that is not known').lower()}"
    return _IN_WORDS.get(name, name.replace("_", " "))


def writer_texts(config: Config) -> Iterator[tuple[str, str]]:
    """(setting, text) of all that the writer's texts are made of, or compared with."""
    prompts = config.prompts
    yield "prompts.domain", prompts.domain
    for name, values in prompts.attributes.items():
        yield "prompts.attributes", " ".join((name, *values))
    for text in prompts.examples:
        yield "prompts.examples", text
    for values in prompts.example_attributes:
        yield "prompts.example_attributes", " ".join((*values, *values.values()))
    for change in prompts.rephrase_examples:
        yield "prompts.rephrase_examples", f"{change.text} {change.new}"
    for blanks in prompts.fill_examples:
        yield "prompts.fill_examples", f"{blanks.blanks} {blanks.filled}"
    for word in prompts.exclude_words:
        yield "prompts.exclude_words", word
    for label in config.evolution.labels:
        yield "evolution.labels", label.hint or label.name


def tokens_per_word(texts: Iterable[str]) -> float:
    """Room for one word: two tokens, as English needs at most, and one for each byte of its letters beyond ASCII."""
    words = [word for text in texts for word in text.split()]
    beyond = sum(len(character.encode()) for word in words for character in word if not character.isascii())
    return 2.0 + beyond / max(1, len(words))
