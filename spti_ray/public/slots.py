"""What each text of a population is asked with: one slot a text, with a fixed id, and a prompt for each attempt.

Source of the prompts: Aug-PE (arXiv 2403.01749). What the last votes said goes into them: the texts that won and lost
(`variation.contrast`), and those of the parent's kind. All of it is public.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from spti_ray.config import Config
from spti_ray.public import prompts as prompt_api
from spti_ray.public.themes import Theme
from spti_ray.types import SINGLE_LABEL, Candidate, Candidates, NoisyHistogram, Operator, derive_seed

STEP_PER_ATTEMPT = 0.15
"""Added to the temperature, and to the share of masked words, each time that a text is asked for again."""
_MAX_MASKED_SHARE = 0.8


@dataclass(frozen=True)
class Slot:
    """One text that is wanted. `prompt` makes the prompt of an attempt and its target length in words."""

    id: str
    label: str
    operator: Operator
    parent: Candidate | None
    prompt: Callable[[random.Random, int], tuple[str, int]]
    fallback: str
    reworded: bool = False
    """Whether each attempt has other words: texts drawn anew from a theme that has more than a prompt shows."""


class Slots:
    """Makes the slots of new texts and of variations."""

    def __init__(self, config: Config) -> None:
        self._prompts = config.prompts
        self._evolution = config.evolution
        self._seed = config.runtime.seed
        self._labels = {label.name: label for label in config.evolution.labels}
        self.label_hints = {name: label.text for name, label in self._labels.items()}
        """What each label is called in prompts."""
        self._contrast: dict[str, prompt_api.Contrast] = {}
        self._kin: dict[str, tuple[str, ...]] = {}

    def learn(
        self,
        candidates: Candidates,
        histogram: NoisyHistogram,
        kin: Sequence[Theme],
        texts_of: Mapping[str, str],
    ) -> None:
        """Take the texts with the most and the fewest noised votes, and those of each kind.

        Args:
            candidates: The candidates of the last generation.
            histogram: A noised count for each of them.
            kin: Groups of similar ones; a candidate without one is told to the writer alone.
            texts_of: Their texts, by id.
        """
        self._kin = {}
        for group in kin:
            texts = tuple(dict.fromkeys(texts_of[member] for member in group.members))
            self._kin |= dict.fromkeys(group.members, texts)
        wanted = self._evolution.variation.contrast
        counts = dict(zip(histogram.candidate_ids, histogram.counts_K.tolist(), strict=True))
        for label in self._evolution.label_names if wanted else ():
            ranked = sorted((c for c in candidates if c.label == label), key=lambda c: (-counts[c.id], c.id))
            texts = list(dict.fromkeys(candidate.text for candidate in ranked))
            # If there are few texts, none is both winner and loser.
            num = min(wanted, len(texts) // 2)
            self._contrast[label] = prompt_api.Contrast(tuple(texts[:num]), tuple(texts[len(texts) - num :]))

    def all_new(self) -> list[Slot]:
        """The slots of RANDOM_API: `evolution.candidates` of them, split over the labels by quota."""
        labels = [name for name, count in self._evolution.candidates_per_label().items() for _ in range(count)]
        number = self._evolution.first_with_candidates
        return [self.new(f"g{number:02d}-{i:06d}", name) for i, name in enumerate(labels)]

    def new(self, slot_id: str, label: str) -> Slot:
        """The slot of a text of generation 0."""
        limits = self._prompts
        values = self.values(slot_id, label)

        def prompt(rng: random.Random, _attempt: int) -> tuple[str, int]:
            words = prompt_api.target_length(limits, None, rng)
            return prompt_api.random_prompt(limits, values, words), words

        return Slot(slot_id, label, "random", None, prompt, " ".join(values.values()) or limits.domain)

    def values(self, slot_id: str, label: str) -> dict[str, str]:
        """The attribute values that a text of generation 0 is asked for with.

        They belong to the slot, not to the attempt: asking again must not favour easy subjects.
        """
        rng = random.Random(derive_seed(self._seed, slot_id, "attributes"))
        values = prompt_api.draw_attributes(self._prompts, self._labels.get(label), rng)
        if (name := self._evolution.vocabulary) is not None:
            # Dealt out in turn, in an order of the run's own: what no candidate stands for nobody can vote for.
            dealt = list(self._prompts.attributes[name])
            random.Random(derive_seed(self._seed, name, "vocabulary")).shuffle(dealt)
            values[name] = dealt[int(slot_id.rpartition("-")[2]) % len(dealt)]
        return values

    def variation(self, slot_id: str, parent: Candidate) -> Slot:
        """The slot of a variation of `parent`."""
        limits = self._prompts
        variation = self._evolution.variation
        coin = random.Random(derive_seed(self._seed, slot_id, "operator"))
        operator: Operator = "rephrase" if coin.random() < variation.rephrase_share else "fill"
        kin = self._kin.get(parent.id, ()) if operator == "rephrase" else ()
        kin = kin if len(kin) > 1 else ()  # one text says nothing of its kind

        def prompt(rng: random.Random, attempt: int) -> tuple[str, int]:
            words = prompt_api.target_length(limits, len(parent.text.split()), rng)
            if kin:
                return prompt_api.kin_prompt(
                    limits, parent.text, kin, words, rng, self.shown_label(parent.label)
                ), words
            return self.prompt_of(operator, parent, words, rng, attempt), words

        return Slot(slot_id, parent.label, operator, parent, prompt, parent.text, len(kin) > prompt_api.MOST_KIN)

    def prompt_of(self, operator: Operator, parent: Candidate, words: int, rng: random.Random, attempt: int) -> str:
        """The prompt for a variation by rephrasing or by filling blanks, of which later attempts have more."""
        contrast, subject = self._contrast.get(parent.label), self.shown_label(parent.label)
        if operator == "rephrase":
            return prompt_api.rephrase_prompt(self._prompts, parent.text, words, contrast, subject)
        share = min(_MAX_MASKED_SHARE, self._evolution.variation.mask_share + STEP_PER_ATTEMPT * attempt)
        blanks = prompt_api.mask(parent.text, share, rng)
        return prompt_api.fill_prompt(self._prompts, blanks, words, contrast, subject)

    def shown_label(self, label: str) -> str:
        """The label as prompts for variations name it; "" if they do not."""
        return self.label_hints.get(label, "") if self._prompts.hold_subject else ""


def vocabulary_of(config: Config, generation: int) -> Callable[[Candidate], str] | None:
    """Tells the value of `evolution.vocabulary` that a candidate was asked for with; None where themes are clusters."""
    name = config.evolution.vocabulary
    if name is None or generation != config.evolution.first_with_candidates:
        return None
    slots = Slots(config)
    return lambda candidate: slots.values(candidate.id, candidate.label)[name]


def preview(config: Config) -> list[tuple[str, str]]:
    """The prompts that a run with these settings has, one of each kind and label, each with what it is.

    Those for new texts are the first of the run, word for word. Those for variations have examples in place of texts
    that are not written yet; of each label there is one if they name it.
    """
    slots, evolution, seed = Slots(config), config.evolution, config.runtime.seed
    first: dict[str, Slot] = {}
    for slot in slots.all_new():
        first.setdefault(slot.label, slot)
    shown = [
        (_headed("new text", slot.label), slot.prompt(random.Random(derive_seed(seed, slot.id, 0)), 0)[0])
        for slot in first.values()
    ]
    for label in evolution.label_names if config.prompts.hold_subject else evolution.label_names[:1]:
        named = label if config.prompts.hold_subject else ""
        shown += [(_headed(kind, named), prompt) for kind, prompt in _variations(config, slots, label)]
    return shown


def _headed(kind: str, label: str) -> str:
    return kind if label in ("", SINGLE_LABEL) else f"{kind}, label {label}"


def _variations(config: Config, slots: Slots, label: str) -> Iterator[tuple[str, str]]:
    """Each kind of prompt for a variation of a text of a label."""
    evolution, limits = config.evolution, config.prompts
    texts = _examples_of(config, label) or limits.examples or (limits.domain,)
    parent = Candidate("g00-000000", texts[0], label, 0)
    share, rng = evolution.variation.rephrase_share, random.Random(0)
    if evolution.themes and share:
        yield (
            "one more of a kind",
            prompt_api.kin_prompt(limits, parent.text, texts, 5, rng, slots.shown_label(label)),
        )
    operators: list[Operator] = []
    if share and not evolution.themes:
        operators.append("rephrase")
    if share < 1:
        operators.append("fill")
    names = {"rephrase": "rephrase", "fill": "fill in the blanks"}
    for operator in operators:
        yield names[operator], slots.prompt_of(operator, parent, 5, rng, 0)


def _examples_of(config: Config, label: str) -> tuple[str, ...]:
    """The examples whose subject is the label."""
    hint = next((known.text for known in config.evolution.labels if known.name == label), "")
    pairs = zip(config.prompts.examples, config.prompts.example_attributes, strict=False)
    return tuple(text for text, values in pairs if hint and values.get("subject") == hint)
