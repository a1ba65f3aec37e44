"""RANDOM_API and VARIATION_API on texts: the population of candidates, streamed as the writer finishes them.

Source: Aug-PE (arXiv 2403.01749), whose APIs SPTI uses. Every text has a slot with a fixed id, prompt and seed. So a
resumed or repeated generation asks for the same texts in the same order. A text that can't be used is asked for again
with another seed. After `prompts.attempts` the slot falls back to its parent's text, or to its attribute values.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from spti_ray.config import Config
from spti_ray.config.method_traits import holds_subjects
from spti_ray.models.answers import answer_text
from spti_ray.public.cleaning import clean
from spti_ray.public.counted import counted, made_of, one_for_each
from spti_ray.public.engines import Engines
from spti_ray.public.fallbacks import (
    EXCLUDED,
    RELEASE,
    SAME,
    STRAYED,
    UNVARIED,
    FallbackCount,
    FallbackCounts,
    WriterProblems,
    check_not_mostly_fallbacks,
)
from spti_ray.public.offspring import survivors_and_children
from spti_ray.public.prompts import max_tokens
from spti_ray.public.slots import STEP_PER_ATTEMPT, Slot, Slots
from spti_ray.public.subjects import Subjects
from spti_ray.public.text_limit import TextLimit
from spti_ray.public.themes import Theme
from spti_ray.public.words import is_out_of_style, normal_form, scripts_of, tokens_per_word, writer_texts
from spti_ray.types import (
    Candidate,
    Candidates,
    Completions,
    NoisyHistogram,
    Selected,
    WriteRequest,
    derive_seed,
)

log = logging.getLogger(__name__)


class Population:
    """Makes candidates from public prompts and from selected candidates. It sees no private value."""

    def __init__(
        self,
        config: Config,
        engines: Engines,
        fallbacks: FallbackCounts | None = None,
        asked_again: Callable[[int], None] = lambda count: None,
        limit: TextLimit | None = None,
    ) -> None:
        """Prepare prompts.

        Args:
            config: The run's configuration.
            engines: Has the writer.
            fallbacks: Gets the counts of fallbacks by generation.
            asked_again: Is told how many texts are asked for once more, before each further attempt.
            limit: Cuts texts to what the renderer reads; None leaves them as they are.
        """
        self._config = config
        self._engines = engines
        self._asked_again = asked_again
        self._fallbacks = FallbackCounts() if fallbacks is None else fallbacks
        self._problems = WriterProblems()
        self._limit = limit
        self._cut: set[str] = set()
        """The texts that were too long."""
        self._excluded = tuple(f" {normal_form(word)} " for word in config.prompts.exclude_words if normal_form(word))
        shown = [text for _, text in writer_texts(config)]
        self._scripts, self._shown = scripts_of(shown), " ".join(shown)
        self._tokens_per_word = tokens_per_word((config.prompts.domain, *config.prompts.examples))
        self._slots = Slots(config)
        self._subjects = Subjects(engines, self._slots.label_hints) if holds_subjects(config) else None
        self.outcomes: Counter[str] = Counter()
        """How many slots were accepted, asked for again, or fell back. Public; in the log and internal/timings.json."""

    def random_api(self) -> Iterator[Candidate]:
        """RANDOM_API: the first generation, `evolution.candidates` texts, split over the labels by quota.

        Raises:
            NothingMade: nine tenths of them are fallbacks. Raised once the writer was asked for all of them.
        """
        number = self._config.evolution.first_with_candidates
        return self._write(self._slots.all_new(), number, taken=(), subjects=self._subjects, first=True)

    def variation_api(self, generation: int, selected: Sequence[Selected]) -> Iterator[Candidate]:
        """VARIATION_API: the population of `generation`: survivors, if they are kept, then children, up to the quota.

        Raises:
            NothingMade: as `random_api`, in the first generation of a run that continues another one.
        """
        kept, children = survivors_and_children(self._config.evolution, generation, selected)
        slots = [self._slots.variation(child.id, child.parent) for child in children]
        first = generation == self._config.generation_numbers.start
        written = self._write(slots, generation, kept, self._subjects, first)
        return counted(chain(kept, written), len(kept) + len(children))

    def learn(self, candidates: Candidates, histogram: NoisyHistogram, kin: Sequence[Theme] = ()) -> None:
        """Take what the votes say about texts, and which are of one kind, for the prompts of the next generation."""
        texts_of = {candidate.id: candidate.text for candidate in candidates}
        self._slots.learn(candidates, histogram, kin, texts_of)
        if self._subjects:
            self._subjects.learn(kin, texts_of)

    def check(self, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Check the first generation as it is stored, as `random_api` and `variation_api` check it.

        Raises:
            NothingMade: nine tenths of its texts are fallbacks.
        """
        check_not_mostly_fallbacks(
            self._count(self._config.candidate_generations.start, candidates, parents), self._problems.most()
        )

    def count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Count how many of a generation's own texts are fallbacks, whichever attempt at the run made them.

        `parents`: the selected candidates that the generation was made of.
        """
        count = self._count(generation, candidates, parents)
        self._fallbacks.add(str(generation), count.asked, count.fallbacks, count.cut)

    def _count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> FallbackCount:
        """Recognise fallbacks by their text: the parent's, or the bare attribute values, which writers hardly write."""
        texts = {item.candidate.id: item.candidate.text for item in parents}
        own = [candidate for candidate in candidates if candidate.generation == generation]
        fallbacks = sum(
            candidate.text
            == (
                self._slots.new(candidate.id, candidate.label).fallback
                if candidate.parent_id is None
                else texts.get(candidate.parent_id)
            )
            for candidate in own
        )
        return FallbackCount(len(own), fallbacks, sum(candidate.is_cut for candidate in own))

    def varied(self, parents: Sequence[Candidate]) -> list[Candidate]:
        """One new variation of each of the voted texts, in their order, to be released instead of them."""
        generation = self._config.generation_numbers.stop
        slots = [self._slots.variation(f"g{generation:02d}-{i:06d}", parent) for i, parent in enumerate(parents)]
        varied = sorted(self._write(slots, generation, parents, self._subjects), key=lambda candidate: candidate.id)
        same = sum(child.text == parent.text for child, parent in zip(varied, parents, strict=True))
        self._fallbacks.add(RELEASE, len(varied), same, sum(child.is_cut for child in varied))
        return varied

    def variations(self, candidates: Iterable[Candidate], count: int) -> Iterator[Candidate]:
        """`count` throw-away variations of each candidate, for lookahead; `parent_id` names the candidate."""
        origins = iter(candidates)
        slots = (
            self._slots.variation(f"{candidate.id}+{i:02d}", candidate) for candidate in origins for i in range(count)
        )
        return self._write(made_of(origins, slots, count), generation=0, taken=(), subjects=None)

    def _write(
        self,
        slots: Iterable[Slot],
        generation: int,
        taken: Sequence[Candidate],
        subjects: Subjects | None,
        first: bool = False,
    ) -> Iterator[Candidate]:
        """One candidate for each slot, as it is written; in the `first` generation, not nearly all may be fallbacks."""
        wanted = counted(slots)
        return one_for_each(wanted, self._written(wanted, generation, taken, subjects, first))

    def _written(
        self,
        slots: Iterable[Slot],
        generation: int,
        taken: Sequence[Candidate],
        subjects: Subjects | None,
        first: bool,
    ) -> Iterator[Candidate]:
        seen = {normal_form(candidate.text) for candidate in taken}
        limits = self._config.prompts
        accepted, self._problems = 0, WriterProblems()
        for attempt in range(limits.attempts):
            asked: list[Slot] = []
            done: set[str] = set()
            usable = self._usable(slots, attempt, asked, seen)
            for slot, text, holds in subjects.holding(usable) if subjects else _unchecked(usable):
                if not holds:
                    self._problems.dropped(STRAYED)
                    continue
                done.add(slot.id)
                accepted += 1
                self.outcomes["accepted" if attempt == 0 else "accepted when asked again"] += 1
                yield self._candidate(slot, text, generation)
            # In the order in which they were asked for, however far the check is behind the writer.
            slots = left = [slot for slot in asked if slot.id not in done]
            if not left:
                break
            if attempt + 1 < limits.attempts:
                self._asked_again(len(left))
        fallbacks = list(slots)
        for problem, times in self._problems.counts():
            log.warning("writer, generation %d: %d time(s): %s", generation, times, problem)
        if first:
            check_not_mostly_fallbacks(FallbackCount(accepted + len(fallbacks), len(fallbacks)), self._problems.most())
        for slot in fallbacks:
            self.outcomes["fallback"] += 1
            yield self._candidate(slot, slot.fallback, generation)

    def _usable(
        self, slots: Iterable[Slot], attempt: int, asked: list[Slot], seen: set[str]
    ) -> Iterator[tuple[Slot, str]]:
        """Ask for a text for each slot; returns the usable ones. `asked` gets every slot and `seen` every text."""
        wanted = iter(slots)
        answers = self._engines.write(made_of(wanted, self._requests(wanted, attempt, asked)))

        def usable() -> Iterator[tuple[Slot, str]]:
            for i, completions in enumerate(answers):
                text = self._first_usable(completions, asked[i], seen)
                if text is not None:
                    seen.add(normal_form(text))
                    yield asked[i], text

        return made_of(answers, usable())

    def _first_usable(self, answer: Completions | None, slot: Slot, seen: set[str]) -> str | None:
        limits = self._config.prompts
        if answer is None or answer.problem:
            self._problems.failed(answer.problem if answer else "a batch of its requests failed")
        elif not answer.texts:
            self._problems.unusable("")
        texts = answer.texts if answer else ()
        cuts = answer.truncated if answer and answer.truncated else (False,) * len(texts)
        for raw, cut in zip(texts, cuts, strict=False):
            # A truncated text is not used; one that was complete before the limit is.
            completion = answer_text(raw, truncated=cut)
            text = self._fitted(clean(completion, limits.min_words, limits.max_words, limits.sentences, self._scripts))
            if text is None or is_out_of_style(text, self._shown):
                # If the answer has a problem, that already explains its empty texts.
                if raw.strip() or not (answer and answer.problem):
                    self._problems.unusable(raw)
            elif why := self._unwanted(normal_form(text), slot, seen):
                self._problems.dropped(why)
            else:
                return text
        return None

    def _fitted(self, text: str | None) -> str | None:
        """The text as far as the renderer reads it; None if that is too little."""
        if text is None or self._limit is None:
            return text
        fitted, was_too_long = self._limit.applied(text)
        if was_too_long:
            self._cut.add(fitted)
        return fitted if len(fitted.split(" ")) >= self._config.prompts.min_words else None

    def _unwanted(self, form: str, slot: Slot, seen: set[str]) -> str:
        """Why a text, given in its normal form, is not wanted; "" if it is."""
        if slot.parent is not None and form == normal_form(slot.parent.text):
            return UNVARIED
        if form in seen:
            return SAME
        return EXCLUDED if any(word in f" {form} " for word in self._excluded) else ""

    def _requests(self, slots: Iterable[Slot], attempt: int, asked: list[Slot]) -> Iterator[WriteRequest]:
        """One request for each slot; the slots are appended to `asked` in the order of the requests."""
        variation = self._config.evolution.variation
        for slot in slots:
            seed = derive_seed(self._config.runtime.seed, slot.id, attempt)
            prompt, num_words = slot.prompt(random.Random(seed), attempt)
            asked.append(slot)
            yield WriteRequest(
                prompt=prompt,
                n=1,
                seed=seed,
                max_tokens=max_tokens(num_words, self._config.prompts.max_tokens, self._tokens_per_word),
                # Unusable texts are copies more often than nonsense, so each attempt is more random. But where its
                # prompt is another one anyway: there it is nonsense that more heat brings.
                temperature=variation.temperature + (0.0 if slot.reworded else STEP_PER_ATTEMPT) * attempt,
                top_p=variation.top_p,
            )

    def _candidate(self, slot: Slot, text: str, generation: int) -> Candidate:
        parent_id = slot.parent.id if slot.parent else None
        return Candidate(slot.id, text, slot.label, generation, parent_id, slot.operator, text in self._cut)


def _unchecked(texts: Iterable[tuple[Slot, str]]) -> Iterator[tuple[Slot, str, bool]]:
    return ((slot, text, True) for slot, text in texts)
