"""Tokens of a run's texts, estimated from the prompts that the run itself would build. No tokeniser is loaded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from spti_ray.config import Config
from spti_ray.config.method_traits import shards_vote
from spti_ray.planning.workload import phases
from spti_ray.public import prompts as build
from spti_ray.public.words import tokens_per_word

CHARACTERS_PER_TOKEN = 4.0
WORDS_PER_TOKEN = 0.75
"""Rules of thumb for English (help.openai.com, article 4936856, "What are tokens and how to count them?")."""

_DRAWS = 64
"""Texts whose lengths are followed through the generations, as a sample of all texts."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of first answers: estimates of prompts and output, and the most output that the requests allow."""

    prompt: float = 0.0
    output: float = 0.0
    most_output: float = 0.0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.output + other.output, self.most_output + other.most_output)

    def times(self, requests: int) -> Tokens:
        """Of so many requests."""
        return Tokens(requests * self.prompt, requests * self.output, requests * self.most_output)


def tokens_by_phase(config: Config) -> tuple[Tokens, ...]:
    """Tokens of each of `workload.phases`, every text asked for once; zeros where no text is written."""
    requests = [phase.streams.get("writer", ()) for phase in phases(config)]
    per_text = tokens_per_text(config, [len(streams) for streams in requests])
    return tuple(
        sum((each.times(count) for each, count in zip(of_phase, streams, strict=True)), Tokens())
        for of_phase, streams in zip(per_text, requests, strict=True)
    )


def tokens_per_text(config: Config, streams: Sequence[int]) -> tuple[tuple[Tokens, ...], ...]:
    """Mean tokens of one text of each of the writer's streams, by phase.

    Prompts are built by the run's own functions on the configuration's examples. Lengths are drawn as a run draws them:
    a first text's at random, a child's from its parent's. The writer is taken to keep to the length asked for.

    Args:
        config: the configuration.
        streams: how many streams of texts there are in each phase. How many phases follow changes nothing.
    """
    rng = random.Random(0)
    per_word = tokens_per_word((config.prompts.domain, *config.prompts.examples))
    lengths = [build.target_length(config.prompts, None, rng) for _ in range(_DRAWS)]
    per_new, per_varied = _prompt_tokens(config, varies=False), _prompt_tokens(config, varies=True)
    found: list[tuple[Tokens, ...]] = []
    for number, count in enumerate(streams):
        of_phase: list[Tokens] = []
        for index in range(count):
            # The second stream of a generation is its variations for lookahead.
            varies = number > 0 or index > 0 or config.origin is not None
            asked = [build.target_length(config.prompts, words, rng) for words in lengths] if varies else lengths
            lengths = lengths if index else asked
            of_phase.append(
                Tokens(
                    per_varied if varies else per_new,
                    fmean(words / WORDS_PER_TOKEN + 1 for words in asked),
                    fmean(build.max_tokens(words, config.prompts.max_tokens, per_word) for words in asked),
                )
            )
        found.append(tuple(of_phase))
    return tuple(found)


def _prompt_tokens(config: Config, varies: bool) -> float:
    """Tokens of a prompt on average; what is varied are the configuration's examples, or its domain."""
    prompts, variation = config.prompts, config.evolution.variation
    rng = random.Random(0)
    if not varies:
        labels = config.evolution.labels or (None,)
        return _mean_length(
            [build.random_prompt(prompts, build.draw_attributes(prompts, label, rng), 10) for label in labels]
        )
    texts = prompts.examples or (prompts.domain,)
    shown = tuple(texts[i % len(texts)] for i in range(variation.contrast)) if shards_vote(config) else ()
    contrast = build.Contrast(shown, shown)
    rephrased = _mean_length([build.rephrase_prompt(prompts, text, 10, contrast) for text in texts])
    filled = _mean_length(
        [build.fill_prompt(prompts, build.mask(text, variation.mask_share, rng), 10, contrast) for text in texts]
    )
    return variation.rephrase_share * rephrased + (1 - variation.rephrase_share) * filled


def _mean_length(texts: Sequence[str]) -> float:
    return fmean(len(text) for text in texts) / CHARACTERS_PER_TOKEN
