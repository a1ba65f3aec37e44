"""Finds words, letters and scripts by Unicode's rules, in texts whose scripts put spaces between words.

In ASCII a word is a run of letters and digits.
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
"""Scripts that do not separate words by spaces."""

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
# Marks without a script of their own, and joiners between letters, belong to the letter before them.
_RUN = regex.compile(r"\p{L}[\p{M}\u200c\u200d]*")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_SHOUTED = regex.compile(r"(?<!\p{L})\p{Lu}{5}")
_INVISIBLE = regex.compile(r"[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
"""Marks of writing direction, which renderers and embedders do not need."""
_ETHIOPIC_SPACE = "\u1361"
_JOINERS = regex.compile(r"(?<=[\p{L}\p{M}])[\u200c\u200d]+(?=\p{L})")
"""Joiners between letters, which change the shape of these, as in Persian and Hindi."""


def normal_form(text: str) -> str:
    """The words of a text in one spelling and without case. Texts with the same normal form count as duplicates."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_WORD.findall(regex.sub(r"\p{Cf}+", "", folded)))


def normalise_characters(text: str) -> str:
    """The text in Unicode's NFC, without marks of writing direction, and with plain spaces between words."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).replace(_ETHIOPIC_SPACE, " ")


def without_joiners(text: str) -> str:
    """The text without joiners between letters. Joiners that are left are out of place."""
    return _JOINERS.sub("", text)


def count_letters(text: str, scripts: Iterable[str] = ("Latin",)) -> int:
    """How many characters of the text are letters of these scripts, or marks of these letters."""
    wanted = [_LETTER[script] for script in scripts]
    return sum(len(run) for run in _RUN.findall(text) if any(letter.match(run) for letter in wanted))


def scripts_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The scripts with spaces that the texts have letters of, and always Latin, the script of brands and signs."""
    together = "".join(texts)
    return ("Latin", *(name for name in _WITH_SPACES[1:] if _LETTER[name].search(together)))


def is_out_of_style(text: str, shown: str) -> bool:
    """Whether the text has a symbol (®, =), or a word in capitals, of which what the writer was shown has none.

    A small writer far from what it knows writes product names. Short words in capitals may be names in any style.

    Args:
        text: What was written.
        shown: All texts that it was shown, together.
    """
    if any(unicodedata.category(sign).startswith("S") and sign not in shown for sign in text):
        return True
    return bool(_SHOUTED.search(text) and not _SHOUTED.search(shown))


def script_without_spaces(text: str) -> str:
    """The name, for people, of a script without spaces (or an unknown one) in a text; "" if there is none."""
    name = next((name for name, letter in _UNSPACED.items() if letter.search(text)), "")
    if not name and (letter := _UNKNOWN.search(text)):
        return f"that of {unicodedata.name(letter.group(), 'a letter that is not known').lower()}"
    return _IN_WORDS.get(name, name.replace("_", " "))


def writer_texts(config: Config) -> Iterator[tuple[str, str]]:
    """(setting, text) for all texts of the configuration that prompts are made of, or that texts are compared with."""
    prompts = config.prompts
    yield "prompts.domain", prompts.domain
    for name, values in prompts.attributes.items():
        yield "prompts.attributes", " ".join((name, *values))
    for lists in prompts.label_attributes.values():
        for name, values in lists.items():
            yield "prompts.label_attributes", " ".join((name, *values))
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
        yield "evolution.labels", label.text


def tokens_per_word(texts: Iterable[str]) -> float:
    """Tokens to allow for a word: two, which is enough for English, and one for each byte of its non-ASCII letters."""
    words = [word for text in texts for word in text.split()]
    beyond = sum(len(character.encode()) for word in words for character in word if not character.isascii())
    return 2.0 + beyond / max(1, len(words))
