"""The head of the datasheet, as the Hugging Face Hub reads it of a data card."""

import pytest
import yaml
from huggingface_hub import DatasetCard
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.config import Config
from spti_ray.public.card_head import card_head
from tests.unit.conftest import config_with

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


def config(title="A title", **card) -> Config:
    return config_with(title=title, release={"images": 1, "card": card})


@settings(max_examples=60, deadline=None)
@given(title=TEXT)
def test_the_hub_reads_it_whatever_the_title_is(title):
    head = card_head(config(title), 5, {"a": 5}, True)
    assert "\n---" not in f"\n{head}"
    assert yaml.safe_load(head)["pretty_name"] == " ".join(title.split())


def test_it_is_a_data_card():
    data = DatasetCard(f"---\n{card_head(config(license='CC-BY-4.0'), 1500, {'a': 5}, True)}---\n\n# Title\n").data
    assert data.license == "cc-by-4.0" and data.size_categories == ["1K<n<10K"]
    assert data.task_categories == ["text-to-image", "image-classification"]
    assert "differential-privacy" in data.tags
    # Loaders would read other files or columns by these.
    assert not {"configs", "dataset_info"} & data.to_dict().keys()


@pytest.mark.parametrize(
    ("license", "said"),
    [
        ("MIT", {"license": "mit"}),
        (
            "Beerware",
            {
                "license": "other",
                "license_name": "beerware",
                "license_link": "https://spdx.org/licenses/Beerware.html",
            },
        ),
        (
            "https://example.org/terms",
            {"license": "other", "license_name": "see-link", "license_link": "https://example.org/terms"},
        ),
        (None, {}),
    ],
)
def test_a_licence_that_the_hub_does_not_know_is_another_with_its_address(license, said):
    head = yaml.safe_load(card_head(config(license=license), 5, {}, False))
    assert {key: value for key, value in head.items() if key.startswith("license")} == said
    assert "differential-privacy" not in head["tags"] and head["task_categories"] == ["text-to-image"]
