"""What is said of a release beside what a run knows."""

import pytest

from spti_ray.config.card import CardConfig
from spti_ray.config.identity import config_sha256
from spti_ray.config.loading import ConfigError, parse_config
from tests.unit.config.test_config import MINIMAL


def with_card(**card):
    return parse_config(MINIMAL | {"release": {**MINIMAL["release"], "card": card}})


@pytest.mark.parametrize("license", ["CC-BY-4.0", "MIT", "https://example.org/terms"])
def test_a_licence_has_an_address(license):
    assert CardConfig(license=license).license_url in (license, f"https://spdx.org/licenses/{license}.html")


@pytest.mark.parametrize(
    "card",
    [
        {"license": "all rights reserved"},
        {"license": "javascript:x"},
        {"license": ""},
        {"url": "example.org"},
        {"version": "2"},
        {"published": "soon"},
        {"creator": ""},
        {"creator": "A", "creator_type": "Robot"},
    ],
)
def test_what_is_no_such_thing_is_refused_by_name(card):
    with pytest.raises(ConfigError, match=rf"release\.card\.{list(card)[-1]}"):
        with_card(**card)


def test_a_run_may_go_on_with_another_card():
    assert config_sha256(with_card(license="MIT", published="2027-01-31")) == config_sha256(parse_config(MINIMAL))
