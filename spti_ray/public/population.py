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
from dataclasses import dataclass

from spti_ray.config import Config, LabelConfig
from spti_ray.models.answers import answer_text
from spti_ray.public import prompts as prompt_api
from spti_ray.public.cleaning import clean
from spti_ray.public.engines import Engines
from spti_ray.public.fallbacks import (
    EXCLUDED,
    RELEASE,
    SAME,
    UNVARIED,
    FallbackCount,
    FallbackCounts,
    WriterProblems,
    check_not_mostly_fallbacks,
)
from spti_ray.public.offspring import survivors_and_children
from spti_ray.public.themes import Theme
from spti_ray.public.words import normal_form, scripts_of, tokens_per_word, writer_texts
from spti_ray.types import (
    Candidate,
    Candidates,
    Completions,
    NoisyHistogram,
    Operator,
    Selected,
    WriteRequest,
    derive_seed,
)

log = logging.getLogger(__name__)

_STEP_PER_ATTEMPT = 0.15
"""Added to the temperature, and to the share of masked words, each time that a text is asked for again."""
_MAX_MASKED_SHARE = 0.8


@dataclass(frozen=True)
class _Slot:
    """One text that is wanted. `prompt` makes the prompt of an attempt and its target length in words."""

    id: str
    label: str
    operator: Operator
    parent: Candidate | None
    prompt: Callable[[random.Random, int], tuple[str, int]]
    fallback: str


