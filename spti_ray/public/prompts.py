"""Builds the prompts of RANDOM_API and VARIATION_API (SPTI, section 3; Aug-PE, arXiv 2403.01749) from public text only.

A prompt is a few-shot block that is the same for all requests of its kind, and then the target. So the writer's prefix
cache computes the block once. Small models follow examples far better than instructions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from spti_ray.config import LabelConfig, PromptsConfig

BLANK = "_"
MOST_KIN = 8
"""Texts of a kind that a prompt shows."""


def random_prompt(prompts: PromptsConfig, values: dict[str, str], num_words: int) -> str:
    """RANDOM_API: ask for a text with the given attribute values and about `num_words` words."""
    lines = [f"Short descriptions of {prompts.domain}.", ""]
    for i, example in enumerate(prompts.examples):
        attributes = prompts.example_attributes[i] if prompts.example_attributes else {}
        lines.append(_line(attributes, len(example.split()), example))
    lines.append(_line(values, num_words, ""))
    return "\n".join(lines).rstrip()


def draw_attributes(prompts: PromptsConfig, label: LabelConfig | None, rng: random.Random) -> dict[str, str]:
    """Draw one public value from each attribute list; with a label, the label is the value of `subject`.

    Lists of the label's own come first, since they say which of its subjects it is.
    """
    own = prompts.label_attributes.get(label.name, {}) if label is not None else {}
    values = {name: rng.choice(choices) for name, choices in (own | {**prompts.attributes, **own}).items()}
    if label is not None:
        # It comes first, and replaces an attribute list of that name: another subject would be another label.
        subject = {"subject": label.text}
        values = subject | values | subject
    return values


@dataclass(frozen=True)
class Contrast:
    """Texts of the last generation with the most and with the fewest noised votes, as examples for variations."""

    winners: tuple[str, ...] = ()
    losers: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The lines after the heading; they are the same for all requests of a label, as the prefix cache needs."""
        wanted = [f"Wanted: {text}" for text in self.winners]
        unwanted = [f"Not wanted: {text}" for text in self.losers]
        return [*wanted, *unwanted, ""] if wanted or unwanted else []


def rephrase_prompt(
    prompts: PromptsConfig, text: str, num_words: int, contrast: Contrast | None = None, subject: str = ""
) -> str:
    """VARIATION_API by rephrasing: a different text about a similar thing; of the `subject`, if one is given."""
    lines = [f"Change each description of {prompts.domain} a little.", "", *(contrast.lines() if contrast else ())]
    for example in prompts.rephrase_examples:
        lines += [f"Text: {example.text}", f"New ({len(example.new.split())} words): {example.new}", ""]
    lines += [f"Text: {text}", f"{_about(subject)}New ({num_words} words):"]
    return "\n".join(lines)


def kin_prompt(
    prompts: PromptsConfig, text: str, kin: Sequence[str], num_words: int, rng: random.Random, subject: str = ""
) -> str:
    """VARIATION_API for a text whose theme was voted for: another one of its kind.

    A rephrased text tends to leave its theme, since the examples say that a change is wanted; a list of the theme's own
    texts says what to keep.

    Args:
        prompts: The public prompts.
        text: The text, which comes last.
        kin: Texts of its theme.
        num_words: The wanted length.
        rng: Draws those that are shown, anew in each prompt: prompts that are alike have answers that are.
        subject: What all of them are of, if it is known.
    """
    others = [other for other in kin if other != text]
    others = rng.sample(others, min(len(others), MOST_KIN - 1))
    lines = [f"Short descriptions of {prompts.domain}, all of one kind{': ' if subject else ''}{subject}.", ""]
    lines += [f"Text ({len(known.split())} words): {known}" for known in (*others, text)]
    return "\n".join([*lines, f"Text ({num_words} words):"])


def fill_prompt(
    prompts: PromptsConfig, blanks: str, num_words: int, contrast: Contrast | None = None, subject: str = ""
) -> str:
    """VARIATION_API by fill-in-the-blanks: the masked text, completed with other words; of the `subject`, if given."""
    lines = [f"Fill in the blanks of descriptions of {prompts.domain}.", "", *(contrast.lines() if contrast else ())]
    for example in prompts.fill_examples:
        lines += [f"Blanks: {example.blanks}", f"Filled ({len(example.filled.split())} words): {example.filled}", ""]
    lines += [f"Blanks: {blanks}", f"{_about(subject)}Filled ({num_words} words):"]
    return "\n".join(lines)


def mask(text: str, share: float, rng: random.Random) -> str:
    """Replace about `share` of the words by blanks, at least one. Articles stay; neighbouring blanks become one."""
    words = text.split()
    open_words = [i for i, word in enumerate(words) if word.lower() not in {"a", "an", "the"}]
    count = min(len(open_words), max(1, round(share * len(words))))
    chosen = set(rng.sample(open_words, count)) if open_words else set()
    masked = [BLANK if i in chosen else word for i, word in enumerate(words)]
    return " ".join(word for i, word in enumerate(masked) if word != BLANK or i == 0 or masked[i - 1] != BLANK)


def target_length(prompts: PromptsConfig, parent_words: int | None, rng: random.Random) -> int:
    """Sample a target length in words: near the parent's, or without a parent in the allowed range (Aug-PE, sec. 4)."""
    least = prompts.min_target_words or prompts.min_words
    if parent_words is None:
        shortest = min(prompts.max_words, prompts.min_target_words or prompts.min_words + 1)
        return rng.randint(shortest, max(shortest, prompts.max_words * 2 // 3))
    if prompts.length_deviation is None:
        change = rng.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2))
    else:
        change = int(rng.gauss(0.0, prompts.length_deviation))
    return min(prompts.max_words, max(least, parent_words + change))


def max_tokens(num_words: int, most: int | None = None, per_word: float = 2.0) -> int:
    """The limit of output tokens for a text of `num_words` words, with some slack; a newline ends most texts earlier.

    Args:
        num_words: The target length.
        most: An upper limit.
        per_word: Tokens for a word; English words have about 1.4.
    """
    enough = int(num_words * per_word) + 6
    return enough if most is None else min(enough, most)


def _about(subject: str) -> str:
    return f"Subject: {subject}. " if subject else ""


def _line(values: dict[str, str], num_words: int, text: str) -> str:
    attributes = "".join(f"{name.capitalize()}: {value}. " for name, value in values.items())
    return f"{attributes}Text ({num_words} words): {text}"
