"""How much of its texts a run's renderer would read: the window of its text encoder, and what is longer than that."""

from __future__ import annotations

from typing import Any

from spti_ray.config import Config
from spti_ray.config.method_traits import candidates_are_images, declaration_of, roles_needed
from spti_ray.methods import Candidates
from spti_ray.models.factory import engines_config
from spti_ray.models.text_window import TextWindow


def rendered_texts(config: Config) -> dict[str, Any] | None:
    """The tokens that are read of a text, and the shares of examples and of planned lengths that have more.

    Args:
        config: the configuration.

    Returns:
        tokens: most tokens of a text; is_cut: whether longer texts are cut before they are voted on; words: about as
        many as fit; examples, examples_over: how many example texts there are and are longer; lengths_over: the share
        of the lengths from min_target_words to max_words that are; is_counted: whether the renderer's own tokenizer
        counted, else all is an estimate for English. None where no texts are written, or the renderer's window is not
        known.
    """
    if declaration_of(config).candidates is not Candidates.TEXTS or candidates_are_images(config):
        return None
    window = TextWindow.of(engines_config(config.runtime.engines).renderer)
    if window is None or "writer" not in roles_needed(config):
        return None
    prompts = config.prompts
    limit, counter = window.limit(prompts), window.counter()
    tokens, count = limit or window.tokens, counter or window.estimate
    shown = [*prompts.examples, *(e.new for e in prompts.rephrase_examples), *(e.filled for e in prompts.fill_examples)]
    examples = list(dict.fromkeys(shown))
    texts = examples or [prompts.domain]
    added = count("")
    per_word = sum(count(text) - added for text in texts) / max(1, sum(len(text.split()) for text in texts))
    words = int((tokens - added) / max(1.0, per_word))
    lengths = range(prompts.min_target_words or prompts.min_words, prompts.max_words + 1)
    return {
        "tokens": tokens,
        "is_cut": limit is not None,
        "words": words,
        "examples": len(examples),
        "examples_over": sum(count(text) > tokens for text in examples),
        "lengths": [lengths[0], lengths[-1]],
        "lengths_over": sum(length > words for length in lengths) / len(lengths),
        "is_counted": counter is not None,
    }


def rendered_texts_line(found: dict[str, Any]) -> str:
    """The same for people."""
    about = "" if found["is_counted"] else " (estimated: its tokenizer is not on this machine)"
    fate = "cut before they are voted on" if found["is_cut"] else "cut by its encoder, unseen by who votes on texts"
    return (
        f"the renderer reads {found['tokens']} tokens of a text, about {found['words']} words{about}; longer texts are "
        f"{fate}: {found['examples_over']} of {found['examples']} example texts, and "
        f"{100 * found['lengths_over']:.0f} % of the planned lengths ({found['lengths'][0]} to {found['lengths'][1]} "
        "words)"
    )
