"""Drafts the lists of values of a new configuration: of all its texts, and those that each label has for itself."""

from __future__ import annotations

from collections.abc import Sequence

from spti_ray.public.draft_checks import content_words, distinct, key_of, of_kind, on_domain, usable_values
from spti_ray.public.drafting_examples import EXAMPLE_LISTS, LABEL_TEMPLATES
from spti_ray.public.drafting_requests import Asked, request
from spti_ray.types import WriteRequest, derive_seed

_LIST_TOKENS = 60
_MIN_VALUES, _MAX_VALUES = 4, 10
_GENERIC = ("color", "view")
"""Lists whose values are the same in most domains: values of the examples are kept, and must be of that kind."""
_ASKED_AS = {"kind": "subject"}
"""The list of other domains that the model is shown for one of a label."""


def _list_request(domain: str, name: str, seed: int) -> WriteRequest:
    asked_as = _ASKED_AS.get(name, name)
    lines = ["Lists of different values, for images of many kinds.", ""]
    lines += [f"Images: {shown}. {asked_as.capitalize()}: {lists[asked_as]}" for shown, lists in EXAMPLE_LISTS.items()]
    return request([*lines, f"Images: {domain}. {asked_as.capitalize()}:"], seed, _LIST_TOKENS)


def draft_lists(asked: Asked, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Lists for all texts, by name; without those of which too few values pass."""
    requests = [_list_request(asked.domain, name, derive_seed(asked.seed, "list", name)) for name in names]
    answers = asked.answers("lists", requests)
    found = {name: _values(asked, name, texts) for name, texts in zip(names, answers, strict=True)}
    return {name: values for name, values in found.items() if len(values) >= _MIN_VALUES}


def draft_label_lists(asked: Asked) -> dict[tuple[str, str], tuple[str, ...]]:
    """Lists that each label has for itself, by label and name; without those of which too few values pass."""
    keys = [(label, name) for label in asked.labels for name in LABEL_TEMPLATES]
    requests = [
        _list_request(f"{asked.domain}, {label}", name, derive_seed(asked.seed, "list", label, name))
        for label, name in keys
    ]
    answers = asked.answers("lists of labels", requests)
    found = {
        (label, name): _values(asked, name, texts, label) for (label, name), texts in zip(keys, answers, strict=True)
    }
    return {key: values for key, values in found.items() if len(values) >= _MIN_VALUES}


def _values(asked: Asked, name: str, answers: Sequence[str], label: str = "") -> tuple[str, ...]:
    """The values of a list that pass all checks, the best first."""
    shown = [lists[_ASKED_AS.get(name, name)] for lists in EXAMPLE_LISTS.values()]
    copies = set() if name in _GENERIC else {key_of(value) for line in shown for value in line.split(",")}
    found = usable_values(answers, copies | {key_of(label) for label in asked.labels})
    about = content_words(f"{asked.domain} {label}")
    values = [value for value in found if not content_words(value) <= about]
    if asked.similarity and name in _GENERIC:
        values = of_kind(values, name, asked.similarity)
    elif asked.similarity:
        # Of a label: the domain's own words would make all of its values alike.
        others = [other for other in asked.labels if other != label] if label else []
        scored = zip(on_domain(values, label or asked.domain, asked.similarity, others), values, strict=True)
        values = [value for _, value in sorted(((s, v) for s, v in scored if s is not None), key=lambda item: -item[0])]
    kept = distinct(values, asked.similarity)
    return tuple(value for value, is_new in zip(values, kept, strict=True) if is_new)[:_MAX_VALUES]
