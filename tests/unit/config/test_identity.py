"""Which configurations are one run, also where one of them was stored by a build that had fewer settings."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from spti_ray.config import identity as config_identity
from spti_ray.config.identity import (
    BEFORE,
    as_stored,
    changed_keys,
    config_sha256,
    flatten,
    pinned,
    resolved,
    with_later_settings,
)
from spti_ray.config.loading import parse_config
from tests.settings_names import setting_names
from tests.unit.config.test_config import MINIMAL, changed

OLD = Path(__file__).parents[2] / "old_runs" / "ab5e8e4"
SETTING = "prompts.attempts"
"""Of 3 by default. The tests play that it came later, and that builds without it asked `THEN` times."""
THEN = 1


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_identity, "BEFORE", {SETTING: THEN})


def stored(**prompts: Any) -> dict[str, Any]:
    """What a build without the setting stored."""
    tree = resolved(parse_config(MINIMAL))
    del tree["prompts"]["attempts"]
    return tree | {"prompts": tree["prompts"] | prompts}


def test_every_setting_that_came_later_says_what_earlier_builds_did():
    known = set((OLD / "settings.txt").read_text().split())
    # Engines are stored as they were written, and so without settings that nobody wrote.
    new = {name for name in setting_names() - known if not name.startswith("runtime.engines.*.")}
    free = {name for name in new if not pinned({name.split(".")[0]: _nested(name)})}
    # A section that may be left out is one setting, which stands for all in it.
    new = {next((key for key in BEFORE if name.startswith(f"{key}.")), name) for name in new}
    assert new - free == set(BEFORE), "add the setting to BEFORE or to the settings that are free to change"


def _nested(name: str) -> Any:
    _, *inner = name.split(".")
    tree: Any = "a value of its own"
    for part in reversed(inner):
        tree = {part: tree}
    return tree


@pytest.mark.parametrize("run", ["finished", "continued", "interrupted"])
def test_a_configuration_of_an_earlier_build_has_the_hash_that_it_had(run):
    document = yaml.safe_load((OLD / run / "run.yaml").read_text())
    assert config_sha256(parse_config(with_later_settings(document["config"]))) == document["config_sha256"]


def test_a_setting_that_came_later_leaves_the_hash_of_configurations_that_do_as_before(later):
    with_it, without = parse_config(changed(SETTING, THEN)), parse_config(changed(SETTING, 2))
    assert SETTING not in pinned(resolved(with_it)) and SETTING in pinned(resolved(without))
    assert config_sha256(with_it) != config_sha256(without)
    assert changed_keys(resolved(with_it), resolved(without)) == [SETTING]
    assert changed_keys(resolved(without), resolved(with_it)) == [SETTING]


def test_a_later_setting_that_is_unset_now_differs_from_one_that_meant_a_value(monkeypatch):
    monkeypatch.setattr(config_identity, "BEFORE", {"prompts.max_tokens": 64})
    meant, unset = (resolved(parse_config(changed("prompts.max_tokens", value))) for value in (64, None))
    assert changed_keys(meant, unset) == changed_keys(unset, meant) == ["prompts.max_tokens"]


def test_a_setting_that_was_not_stored_means_what_the_build_did(later):
    tree = stored()
    before = copy.deepcopy(tree)
    assert with_later_settings(tree)["prompts"]["attempts"] == THEN and tree == before
    assert as_stored(parse_config(MINIMAL), tree).prompts.attempts == THEN
    assert changed_keys(with_later_settings(tree), resolved(as_stored(parse_config(MINIMAL), tree))) == []


def test_a_setting_that_was_not_stored_and_is_asked_for_now_is_a_change(later):
    asked = as_stored(parse_config(changed(SETTING, 2)), stored())
    assert asked.prompts.attempts == 2
    assert changed_keys(with_later_settings(stored()), resolved(asked)) == [SETTING]


def test_a_setting_that_was_stored_stays_as_it_was(later):
    tree = stored(attempts=3)
    assert with_later_settings(tree) == tree
    assert as_stored(parse_config(MINIMAL), tree).prompts.attempts == 3


@pytest.mark.parametrize("key", BEFORE)
def test_settings_that_came_later_are_there_and_what_they_meant_is_a_value_of_theirs(key):
    assert key in flatten(resolved(parse_config(MINIMAL)))
    tree = resolved(parse_config(MINIMAL))
    section, leaf = key.rsplit(".", 1)
    node: Any = tree
    for part in section.split("."):
        node = node[part]
    node[leaf] = BEFORE[key]
    assert flatten(resolved(parse_config(tree)))[key] == BEFORE[key]
