"""The settings of the filters: what is taken for them, and the line that refuses anything else."""

from __future__ import annotations

from typing import Any

import pytest

from spti_ray.config.identity import as_stored, changed_keys, config_sha256, resolved
from spti_ray.config.loading import ConfigError, parse_config, with_overrides
from spti_ray.config.method_traits import filter_roles, roles_needed
from tests.unit.config.test_config import MINIMAL
from tests.unit.conftest import config_with


def filtering(filters: Any, **changes: Any):
    return config_with(release={"images": 6, "filters": filters}, **changes)


def test_no_filter_is_on_by_default_and_a_filter_can_be_switched_on_by_a_word():
    assert config_with().release.filters is None
    filters = filtering({"blank": True, "duplicate": False}).release.filters
    assert filters is not None and filters.on == ("blank",) and filters.blank is not None
    assert filters.blank.max_deviation == 4.0 and (filters.other_seeds, filters.other_texts) == (2, 4)
    raw = with_overrides({"release": {"images": 6, "filters": None}}, ["release.filters.blank=true"])
    assert raw["release"]["filters"] == {"blank": True}


@pytest.mark.parametrize(
    ("filters", "line"),
    [
        ({"blank": {"max_deviation": -1}}, "release.filters.blank.max_deviation: .*should be at least 0"),
        ({"blank": {"max_deviation": 128}}, "release.filters.blank.max_deviation: .*less than 128"),
        ({"duplicate": {"max_difference": 256}}, "release.filters.duplicate.max_difference: .*less than 256"),
        ({"duplicate": {"min_similarity": 1.0}}, "release.filters.duplicate.min_similarity: .*less than 1"),
        ({"duplicate": {"max_difference": None}}, "compares nothing: set max_difference or min_similarity"),
        ({"mismatch": {"max_rank": None}}, "compares nothing: set max_rank or min_similarity"),
        ({"mismatch": {"max_rank": 0}}, "release.filters.mismatch.max_rank: .*should be at least 1"),
        ({"mismatch": {"others": 5, "max_rank": 6}}, "max_rank 6 is more than others .5."),
        ({"mismatch": {"min_similarity": 1.5}}, "release.filters.mismatch.min_similarity: .*less than 1"),
        ({"blank": True, "other_seeds": 21}, "release.filters.other_seeds: .*should be at most 20"),
        ({"blank": True, "other_texts": -1}, "release.filters.other_texts: .*should be at least 0"),
        ({"blurred": True}, "release.filters.blurred"),
        ({}, "no filter is on"),
        ({"blank": False}, "no filter is on"),
        ({"blank": 3}, "release.filters.blank"),
    ],
    ids=str,
)
def test_what_is_no_filter_is_refused_in_one_line(filters, line):
    raw = MINIMAL | {"release": MINIMAL["release"] | {"filters": filters}}
    with pytest.raises(ConfigError, match=line) as caught:
        parse_config(raw)
    assert "\n" not in str(caught.value)


def test_a_filter_that_embeds_needs_the_embedders_also_where_nobody_votes_by_them():
    assert filter_roles(filtering({"blank": True, "duplicate": True})) == ()
    by_embedding = {"duplicate": {"min_similarity": 0.9}}
    assert filter_roles(filtering(by_embedding)) == ("image_embedder",)
    caption = filtering(by_embedding, evolution={"generations": 2, "candidates": 12, "voting": "caption"})
    assert roles_needed(caption) == ("writer", "renderer", "captioner", "text_embedder", "image_embedder")
    assert roles_needed(filtering({"mismatch": True}, method="random"))[2:] == ("image_embedder", "text_embedder")
    assert roles_needed(filtering({"mismatch": True})).count("image_embedder") == 1


def test_filters_are_a_part_of_what_a_run_is_and_leave_earlier_configurations_as_they_were():
    plain, filtered = config_with(), filtering({"blank": True})
    stored = resolved(plain)
    del stored["release"]["filters"]
    assert as_stored(plain, stored) == plain and config_sha256(plain) != config_sha256(filtered)
    assert changed_keys(stored, resolved(as_stored(plain, stored))) == []
    assert "release.filters.blank.max_deviation" in changed_keys(stored, resolved(filtered))
