"""What is wrong with a setting is told in the words of YAML, and says how to write it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from spti_ray.config import Config, EngineConfig
from spti_ray.config.identity import config_sha256, resolved
from spti_ray.config.loading import ConfigError, parse_config, parse_section
from spti_ray.config.validation_errors import _kinds_of
from spti_ray.kubernetes.settings import Cluster
from spti_ray.models.factory import OPTIONS, engines_config
from tests.unit.config.test_config import MINIMAL, changed, refusal

BARE = "YAML reads a bare yes, no, on or off as true or false: write it in quotes"
PRIVACY = (
    "should be settings, such as {epsilon: ..., delta: ...}; known: epsilon, delta, votes_per_record, unit, "
    "spare_slots, allow_not_private, trusted_endpoints"
)
FILTERS = (
    "should be settings, such as {blank: ..., duplicate: ..., mismatch: ...}; known: blank, duplicate, mismatch, "
    "other_seeds, other_texts"
)
ENGINES = "should be embedded, fake, or settings per role, such as {writer: {model: ...}}"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("evolution.labels", "cat", "should be a list, such as [cat] (got 'cat')"),
        ("evolution.labels", {"cat": 1}, "should be a list, such as [a, b]"),
        ("evolution.labels.0", [1], "should be settings, such as {name: ...}; known: name, share, hint (got 1)"),
        ("evolution.labels.0", [True], f"should be settings, such as {{name: ...}}; known: name, share, hint; {BARE} "
            "(got true)"),
        ("privacy", 3, f"{PRIVACY} (got 3)"),
        ("privacy", None, PRIVACY),
        ("privacy", True, f"{PRIVACY} (got true)"),
        ("dataset", "images", "should be settings, such as {id: ...}; known: id, lifetime_epsilon, registration "
            "(got 'images')"),
        ("origin", [], "should be settings, such as {run: ..., path: ...}; known: run, path, rerender, generation"),
        ("release.filters", True, f"{FILTERS} (got true)"),
        ("release.filters", "blank", f"{FILTERS} (got 'blank')"),
        ("release.filters.blank", {"blank": 4}, "should be settings, such as {max_deviation: ...} (got 4)"),
        ("release.provenance", True, "should be settings, such as {xmp: ..., certificate: ..., key_file: ...}; known: "
            "xmp, certificate, key_file, key_env (got true)"),
        ("release.card", "MIT", "should be settings, such as {license: ..., creator: ..., creator_type: ...}; known: "
            "license, creator, creator_type, url, version, published (got 'MIT')"),
        ("release.card.url", {"url": "foo"}, r"should be like https://example.org/hands, and match the regular "
            r"expression ^https?://[^\s]+$ (got 'foo')"),
        ("runtime.driver.resources", {"resources": True}, "should be settings, such as {key: value} (got true)"),
        ("runtime.node_labels", "gpu", "should be settings, such as {writer: {key: value}}; known: writer, captioner, "
            "renderer, image_embedder, text_embedder, shard (got 'gpu')"),
        ("prompts.rephrase_examples.0", ["x"], "should be settings, such as {text: ..., new: ...} (got 'x')"),
        ("prompts.attributes", ["a"], "should be settings, such as {key: [a, b]}"),
        ("prompts.attributes.color", {"color": "red"}, "should be a list, such as [red] (got 'red')"),
        ("runtime.take_turns", "writer", "should be a list, such as [writer] (got 'writer')"),
        ("runtime.engines", ["writer"], ENGINES),
        ("runtime.engines", None, ENGINES),
        ("runtime.engines", 3, f"{ENGINES} (got 3)"),
        ("runtime.engines.writer", {"writer": "x"}, "should be settings, such as {key: value} (got 'x')"),
        ("privacy.epsilon", "one", "should be a number (got 'one')"),
        ("privacy.epsilon", None, "should be a number"),
        ("privacy.delta", math.nan, "should be a finite number (got nan)"),
        ("evolution.candidates", 1.5, "should be a whole number (got 1.5)"),
        ("evolution.candidates", [1], "should be a whole number"),
        ("evolution.keep_survivors", "maybe", "should be true or false (got 'maybe')"),
        ("title", 2020, "should be text: write it in quotes (got 2020)"),
        ("title", datetime.date(2020, 1, 1), "should be text: write it in quotes"),
        ("title", True, f"should be text; {BARE} (got true)"),
        ("title", ["a"], "should be text"),
        ("dataset.id", "", "should be like hands, and match the regular expression ^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$ "
            "(got '')"),
        ("dataset.registration", "late", "should be 'first_run' or 'required' (got 'late')"),
        ("evolution.candidates", 0, "should be at least 1 (got 0)"),
        ("evolution.labels.0.name", [{"name": ""}], "should not be empty (got '')"),
        ("prompts.max_tokens_rendered", "abc", "should be a whole number or 'window' or 'none' (got 'abc')"),
        ("prompts.max_tokens_rendered", 2, "should be at least 8 or 'window' or 'none' (got 2)"),
        ("prompts.attributes.null", {None: ["b"]}, "should be text: write it in quotes"),
        ("runtime.node_labels.true", {True: {}}, "should be 'writer', 'captioner', 'renderer', 'image_embedder' or "
            "'text_embedder' or 'shard' (got true)"),
        ("prompts.attributes.1", {1: ["b"]}, "should be text: write it in quotes (got 1)"),
    ],
)  # fmt: skip
def test_a_setting_of_another_kind_is_told_how_to_write_it(path: str, value: Any, expected: str):
    section, _, rest = path.partition(".")
    key = rest.split(".")[0]
    assert refusal(changed(f"{section}.{key}" if key else section, value)) == f"{path}: {expected}"


def test_a_key_that_is_no_text_is_told():
    assert refusal(MINIMAL | {True: {}}).endswith(
        "is no name of a setting: write it in quotes if it is meant as one (got true)"
    )


def test_yes_is_no_number():
    assert (
        refusal(changed("privacy.epsilon", True))
        == "privacy: epsilon should be a number, and is true: write the number"
    )
    assert refusal(changed("runtime.seed", False)).startswith("runtime: seed should be a number, and is false")
    assert parse_config(changed("evolution.keep_survivors", False)).evolution.keep_survivors is False


def test_numbers_in_quotes_are_numbers():
    config = parse_config(changed("privacy.epsilon", "1e-1"))
    assert config.privacy.epsilon == 0.1


def test_labels_may_be_names_and_are_stored_as_before():
    short = parse_config(changed("evolution.labels", ["cat", {"name": "dog", "share": 2.0}]))
    long = parse_config(changed("evolution.labels", [{"name": "cat"}, {"name": "dog", "share": 2.0}]))
    assert short == long and resolved(short) == resolved(long) and config_sha256(short) == config_sha256(long)
    assert resolved(short)["evolution"]["labels"][0] == {"name": "cat", "share": 1.0, "hint": None}
    assert (
        refusal(changed("evolution.labels", ["cat", "cat"]))
        == "evolution.labels: label names must differ from one another"
    )


def test_no_message_names_a_class_of_python():
    for path in (
        "data",
        "dataset",
        "privacy",
        "evolution",
        "prompts",
        "release",
        "finetune",
        "ledger",
        "runtime",
        "origin",
    ):
        for value in ("x", 3, [1], None, True):
            try:
                parse_config(changed(path, value))
            except ConfigError as error:
                assert "Config" not in str(error) and "instance" not in str(error) and "dictionary" not in str(error)


def test_options_of_an_engine_are_told_with_the_nearest_known_one_and_without_what_was_given():
    def told(options: dict[str, Any]) -> str:
        writer = {"kind": "openai", "model": "m", "options": {"base_url": "https://host/v1"} | options}
        with pytest.raises(ValueError) as caught:
            engines_config({"writer": writer})
        return str(caught.value)

    where = "runtime.engines.writer.options"
    assert told({"max_retrys": 3}) == f"{where}.max_retrys: unknown key; did you mean 'max_retries'?"
    assert told({"leave_out": "seed"}) == f"{where}.leave_out: should be a list, such as [a, b]"
    assert (
        told({"prices": 3})
        == f"{where}.prices: should be settings, such as {{input: ..., cached_input: ..., output: ...}}"
    )
    assert told({"timeout_s": "hush-hush"}) == f"{where}.timeout_s: should be a number"


def test_an_address_is_not_repeated():
    told = refusal(changed("privacy.trusted_endpoints", "https://me:hush-hush@host"))
    assert told == "privacy.trusted_endpoints: should be a list, such as [a, b]"


PLAIN = (
    None, True, False, 3, -1, 0, 10**30, 1.5, math.nan, math.inf, "abc", "", "1e400", "https://host", [], [1],
    ["a"], [["a"]], {}, {"a": 1}, {1: 2}, {True: 1}, {"a": [{"b": None}]}, datetime.date(2020, 1, 1), b"x", {1, 2},
)  # fmt: skip
KEYS = (3, True, None, 1.5, "", datetime.date(2020, 1, 1), "no such")
PYDANTIC = (
    "constrained-", "literal[", "function-", "Input should", "input should", "union", "tagged", "errors.pydantic",
    "[key]", "dict[", "tuple[", "list[", "valid ", "Unable", "unable to parse", "datetime", "None", "Config",
)  # fmt: skip


def wrong_values(annotation: Any) -> Iterator[Any]:
    """Values of every kind, at every depth of a field."""
    yield from PLAIN
    for kind in _kinds_of(annotation):
        arguments = [argument for argument in get_args(kind) if argument is not Ellipsis]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                yield from ({name: value} for value in wrong_values(field.annotation))
        elif get_origin(kind) is tuple:
            yield from ([value] for argument in arguments for value in wrong_values(argument))
        elif get_origin(kind) is dict:
            yield from ({key: value} for value in wrong_values(arguments[1]) for key in ("writer", "cat"))
            yield from ({key: value} for key in KEYS for value in (1, {}))


def fields() -> Iterator[tuple[type[BaseModel], dict[str, Any], str, Any]]:
    """(section, what else it needs, setting, annotation) of all settings: of a run, of engines and of clusters."""
    for name, field in Config.model_fields.items():
        (inner, *_) = _kinds_of(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for key, of_it in inner.model_fields.items():
                yield Config, MINIMAL, f"{name}.{key}", of_it.annotation
        else:
            yield Config, MINIMAL, name, field.annotation
    for section in {EngineConfig, Cluster, *OPTIONS.values()}:
        for name, field in section.model_fields.items():
            yield section, {}, name, field.annotation


def test_no_wrong_value_of_any_setting_is_told_in_pydantics_words():
    asked = refused = 0
    for section, around, name, annotation in fields():
        for value in wrong_values(annotation):
            parent, _, key = name.rpartition(".")
            raw = around | ({parent: {**(around.get(parent) or {}), key: value}} if parent else {key: value})
            asked += 1
            try:
                parse_section(section, raw)
            except ConfigError as error:
                refused += 1
                found = [word for word in PYDANTIC if word in str(error)]
                assert not found, f"{name}: {value!r} is told as {error}"
    assert refused > asked / 2 > 1000
