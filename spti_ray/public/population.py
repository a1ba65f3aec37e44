"""RANDOM_API and VARIATION_API: the population of candidate texts, streamed as the writer finishes them.

Every text has a slot with a fixed id, prompt and seed, so that a resumed or re-tried generation asks for the same
texts in the same order. A text that can't be used is asked for again with another seed; after `prompts.attempts`
the slot falls back to its parent's text (or to its attribute values).
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from spti_ray.config import Config, LabelConfig
from spti_ray.models.answers import spoken
from spti_ray.public import prompts as build
from spti_ray.public.cleaning import clean, normal_form
from spti_ray.public.engines import Engines
from spti_ray.public.fallbacks import EXCLUDED, RELEASE, SAME, UNVARIED, Count, Troubles, Written, must_be_written
from spti_ray.public.offspring import succession
from spti_ray.public.words import scripts_of, shown_to_the_writer, tokens_per_word
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

_BOLDER = 0.15
"""Added to temperature and share of masked words each time that a text is asked for again."""
_MOST_MASKED = 0.8


@dataclass(frozen=True)
class _Slot:
    """One text that is wanted. `prompt` draws a fresh prompt (and its target length in words) for an attempt."""

    id: str
    label: str
    operator: Operator
    parent: Candidate | None
    prompt: Callable[[random.Random, int], tuple[str, int]]
    fallback: str


class Population:
    """Makes candidates from public prompts and from selected candidates; sees no private value."""

    def __init__(self, config: Config, engines: Engines, written: Written | None = None) -> None:
        """`written` is told how many texts are fallbacks, by generation."""
        self._config = config
        self._engines = engines
        self._written = Written() if written is None else written
        self._troubles = Troubles()
        self._excluded = tuple(f" {normal_form(word)} " for word in config.prompts.exclude_words if normal_form(word))
        self._labels: dict[str, LabelConfig] = {label.name: label for label in config.evolution.labels}
        shown = [text for _, text in shown_to_the_writer(config)]
        self._scripts = scripts_of(shown)
        self._tokens_per_word = tokens_per_word((config.prompts.domain, *config.prompts.examples))
        self._contrast: dict[str, build.Contrast] = {}
        self.outcomes: Counter[str] = Counter()
        """How slots ended: accepted, asked again, fallback. Public; goes to the log and internal/timings.json."""

    def random_api(self) -> Iterator[Candidate]:
        """RANDOM_API: generation 0, `evolution.candidates` texts split over the labels by quota.

        Raises, when the writer was asked for all of them: NothingMade, if nine tenths of them are fallbacks.
        """
        evolution = self._config.evolution
        labels = [name for name, count in evolution.quota(evolution.candidates).items() for _ in range(count)]
        slots = [self._random_slot(f"g00-{i:06d}", name) for i, name in enumerate(labels)]
        return self._write(slots, generation=0, taken=(), first=True)

    def variation_api(self, generation: int, selected: Sequence[Selected]) -> Iterator[Candidate]:
        """VARIATION_API: the population of `generation`: survivors, if kept, then their children, up to the quota.

        Raises as `random_api`, in the first generation of a run that goes on from another one.
        """
        kept, children = succession(self._config.evolution, generation, selected)
        yield from kept
        slots = [self._variation_slot(child.id, child.parent) for child in children]
        yield from self._write(slots, generation, kept, first=generation == self._config.generation_numbers.start)

    def learn(self, candidates: Candidates, histogram: NoisyHistogram) -> None:
        """Take the last generation's winners and losers from its noised histogram, for prompts that show them."""
        wanted = self._config.evolution.variation.contrast
        counts = dict(zip(histogram.candidate_ids, histogram.counts_K.tolist(), strict=True))
        for label in self._config.evolution.label_names if wanted else ():
            ranked = sorted((c for c in candidates if c.label == label), key=lambda c: (-counts[c.id], c.id))
            texts = list(dict.fromkeys(candidate.text for candidate in ranked))
            # Of few texts none is both.
            num = min(wanted, len(texts) // 2)
            self._contrast[label] = build.Contrast(tuple(texts[:num]), tuple(texts[len(texts) - num :]))

    def check(self, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """What `random_api` and `variation_api` raise, of the first generation as it lies on disk."""
        must_be_written(self._count(self._config.generation_numbers.start, candidates, parents), self._troubles.most())

    def count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> None:
        """Tell `written` how many of a generation's own texts are fallbacks, whichever attempt at the run made them.

        `parents`: the survivors that the generation was made of.
        """
        count = self._count(generation, candidates, parents)
        self._written.add(str(generation), count.asked, count.fallbacks)

    def _count(self, generation: int, candidates: Iterable[Candidate], parents: Sequence[Selected]) -> Count:
        """Told by the texts: none that the writer wrote is its parent's, and hardly one its bare attribute values."""
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
        return Count(len(own), fallbacks)

    def varied(self, parents: Sequence[Candidate]) -> list[Candidate]:
        """One fresh variation of each of the voted texts, in their order, to be released instead of them."""
        generation = self._config.generation_numbers.stop
        slots = [self._variation_slot(f"g{generation:02d}-{i:06d}", parent) for i, parent in enumerate(parents)]
        varied = sorted(self._write(slots, generation, taken=parents), key=lambda candidate: candidate.id)
        same = sum(child.text == parent.text for child, parent in zip(varied, parents, strict=True))
        self._written.add(RELEASE, len(varied), same)
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
        """Candidates as they are written. Those of the `first` generation must not all be fallbacks."""
        seen = {normal_form(candidate.text) for candidate in taken}
        limits = self._config.prompts
        accepted, self._troubles = 0, Troubles()
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
        for problem, times in self._troubles.counts():
            log.warning("writer, generation %d: %d time(s): %s", generation, times, problem)
        if first:
            must_be_written(Count(accepted + len(fallbacks), len(fallbacks)), self._troubles.most())
        for slot in fallbacks:
            self.outcomes["fallback"] += 1
            yield self._candidate(slot, slot.fallback, generation)

    def _first_usable(self, answer: Completions | None, slot: _Slot, seen: set[str]) -> str | None:
        limits = self._config.prompts
        if answer is None or answer.problem:
            self._troubles.failed(answer.problem if answer else "a unit of its requests failed")
        elif not answer.texts:
            self._troubles.unusable("")
        texts = answer.texts if answer else ()
        cuts = answer.cut if answer and answer.cut else (False,) * len(texts)
        for raw, cut in zip(texts, cuts, strict=False):
            # What the limit of tokens cut off within what would be used is no text.
            completion = spoken(raw, cut=cut)
            text = clean(completion, limits.min_words, limits.max_words, limits.sentences, self._scripts)
            if text is None:
                # Of an answer with a problem what is empty is told by that.
                if raw.strip() or not (answer and answer.problem):
                    self._troubles.unusable(raw)
            elif why := self._unwanted(normal_form(text), slot, seen):
                self._troubles.dropped(why)
            else:
                return text
        return None

    def _unwanted(self, form: str, slot: _Slot, seen: set[str]) -> str:
        """Why a text, given by its normal form, is not taken; "" if it is."""
        if slot.parent is not None and form == normal_form(slot.parent.text):
            return UNVARIED
        if form in seen:
            return SAME
        return EXCLUDED if any(word in f" {form} " for word in self._excluded) else ""

    def _requests(self, slots: Iterable[_Slot], attempt: int, asked: list[_Slot]) -> Iterator[WriteRequest]:
        """One request per slot; `asked` records them in the order in which they were handed out."""
        variation = self._config.evolution.variation
        for slot in slots:
            seed = derive_seed(self._config.runtime.seed, slot.id, attempt)
            prompt, num_words = slot.prompt(random.Random(seed), attempt)
            asked.append(slot)
            yield WriteRequest(
                prompt=prompt,
                n=1,
                seed=seed,
                max_tokens=build.max_tokens(num_words, self._config.prompts.max_tokens, self._tokens_per_word),
                # What could not be used was a copy more often than nonsense: be bolder each time.
                temperature=variation.temperature + _BOLDER * attempt,
                top_p=variation.top_p,
            )

    def _random_slot(self, slot_id: str, label: str) -> _Slot:
        limits, label_config = self._config.prompts, self._labels.get(label)
        # The attributes belong to the slot and not to the attempt: asking again must not favour easy subjects.
        values = build.draw_attributes(
            limits, label_config, random.Random(derive_seed(self._config.runtime.seed, slot_id, "attributes"))
        )

        def prompt(rng: random.Random, _attempt: int) -> tuple[str, int]:
            words = build.target_length(limits, None, rng)
            return build.random_prompt(limits, values, words), words

        return _Slot(slot_id, label, "random", None, prompt, " ".join(values.values()) or limits.domain)

    def _variation_slot(self, slot_id: str, parent: Candidate) -> _Slot:
        limits, variation = self._config.prompts, self._config.evolution.variation
        coin = random.Random(derive_seed(self._config.runtime.seed, slot_id, "operator"))
        operator: Operator = "rephrase" if coin.random() < variation.rephrase_share else "fill"

        def prompt(rng: random.Random, attempt: int) -> tuple[str, int]:
            words = build.target_length(limits, len(parent.text.split()), rng)
            if operator == "rephrase":
                return build.rephrase_prompt(limits, parent.text, words, self._contrast.get(parent.label)), words
            blanks = build.mask(parent.text, min(_MOST_MASKED, variation.mask_share + _BOLDER * attempt), rng)
            return build.fill_prompt(limits, blanks, words, self._contrast.get(parent.label)), words

        return _Slot(slot_id, parent.label, operator, parent, prompt, parent.text)

    @staticmethod
    def _candidate(slot: _Slot, text: str, generation: int) -> Candidate:
        parent_id = slot.parent.id if slot.parent else None
        return Candidate(slot.id, text, slot.label, generation, parent_id, slot.operator)
