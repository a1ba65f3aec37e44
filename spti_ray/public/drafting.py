"""Drafts the prompts of a new configuration from one line about the domain and a list of labels: public text only.

A language model is shown lists and descriptions of other domains, and asked for those of this one. Small models copy,
repeat themselves and change the subject. So an answer is kept only if it passes the checks here, some of which use a
text embedder. What is missing is made from templates, and the draft says so. Nothing here can read data.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import regex

from spti_ray.public.cleaning import clean
from spti_ray.public.drafting_examples import EXAMPLE_CHANGES, EXAMPLE_LISTS, EXAMPLE_TEXTS, TEMPLATES
from spti_ray.public.prompts import mask, max_tokens
from spti_ray.public.words import normal_form, scripts_of
from spti_ray.types import Completions, WriteRequest, derive_seed

Write = Callable[[Sequence[WriteRequest]], Sequence[Completions]]
"""Completes every request, in order: a writer engine's `write`."""

Similarity = Callable[[Sequence[str], Sequence[str]], Sequence[Sequence[float]]]
"""From N and M texts to their [N, M] similarities: cosines of a text embedder."""

NUM_EXAMPLES = 8
MIN_WORDS, MAX_WORDS = 3, 20
_ANSWERS_PER_REQUEST = 12
_LIST_TOKENS = 60
_MIN_VALUES, _MAX_VALUES = 4, 10
_GENERIC = ("color", "view")
"""Lists whose values are the same in most domains: values of the examples are kept, and similarity is not asked for."""
_MIN_SIMILARITY = 0.2
_MASKED_SHARE = 0.4

_SMALL_WORDS = frozenset(
    "a an the of with and or in on at to for from by its their is are image images photo photos".split()
)
_VALUE = regex.compile(r"\p{L}[\p{L}\p{M}\u200c\u200d' -]*[\p{L}\p{M}]")


@dataclass(frozen=True)
class Draft:
    """The drafted parts of a `prompts:` section. `templates` names those that no model wrote."""

    attributes: dict[str, tuple[str, ...]]
    examples: tuple[str, ...]
    example_attributes: tuple[dict[str, str], ...]
    rephrase_examples: tuple[tuple[str, str], ...]
    fill_examples: tuple[tuple[str, str], ...]
    templates: frozenset[str]


def draft_prompts(
    domain: str, labels: Sequence[str], write: Write | None, similarity: Similarity | None = None, seed: int = 0
) -> Draft:
    """Draft prompts for a domain.

    Args:
        domain: What the images are of, in one line.
        labels: The labels, which become the subjects of examples; may be empty.
        write: The language model; without it, everything comes from templates.
        similarity: With it, values must be more similar to the domain than to the domains of the examples, and of
            several usable descriptions the one that is most similar to the request is taken.
        seed: Seed of requests and choices.
    """
    names = [name for name in TEMPLATES if not (labels and name == "subject")]
    drafted = _draft_lists(domain, labels, names, write, similarity, seed) if write else {}
    attributes = {name: drafted.get(name, TEMPLATES[name]) for name in names}
    templates = {name for name in names if name not in drafted}

    rng = random.Random(derive_seed(seed, "examples"))
    values = _assign_values(attributes, labels, rng)
    written = _draft_texts(domain, values, write, similarity, seed) if write else [None] * len(values)
    examples = [text or compose_text(domain, drawn) for text, drawn in zip(written, values, strict=True)]
    if not all(written):
        templates.add("examples" if not any(written) else "some examples")

    # An example with a value that its text does not name would teach the model to ignore values.
    shown = [
        {
            name: value
            for name, value in drawn.items()
            if name == "subject" or _content_words(value) & _content_words(text)
        }
        for text, drawn in zip(examples, values, strict=True)
    ]
    changed = _draft_changes(domain, examples, values, write, similarity, seed) if write else [None] * len(examples)
    rephrased = [
        (text, new or swap_value(text, drawn, attributes, rng) or examples[i - 1])
        for i, (text, new, drawn) in enumerate(zip(examples, changed, values, strict=True))
    ]
    if not all(changed):
        templates.add("rephrase_examples" if not any(changed) else "some rephrase_examples")
    filled = [(mask(text, _MASKED_SHARE, rng), text) for text in examples]
    return Draft(attributes, tuple(examples), tuple(shown), tuple(rephrased), tuple(filled), frozenset(templates))


