"""Drafts the prompts of a new configuration from one line about the domain and a list of labels: public text only.

A language model is shown lists and descriptions of other domains, and asked for those of this one. An answer is kept
only if it passes the checks of `draft_checks`. What is missing is made from a few general templates, and the draft says
which. Nothing here can read data.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spti_ray.public.cleaning import clean
from spti_ray.public.draft_checks import (
    Similarity,
    content_words,
    distinct,
    is_copy,
    is_readable,
    names_domain,
    on_domain,
)
from spti_ray.public.drafting_examples import (
    EXAMPLE_CHANGES,
    EXAMPLE_TEXTS,
    LABEL_TEMPLATES,
    TEMPLATES,
    TEXT_TEMPLATES,
)
from spti_ray.public.drafting_lists import draft_label_lists, draft_lists
from spti_ray.public.drafting_requests import MAX_WORDS, MIN_WORDS, Asked, Write, request
from spti_ray.public.prompts import mask
from spti_ray.public.words import normal_form, scripts_of
from spti_ray.step_progress import Told, untold
from spti_ray.types import derive_seed

NUM_EXAMPLES = 8
_MASKED_SHARE = 0.4


@dataclass(frozen=True)
class Draft:
    """The drafted parts of a `prompts:` section.

    `templates` names the lists that no model wrote (of a label: "LABEL: kind"), and "examples", "some examples" and
    the like for descriptions; `template_examples` and `template_changes` are the places of these.
    """

    attributes: dict[str, tuple[str, ...]]
    label_attributes: dict[str, dict[str, tuple[str, ...]]]
    examples: tuple[str, ...]
    example_attributes: tuple[dict[str, str], ...]
    rephrase_examples: tuple[tuple[str, str], ...]
    fill_examples: tuple[tuple[str, str], ...]
    templates: frozenset[str]
    template_examples: frozenset[int]
    template_changes: frozenset[int]


def draft_prompts(
    domain: str,
    labels: Sequence[str],
    write: Write | None,
    similarity: Similarity | None = None,
    seed: int = 0,
    told: Told = untold,
) -> Draft:
    """Draft prompts for a domain.

    Args:
        domain: What the images are of, in one line.
        labels: The labels, which become the subjects of examples and have lists of their own; may be empty.
        write: The language model; without it, everything comes from templates.
        similarity: Without it, nobody checks what values and descriptions are about.
        seed: Seed of requests and choices.
        told: Is told how far it is.
    """
    asked = Asked(domain, tuple(labels), write, similarity, seed, told) if write else None
    names = [name for name in TEMPLATES if not (labels and name in ("subject", "detail"))]
    drafted = draft_lists(asked, names) if asked else {}
    of_labels = draft_label_lists(asked) if asked else {}
    attributes = {name: drafted.get(name, TEMPLATES[name]) for name in names}
    label_attributes = {
        label: {name: of_labels.get((label, name), values) for name, values in LABEL_TEMPLATES.items()}
        for label in labels
    }
    templates = {name for name in names if name not in drafted}
    templates |= {
        f"{label}: {name}"
        for label, lists in label_attributes.items()
        for name in lists
        if (label, name) not in of_labels
    }

    rng = random.Random(derive_seed(seed, "examples"))
    values = _assign_values(attributes, label_attributes, rng)
    written = _draft_texts(asked, values) if asked else [None] * len(values)
    examples: list[str] = []
    for i, (text, drawn) in enumerate(zip(written, values, strict=True)):
        composed = [compose_text(domain, drawn, i + turn) for turn in range(len(TEXT_TEMPLATES))]
        examples.append(text or next((new for new in composed if new not in examples), composed[0]))
    templates |= _lacking("examples", written)

    # An example with a value that its text does not name would teach the model to ignore values.
    shown = [
        {
            name: value
            for name, value in drawn.items()
            if name == "subject" or content_words(value) & content_words(text)
        }
        for text, drawn in zip(examples, values, strict=True)
    ]
    changed = _draft_changes(asked, examples, values) if asked else [None] * len(examples)
    every = [label_attributes.get(drawn.get("subject", ""), {}) | attributes for drawn in values]
    rephrased = [
        (text, new or swap_value(text, drawn, lists, rng) or examples[i - 1])
        for i, (text, new, drawn, lists) in enumerate(zip(examples, changed, values, every, strict=True))
    ]
    templates |= _lacking("rephrase_examples", changed)
    return Draft(
        attributes=attributes,
        label_attributes=label_attributes,
        examples=tuple(examples),
        example_attributes=tuple(shown),
        rephrase_examples=tuple(rephrased),
        fill_examples=tuple((mask(text, _MASKED_SHARE, rng), text) for text in examples),
        templates=frozenset(templates),
        template_examples=frozenset(i for i, text in enumerate(written) if text is None),
        template_changes=frozenset(i for i, text in enumerate(changed) if text is None),
    )


def compose_text(domain: str, values: Mapping[str, str], number: int) -> str:
    """A description from one of the templates, in turn, of the values that it has."""
    kind = values.get("kind", "")
    of = {**values, "subject": values["subject"] if kind in ("", *LABEL_TEMPLATES["kind"]) else kind}
    words = TEXT_TEMPLATES[number % len(TEXT_TEMPLATES)].format(domain=domain, **of).split()
    return " ".join(words[:MAX_WORDS]).rstrip(",")


def swap_value(
    text: str, values: Mapping[str, str], attributes: Mapping[str, Sequence[str]], rng: random.Random
) -> str | None:
    """The text with one of its values replaced by another of the same list; None if no value is in it literally."""
    for name in rng.sample(sorted(values), len(values)):
        others = [value for value in attributes.get(name, ()) if value != values[name]]
        found = re.search(rf"\b{re.escape(values[name])}\b", text)
        if others and found:
            return f"{text[: found.start()]}{rng.choice(others)}{text[found.end() :]}"
    return None


def _lacking(what: str, written: Sequence[str | None]) -> set[str]:
    """The name under which the draft says that some, or all, of these are templates."""
    return set() if all(written) else {f"some {what}" if any(written) else what}


def _assign_values(
    attributes: Mapping[str, Sequence[str]],
    label_attributes: Mapping[str, Mapping[str, Sequence[str]]],
    rng: random.Random,
) -> list[dict[str, str]]:
    """Values for each example: labels in turn, and from each list as many different values as possible."""
    orders = {name: rng.sample(list(values), len(values)) for name, values in attributes.items()}
    # In each round, each list is shifted by a step of its own. Else two lists of one length would repeat their pairs.
    rows = [
        {name: order[(i + i // len(order) * step) % len(order)] for step, (name, order) in enumerate(orders.items())}
        for i in range(NUM_EXAMPLES)
    ]
    labels = list(label_attributes)
    if not labels:
        return rows
    assigned: list[dict[str, str]] = []
    for i, row in enumerate(rows):
        label, turn = labels[i % len(labels)], i // len(labels)
        own = {name: values[turn % len(values)] for name, values in label_attributes[label].items()}
        assigned.append({"subject": label} | own | row)
    return assigned


def _draft_texts(asked: Asked, values: Sequence[Mapping[str, str]]) -> list[str | None]:
    """A description with each row of values, or None where no answer passes all checks."""
    head = ["Short descriptions of images.", ""]
    head += [_line(shown, drawn, text) for shown, drawn, text in EXAMPLE_TEXTS]
    requests = [
        request([*head, _line(asked.domain, drawn, None)], derive_seed(asked.seed, "text", i))
        for i, drawn in enumerate(values)
    ]
    texts: list[str | None] = []
    for drawn, answers in zip(values, asked.answers("examples", requests), strict=True):
        usable = (_clean_answer(answer, asked.domain) for answer in answers)
        good = [text for text in usable if text and is_readable(text) and not is_copy(text)]
        scored = sorted(((_num_values_named(text, asked.domain, drawn), text) for text in good), reverse=True)
        good = [text for score, text in scored if score >= 2]
        best = _best(asked, good, ", ".join((asked.domain, *drawn.values())), drawn)
        taken = [text for text in texts if text]
        texts.append(next((text for text in best if distinct([*taken, text], asked.similarity)[-1]), None))
    return texts


def _best(asked: Asked, texts: Sequence[str], wanted: str, values: Mapping[str, str]) -> list[str]:
    """The texts that are about the domain and the label of these values, the most similar to what is wanted first."""
    if not asked.similarity or not texts:
        return list(texts)
    label = values.get("subject", "") if asked.labels else ""
    others = [f"{asked.domain}, {other}" for other in asked.labels if label and other != label]
    about = on_domain(texts, ", ".join(filter(None, (asked.domain, label))), asked.similarity, others)
    texts = [text for text, score in zip(texts, about, strict=True) if score is not None]
    likeness = asked.similarity(texts, [wanted]) if texts else []
    return [
        text for _, text in sorted(((row[0], text) for row, text in zip(likeness, texts, strict=True)), reverse=True)
    ]


def _clean_answer(answer: str, domain: str) -> str | None:
    text = clean(re.sub(r"\ba (?=[aeio])", "an ", answer), MIN_WORDS, MAX_WORDS, scripts=scripts_of([domain]))
    # "a histology slides of": the domain is mostly a plural, and is taken up as it is.
    return re.sub(rf"^an? (?={re.escape(' '.join(domain.split()[:2]))})", "", text, flags=re.I) if text else None


def _line(domain: str, values: Mapping[str, str], text: str | None) -> str:
    shown = "".join(f" {name.capitalize()}: {value}." for name, value in values.items())
    return f"Images: {domain}.{shown} Text:" + (f" {text}" if text else "")


def _num_values_named(text: str, domain: str, values: Mapping[str, str]) -> int:
    """How many of the values a text names; 0 if it does not name the domain and the subject, or which kind of it."""
    words = content_words(text)
    subject = content_words(f"{values.get('subject', '')} {values.get('kind', '')}") or content_words(domain)
    if not names_domain(text, domain) or not words & subject:
        return 0
    return sum(bool(words & content_words(value)) for value in values.values())


def _draft_changes(asked: Asked, examples: Sequence[str], values: Sequence[Mapping[str, str]]) -> list[str | None]:
    """A variation of each example with the same subject (which may be its label), or None."""
    head = ["Change each description of an image a little.", ""]
    for text, new in EXAMPLE_CHANGES:
        head += [f"Text: {text}", f"New: {new}", ""]
    requests = [
        request([*head, f"Text: {text}", "New:"], derive_seed(asked.seed, "change", i))
        for i, text in enumerate(examples)
    ]
    changes: list[str | None] = []
    for text, drawn, answers in zip(examples, values, asked.answers("variations", requests), strict=True):
        usable = (_clean_answer(answer, asked.domain) for answer in answers)
        about = {name: drawn[name] for name in ("subject", "kind") if name in drawn}
        good = [
            new
            for new in usable
            if new
            and normal_form(new) != normal_form(text)
            and is_readable(new)
            and not is_copy(new)
            and _num_values_named(new, asked.domain, about)
            and len(content_words(new) ^ content_words(text)) >= 2
        ]
        good = _best(asked, good, text, drawn)
        changes.append(good[0] if good else None)
    return changes
