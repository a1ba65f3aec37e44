"""How a language model is asked for the prompts of a new configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spti_ray.public.draft_checks import Similarity
from spti_ray.public.prompts import max_tokens
from spti_ray.step_progress import Told
from spti_ray.types import Completions, WriteRequest

Write = Callable[[Sequence[WriteRequest]], Sequence[Completions]]
"""Completes every request, in order: a writer engine's `write`."""

MIN_WORDS, MAX_WORDS = 3, 20
_ANSWERS_PER_REQUEST = 12
_REQUESTS_AT_ONCE = 4


@dataclass(frozen=True)
class Asked:
    """Who is asked, about what. `similarity` is None without a text embedder."""

    domain: str
    labels: tuple[str, ...]
    write: Write
    similarity: Similarity | None
    seed: int
    told: Told

    def answers(self, what: str, requests: Sequence[WriteRequest]) -> list[tuple[str, ...]]:
        """The answers to each request, a few requests at a time."""
        found: list[tuple[str, ...]] = []
        for first in range(0, len(requests), _REQUESTS_AT_ONCE):
            self.told(what, first, len(requests))
            batch = requests[first : first + _REQUESTS_AT_ONCE]
            found += [completions.texts for completions in self.write(batch)]
        self.told(what, len(requests), len(requests))
        return found


def request(lines: Sequence[str], seed: int, tokens: int = max_tokens(MAX_WORDS)) -> WriteRequest:
    """A request for several answers to a prompt of these lines, each of at most so many tokens."""
    return WriteRequest("\n".join(lines), _ANSWERS_PER_REQUEST, seed, tokens, temperature=0.8, top_p=0.9)