def compose_text(domain: str, values: Mapping[str, str]) -> str:
    """A text of the domain and the values, separated by commas, as many prompts of renderers are."""
    words = ", ".join((domain, *values.values())).split()
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


def _assign_values(
    attributes: Mapping[str, Sequence[str]], labels: Sequence[str], rng: random.Random
) -> list[dict[str, str]]:
    """Values for each example: labels in turn, and from each list as many different values as possible."""
    orders = {name: rng.sample(list(values), len(values)) for name, values in attributes.items()}
    # In each round, each list is shifted by a step of its own. Else two lists of one length would repeat their pairs.
    rows = [
        {name: order[(i + i // len(order) * step) % len(order)] for step, (name, order) in enumerate(orders.items())}
        for i in range(NUM_EXAMPLES)
    ]
    return [{"subject": labels[i % len(labels)]} | row for i, row in enumerate(rows)] if labels else rows


def _request(lines: Sequence[str], seed: int, tokens: int = max_tokens(MAX_WORDS)) -> WriteRequest:
    """A request for several answers to a prompt of these lines, each of at most so many tokens."""
    return WriteRequest("\n".join(lines), _ANSWERS_PER_REQUEST, seed, tokens, temperature=0.8, top_p=0.9)


def _draft_lists(
    domain: str, labels: Sequence[str], names: Sequence[str], write: Write, similarity: Similarity | None, seed: int
) -> dict[str, tuple[str, ...]]:
    requests: list[WriteRequest] = []
    for name in names:
        lines = ["Lists of different values, for images of many kinds.", ""]
        lines += [f"Images: {shown}. {name.capitalize()}: {values[name]}" for shown, values in EXAMPLE_LISTS.items()]
        lines.append(f"Images: {domain}. {name.capitalize()}:")
        requests.append(_request(lines, derive_seed(seed, "list", name), _LIST_TOKENS))
    lists: dict[str, tuple[str, ...]] = {}
    for name, completions in zip(names, write(requests), strict=True):
        shown = [values[name] for values in EXAMPLE_LISTS.values()]
        copies = set() if name in _GENERIC else {_key(value) for line in shown for value in line.split(",")}
        said = {_key(label) for label in labels}
        values = usable_values(completions.texts, copies | said)
        values = tuple(value for value in values if not _content_words(value) <= _content_words(domain))
        if similarity and name not in _GENERIC:
            values = _most_similar(values, domain, similarity)
        if len(values) >= _MIN_VALUES:
            lists[name] = values[:_MAX_VALUES]
    return lists


def _most_similar(values: Sequence[str], domain: str, similarity: Similarity) -> tuple[str, ...]:
    """The values that are more similar to the domain than to any domain of the examples, the most similar first."""
    if not values:
        return ()
    scored = [
        (row[0], max(row[1:]), value)
        for row, value in zip(similarity(values, (domain, *EXAMPLE_LISTS)), values, strict=True)
    ]
    fitting = [(own, value) for own, others, value in scored if own > max(others, _MIN_SIMILARITY)]
    return tuple(value for _, value in sorted(fitting, key=lambda item: -item[0]))


def usable_values(answers: Sequence[str], unwanted: set[str]) -> tuple[str, ...]:
    """The values in comma-separated answers, the most frequent first.

    Args:
        answers: Answers of the language model.
        unwanted: Keys of values that are left out (`_key`), such as those of the examples.
    """
    times: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for answer in answers:
        first = next((line for line in answer.splitlines() if line.strip()), "")
        parts = re.split(r"[,;.،؛]|\band\b", first)
        # The last value may be truncated.
        named = {_key(part): part.strip() for part in reversed(parts[:-1] if len(parts) > 2 else parts)}
        for key, value in reversed(named.items()):
            plausible = _VALUE.fullmatch(value) and 1 <= len(key.split()) <= 4 and 3 <= len(key) <= 40
            if plausible and key not in unwanted and len(set(key.split())) == len(key.split()):
                times[key] += 1
                spelled.setdefault(key, re.sub(r"^(?:a|an|the) ", "", value, flags=re.IGNORECASE))
    return tuple(spelled[key] for key, _ in times.most_common())


def _key(value: str) -> str:
    """A key that is the same for a value, its plural, and the value with an article."""
    return " ".join(word.removesuffix("s") for word in normal_form(value).split() if word not in ("a", "an", "the"))


def _draft_texts(
    domain: str, values: Sequence[Mapping[str, str]], write: Write, similarity: Similarity | None, seed: int
) -> list[str | None]:
    """A description with each row of values, or None where no answer is about them."""
    head = ["Short descriptions of images.", ""]
    head += [_line(shown, drawn, text) for shown, drawn, text in EXAMPLE_TEXTS]
    requests = [
        _request([*head, _line(domain, drawn, None)], derive_seed(seed, "text", i)) for i, drawn in enumerate(values)
    ]
    texts: list[str | None] = []
    for drawn, completions in zip(values, write(requests), strict=True):
        usable = (_clean_answer(answer, domain) for answer in completions.texts)
        scored = [(_num_values_named(text, domain, drawn), text) for text in usable if text and not _is_copy(text)]
        taken = {normal_form(text) for text in texts if text}
        good = [(score, text) for score, text in scored if score >= 2 and normal_form(text) not in taken]
        if similarity and good:
            likeness = similarity([text for _, text in good], [compose_text(domain, drawn)])
            good = [(row[0], text) for row, (_, text) in zip(likeness, good, strict=True)]
        texts.append(max(good)[1] if good else None)
    return texts


def _clean_answer(answer: str, domain: str) -> str | None:
    text = clean(re.sub(r"\ba (?=[aeio])", "an ", answer), MIN_WORDS, MAX_WORDS, scripts=scripts_of([domain]))
    # "a histology slides of": the domain is mostly a plural, and is taken up as it is.
    return re.sub(rf"^an? (?={re.escape(' '.join(domain.split()[:2]))})", "", text, flags=re.I) if text else None


def _line(domain: str, values: Mapping[str, str], text: str | None) -> str:
    shown = "".join(f" {name.capitalize()}: {value}." for name, value in values.items())
    return f"Images: {domain}.{shown} Text:" + (f" {text}" if text else "")


def _num_values_named(text: str, domain: str, values: Mapping[str, str]) -> int:
    """How many of the values a text names; 0 if it does not name the domain and the subject."""
    words = _content_words(text)
    subject = _content_words(values.get("subject", "")) or _content_words(domain)
    if not words & _content_words(domain) or not words & subject:
        return 0
    return sum(bool(words & _content_words(value)) for value in values.values())


def _is_copy(text: str) -> bool:
    shown = {normal_form(line) for _, _, line in EXAMPLE_TEXTS} | {
        normal_form(t) for pair in EXAMPLE_CHANGES for t in pair
    }
    return normal_form(text) in shown


def _content_words(text: str) -> set[str]:
    """The content words without a final s, so that `slides` matches `a slide of`."""
    return {word.removesuffix("s") for word in normal_form(text).split() if word not in _SMALL_WORDS}


def _draft_changes(
    domain: str,
    examples: Sequence[str],
    values: Sequence[Mapping[str, str]],
    write: Write,
    similarity: Similarity | None,
    seed: int,
) -> list[str | None]:
    """A variation of each example with the same subject (which may be its label), or None."""
    head = ["Change each description of an image a little.", ""]
    for text, new in EXAMPLE_CHANGES:
        head += [f"Text: {text}", f"New: {new}", ""]
    requests = [
        _request([*head, f"Text: {text}", "New:"], derive_seed(seed, "change", i)) for i, text in enumerate(examples)
    ]
    changes: list[str | None] = []
    for text, drawn, completions in zip(examples, values, write(requests), strict=True):
        usable = (_clean_answer(answer, domain) for answer in completions.texts)
        about = {"subject": drawn.get("subject", "")}
        good = [
            new
            for new in usable
            if new
            and normal_form(new) != normal_form(text)
            and not _is_copy(new)
            and _num_values_named(new, domain, about)
            and len(_content_words(new) ^ _content_words(text)) >= 2
        ]
        if similarity and good:
            good = [max(zip((row[0] for row in similarity(good, [text])), good, strict=True))[1]]
        changes.append(good[0] if good else None)
    return changes