class Population:
    """Makes candidates from public prompts and from selected candidates. It sees no private value."""

    def __init__(self, config: Config, engines: Engines, fallbacks: FallbackCounts | None = None) -> None:
        """Prepare prompts.

        Args:
            config: The run's configuration.
            engines: Has the writer.
            fallbacks: Gets the counts of fallbacks by generation.
        """
        self._config = config
        self._engines = engines
        self._fallbacks = FallbackCounts() if fallbacks is None else fallbacks
        self._problems = WriterProblems()
        self._excluded = tuple(f" {normal_form(word)} " for word in config.prompts.exclude_words if normal_form(word))
        self._labels: dict[str, LabelConfig] = {label.name: label for label in config.evolution.labels}
        shown = [text for _, text in writer_texts(config)]
        self._scripts = scripts_of(shown)
        self._tokens_per_word = tokens_per_word((config.prompts.domain, *config.prompts.examples))
        self._contrast: dict[str, prompt_api.Contrast] = {}
        self._kin: dict[str, tuple[str, ...]] = {}
        self.outcomes: Counter[str] = Counter()
        """How many slots were accepted, asked for again, or fell back. Public; in the log and internal/timings.json."""

    def random_api(self) -> Iterator[Candidate]:
        """RANDOM_API: the first generation, `evolution.candidates` texts, split over the labels by quota.

        Raises:
            NothingMade: nine tenths of them are fallbacks. Raised once the writer was asked for all of them.
        """
        evolution = self._config.evolution
        number = evolution.first_with_candidates
        labels = [name for name, count in evolution.candidates_per_label().items() for _ in range(count)]
        slots = [self._random_slot(f"g{number:02d}-{i:06d}", name) for i, name in enumerate(labels)]
        return self._write(slots, generation=number, taken=(), first=True)

    def variation_api(self, generation: int, selected: Sequence[Selected]) -> Iterator[Candidate]:
        """VARIATION_API: the population of `generation`: survivors, if they are kept, then children, up to the quota.

        Raises:
            NothingMade: as `random_api`, in the first generation of a run that continues another one.
        """
        kept, children = survivors_and_children(self._config.evolution, generation, selected)
        yield from kept
        slots = [self._variation_slot(child.id, child.parent) for child in children]
        yield from self._write(slots, generation, kept, first=generation == self._config.generation_numbers.start)

    def learn(self, candidates: Candidates, histogram: NoisyHistogram, themes: Sequence[Theme] = ()) -> None:
        """Take the texts with the most and the fewest noised votes, for prompts with `variation.contrast`, and those of
        each theme, to ask for more of its kind."""
        texts_of = {candidate.id: candidate.text for candidate in candidates}
        self._kin = {}
        for theme in themes:
            kin = tuple(dict.fromkeys(texts_of[member] for member in theme.members))[: prompt_api.MOST_KIN]
            self._kin |= dict.fromkeys(theme.members, kin)
        wanted = self._config.evolution.variation.contrast
        counts = dict(zip(histogram.candidate_ids, histogram.counts_K.tolist(), strict=True))
        for label in self._config.evolution.label_names if wanted else ():
            ranked = sorted((c for c in candidates if c.label == label), key=lambda c: (-counts[c.id], c.id))
            texts = list(dict.fromkeys(candidate.text for candidate in ranked))
            # If there are few texts, none is both winner and loser.
            num = min(wanted, len(texts) // 2)
            self._contrast[label] = prompt_api.Contrast(tuple(texts[:num]), tuple(texts[len(texts) - num :]))

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
        self._fallbacks.add(str(generation), count.asked, count.fallbacks)

    def _count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> FallbackCount:
        """Recognise fallbacks by their text: the parent's, or the bare attribute values, which writers hardly write."""
        texts = {item.candidate.id: item.candidate.text for item in parents}
        own = [candidate for candidate in candidates if candidate.generation == generation]
        fallbacks = sum(
            candidate.text
            == (
                self._random_slot(candidate.id, candidate.label).fallback
                if candidate.parent_id is None
                else texts.get(candidate.parent_id)
            )
            for candidate in own
        )
        return FallbackCount(len(own), fallbacks)

    def varied(self, parents: Sequence[Candidate]) -> list[Candidate]:
        """One new variation of each of the voted texts, in their order, to be released instead of them."""
        generation = self._config.generation_numbers.stop
        slots = [self._variation_slot(f"g{generation:02d}-{i:06d}", parent) for i, parent in enumerate(parents)]
        varied = sorted(self._write(slots, generation, taken=parents), key=lambda candidate: candidate.id)
        same = sum(child.text == parent.text for child, parent in zip(varied, parents, strict=True))
        self._fallbacks.add(RELEASE, len(varied), same)
        return varied

    def variations(self, candidates: Iterable[Candidate], count: int) -> Iterator[Candidate]:
        """`count` throw-away variations of each candidate, for lookahead; `parent_id` names the candidate."""
        slots = (
            self._variation_slot(f"{candidate.id}+{i:02d}", candidate) for candidate in candidates for i in range(count)
        )
        return self._write(slots, generation=0, taken=())

    def _write(
        self, slots: Iterable[_Slot], generation: int, taken: Sequence[Candidate], first: bool = False
    ) -> Iterator[Candidate]:
        """Yield candidates as they are written; in the `first` generation, not nearly all may be fallbacks."""
        seen = {normal_form(candidate.text) for candidate in taken}
        limits = self._config.prompts
        accepted, self._problems = 0, WriterProblems()
        for attempt in range(limits.attempts):
            asked: list[_Slot] = []
            failed: list[_Slot] = []
            for i, completions in enumerate(self._engines.write(self._requests(slots, attempt, asked))):
                slot = asked[i]
                text = self._first_usable(completions, slot, seen)
                if text is None:
                    failed.append(slot)
                    continue
                seen.add(normal_form(text))
                accepted += 1
                self.outcomes["accepted" if attempt == 0 else "accepted when asked again"] += 1
                yield self._candidate(slot, text, generation)
            slots = failed
            if not slots:
                break
        fallbacks = list(slots)
        for problem, times in self._problems.counts():
            log.warning("writer, generation %d: %d time(s): %s", generation, times, problem)
        if first:
            check_not_mostly_fallbacks(FallbackCount(accepted + len(fallbacks), len(fallbacks)), self._problems.most())
        for slot in fallbacks:
            self.outcomes["fallback"] += 1
            yield self._candidate(slot, slot.fallback, generation)

    def _first_usable(self, answer: Completions | None, slot: _Slot, seen: set[str]) -> str | None:
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
            text = clean(completion, limits.min_words, limits.max_words, limits.sentences, self._scripts)
            if text is None:
                # If the answer has a problem, that already explains its empty texts.
                if raw.strip() or not (answer and answer.problem):
                    self._problems.unusable(raw)
            elif why := self._unwanted(normal_form(text), slot, seen):
                self._problems.dropped(why)
            else:
                return text
        return None

    def _unwanted(self, form: str, slot: _Slot, seen: set[str]) -> str:
        """Why a text, given in its normal form, is not wanted; "" if it is."""
        if slot.parent is not None and form == normal_form(slot.parent.text):
            return UNVARIED
        if form in seen:
            return SAME
        return EXCLUDED if any(word in f" {form} " for word in self._excluded) else ""

    def _requests(self, slots: Iterable[_Slot], attempt: int, asked: list[_Slot]) -> Iterator[WriteRequest]:
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
                max_tokens=prompt_api.max_tokens(num_words, self._config.prompts.max_tokens, self._tokens_per_word),
                # Unusable texts are copies more often than nonsense, so each attempt is more random.
                temperature=variation.temperature + _STEP_PER_ATTEMPT * attempt,
                top_p=variation.top_p,
            )

    def _random_slot(self, slot_id: str, label: str) -> _Slot:
        limits, label_config = self._config.prompts, self._labels.get(label)
        # The attributes belong to the slot, not to the attempt: asking again must not favour easy subjects.
        values = prompt_api.draw_attributes(
            limits, label_config, random.Random(derive_seed(self._config.runtime.seed, slot_id, "attributes"))
        )

        def prompt(rng: random.Random, _attempt: int) -> tuple[str, int]:
            words = prompt_api.target_length(limits, None, rng)
            return prompt_api.random_prompt(limits, values, words), words

        return _Slot(slot_id, label, "random", None, prompt, " ".join(values.values()) or limits.domain)

    def _variation_slot(self, slot_id: str, parent: Candidate) -> _Slot:
        limits, variation = self._config.prompts, self._config.evolution.variation
        coin = random.Random(derive_seed(self._config.runtime.seed, slot_id, "operator"))
        operator: Operator = "rephrase" if coin.random() < variation.rephrase_share else "fill"

        def prompt(rng: random.Random, attempt: int) -> tuple[str, int]:
            words = prompt_api.target_length(limits, len(parent.text.split()), rng)
            if operator == "rephrase" and (kin := self._kin.get(parent.id)):
                return prompt_api.kin_prompt(limits, parent.text, kin, words, rng), words
            if operator == "rephrase":
                return prompt_api.rephrase_prompt(limits, parent.text, words, self._contrast.get(parent.label)), words
            blanks = prompt_api.mask(
                parent.text, min(_MAX_MASKED_SHARE, variation.mask_share + _STEP_PER_ATTEMPT * attempt), rng
            )
            return prompt_api.fill_prompt(limits, blanks, words, self._contrast.get(parent.label)), words

        return _Slot(slot_id, parent.label, operator, parent, prompt, parent.text)

    @staticmethod
    def _candidate(slot: _Slot, text: str, generation: int) -> Candidate:
        parent_id = slot.parent.id if slot.parent else None
        return Candidate(slot.id, text, slot.label, generation, parent_id, slot.operator)
