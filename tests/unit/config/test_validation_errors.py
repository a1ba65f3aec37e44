"""What is wrong with a setting is told in the words of YAML, and says how to write it."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from spti_ray.config.identity import config_sha256, resolved
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.models.factory import engines_config
from tests.unit.config.test_config import MINIMAL, changed, refusal

BARE = "YAML reads a bare yes, no, on or off as true or false: write it in quotes"
ENGINES = "should be embedded, fake, or settings per role, such as {writer: {model: ...}}"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("evolution.labels", "cat", "should be a list, such as [cat] (got 'cat')"),
        ("evolution.labels", {"cat": 1}, "should be a list, such as [a, b]"),
        ("evolution.labels.0", [1], "should be settings, such as {name: ...} (got 1)"),
        ("evolution.labels.0", [True], f"should be settings, such as {{name: ...}}; {BARE} (got True)"),
        ("privacy", 3, "should be settings, such as {epsilon: ..., delta: ...} (got 3)"),
        ("privacy", None, "should be settings, such as {epsilon: ..., delta: ...}"),
        ("data", "images", "should be settings, such as {path: ...} (got 'images')"),
        ("runtime", "fake", "should be settings, such as {engines: ..., seed: ..., shards: ...} (got 'fake')"),
        ("origin", [], "should be settings, such as {run: ..., path: ...}"),
        ("finetune", 0.5, "should be settings, such as {mode: ..., rank: ..., targets: ...} (got 0.5)"),
        ("prompts.rephrase_examples.0", ["x"], "should be settings, such as {text: ..., new: ...} (got 'x')"),
        ("prompts.attributes", ["a"], "should be settings, such as {key: value}"),
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
        ("title", True, f"should be text; {BARE} (got True)"),
        ("title", ["a"], "should be text"),
        ("prompts.attributes.1", {1: ["b"]}, "should be text: write it in quotes (got 1)"),
    ],
)  # fmt: skip
def test_a_setting_of_another_kind_is_told_how_to_write_it(path: str, value: Any, expected: str):
    section, _, rest = path.partition(".")
    key = rest.split(".")[0]
    assert refusal(changed(f"{section}.{key}" if key else section, value)) == f"{path}: {expected}"


def test_a_key_that_is_no_text_is_told():
    assert refusal(MINIMAL | {True: {}}).endswith(
        "is no name of a setting: write it in quotes if it is meant as one (got True)"
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
