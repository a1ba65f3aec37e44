"""Counts fallback texts, which take the place of texts where the writer gave no usable one, and why it did not.

All of it is public, or computed from public values and noised counts. It is shown at the end of a run and in its
datasheet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from spti_ray.errors import NothingMade

MAX_FALLBACK_SHARE = 0.9
"""From this share of fallbacks in the first generation, a vote on it is worth nothing."""

RELEASE = "release"
"""The name in counts of the texts that are varied once more to be released."""


@dataclass(frozen=True)
class FallbackCount:
    """How many texts were asked for, how many of them are fallbacks, and how many were too long for the renderer."""

    asked: int = 0
    fallbacks: int = 0
    cut: int = 0

    @property
    def share(self) -> float:
        """The share of fallbacks; 0 if nothing was asked for."""
        return self.fallbacks / self.asked if self.asked else 0.0

    @property
    def mostly_fallbacks(self) -> bool:
        """Whether there are so many fallbacks that a vote is worth nothing."""
        return self.asked > 0 and self.fallbacks >= MAX_FALLBACK_SHARE * self.asked


@dataclass
class FallbackCounts:
    """The counts of a run: for each generation, by its number, and for `RELEASE`."""

    counts: dict[str, FallbackCount] = field(default_factory=dict)

    def add(self, name: str, asked: int, fallbacks: int, cut: int = 0) -> None:
        """Set a generation's count. If a generation is counted again, the last count holds."""
        if asked:
            self.counts[name] = FallbackCount(asked, fallbacks, cut)

    @property
    def total(self) -> FallbackCount:
        """The count of the whole run."""
        counts = self.counts.values()
        return FallbackCount(
            sum(count.asked for count in counts),
            sum(count.fallbacks for count in counts),
            sum(count.cut for count in counts),
        )

    def document(self) -> dict[str, Any]:
        """The counts as JSON values; empty if no text was asked for."""
        return {
            name: {"asked": count.asked, "fallbacks": count.fallbacks} | ({"cut": count.cut} if count.cut else {})
            for name, count in self.counts.items()
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> FallbackCounts:
        """The counts that `document` gave."""
        return cls({name: FallbackCount(**counts) for name, counts in document.items()})

    def lines(self) -> Iterator[str]:
        """One line for people: the share over the whole run, and where it was largest."""
        total = self.total
        if not total.asked:
            return
        line = f"texts: {total.fallbacks} of {total.asked} ({100 * total.share:.1f} %) are fallbacks"
        if not total.fallbacks:
            yield line
            return
        worst = max(self.counts, key=lambda name: self.counts[name].share)
        where = "the release" if worst == RELEASE else f"generation {worst}"
        yield (
            f"{line}: attribute values or the parent's text, where the writer gave none that was usable and about its "
            f"subject; most in {where}: "
            f"{self.counts[worst].fallbacks} of {self.counts[worst].asked}"
        )

    def cut_lines(self) -> Iterator[str]:
        """One line for people where texts were longer than what the renderer reads of one."""
        total = self.total
        if total.cut:
            share = 100 * total.cut / total.asked
            yield f"texts: {total.cut} of {total.asked} ({share:.1f} %) were cut: the renderer reads no more of a text"


SAME = "its answers were the same as earlier ones"
EXCLUDED = "its answers held words of prompts.exclude_words"
UNVARIED = "its answers were the texts that they were to vary"
STRAYED = "its answers were about something else than their label or theme (prompts.hold_subject)"
_EMPTY = "its answers are empty"
_UNUSABLE = "its answers are of no use"


class WriterProblems:
    """Counts why texts were not usable, in public words of the writer and its endpoint."""

    def __init__(self) -> None:
        self._engine: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._unusable = ""

    def failed(self, problem: str) -> None:
        """The writer gave no answer, or one without text; `problem` says why."""
        self._engine[problem] += 1

    def unusable(self, text: str) -> None:
        """The writer gave an answer that is not a usable text."""
        line = " ".join(text.split())
        self._unusable = self._unusable or line[:80]
        self._answers[_UNUSABLE if line else _EMPTY] += 1

    def dropped(self, why: str) -> None:
        """The writer gave a text that is not wanted: `SAME`, `EXCLUDED`, `UNVARIED` or `STRAYED`."""
        self._answers[why] += 1

    def most(self) -> str:
        """The most frequent problem, for people."""
        return next((why for why, _ in self.counts()), "see the log")

    def counts(self) -> list[tuple[str, int]]:
        """The problems and how often each was: those of the engine, then those of its answers, most frequent first."""
        answers = self._answers.most_common()
        return self._engine.most_common(5) + [(self._in_words(why), times) for why, times in answers]

    def _in_words(self, why: str) -> str:
        return f"{why}, such as {self._unusable!r}" if why == _UNUSABLE else why


def check_not_mostly_fallbacks(count: FallbackCount, why: str) -> None:
    """Check that the writer wrote enough of the first generation's texts.

    Raises:
        NothingMade: nine tenths of them are fallbacks; `why` is the most frequent problem.
    """
    if count.mostly_fallbacks:
        raise NothingMade(
            f"runtime.engines.writer: no usable text for {count.fallbacks} of the {count.asked} of the first "
            f"generation, so the run ends before anything of it is charged: {why}"
        )
