"""What planning says of the filters of a release: that they can't work, which engines they need, and the work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spti_ray.config import Config
from spti_ray.config.loading import ConfigError
from spti_ray.models.factory import engines_config
from spti_ray.planning.costs.report import costs_of
from spti_ray.planning.page.values import page_values
from spti_ray.planning.plan import plan_summary
from spti_ray.planning.plan_text import plan_lines
from spti_ray.planning.workload import phases
from spti_ray.runtime.placement.bundles import plan
from tests.unit.conftest import config_with

MISMATCH = {"mismatch": True}
CLIP: dict[str, Any] = {"kind": "vision", "model": "openai/clip-vit-base-patch32"}


def filtering(filters: dict[str, Any], **changes: Any) -> Config:
    return config_with(release={"images": 6, "images_per_text": 2, "filters": filters}, **changes)


def test_the_bundled_embedders_and_the_towers_of_one_model_have_a_common_space():
    plan_summary(filtering(MISMATCH, runtime={"engines": "embedded"}))
    towers = {"image_embedder": CLIP, "text_embedder": CLIP | {"kind": "clip-text"}}
    plan_summary(filtering(MISMATCH, runtime={"engines": towers}))
    own = {"kind": "tests.filter_engines:JointImages", "model": "m"}
    plan_summary(filtering(MISMATCH, runtime={"engines": {"image_embedder": own, "text_embedder": own}}))


@pytest.mark.parametrize(
    "engines",
    [
        "fake",
        {"image_embedder": CLIP},
        {"text_embedder": CLIP | {"kind": "clip-text"}},
        {"image_embedder": CLIP, "text_embedder": {"kind": "clip-text", "model": "openai/clip-vit-large-patch14"}},
        {"image_embedder": CLIP, "text_embedder": CLIP | {"kind": "clip-text", "revision": "abc"}},
        {
            "image_embedder": {"kind": "inception", "model": "f.pt"},
            "text_embedder": {"kind": "clip-text", "model": "f"},
        },
    ],
    ids=str,
)
def test_a_filter_without_engines_for_it_is_refused_at_planning(engines):
    with pytest.raises(ConfigError, match="release.filters.mismatch: .* have no common space; set") as caught:
        plan_summary(filtering(MISMATCH, runtime={"engines": engines}))
    assert "\n" not in str(caught.value)
    plan_summary(filtering({"blank": True}, runtime={"engines": engines}))


def test_a_method_whose_images_nobody_sees_is_refused():
    with pytest.raises(ConfigError, match="release.filters: with method: captions shards write the images themselves"):
        plan_summary(
            filtering(
                {"blank": True}, method="captions", privacy={"epsilon": 2.0, "delta": 1e-5, "allow_not_private": True}
            )
        )


def test_a_plan_tells_the_filters_and_counts_their_engines_and_their_work(tmp_path):
    config = filtering(
        MISMATCH | {"blank": True},
        runtime={"engines": "embedded"},
        evolution={"generations": 2, "candidates": 12, "voting": "image"},
    )
    summary = plan_summary(config)
    assert summary["filters"] == {
        "on": ["blank", "mismatch"], "engines": ["image_embedder", "text_embedder"], "other_seeds": 2,
        "other_texts": 4, "most_renders": 42,
    }  # fmt: skip
    (line,) = [line for line in plan_lines(summary) if line.startswith("filters ")]
    assert "blank, mismatch, by the image embedder and the text embedder" in line and "at most 42 further" in line
    release = phases(config)[-1]
    assert (release.items("image_embedder"), release.items("text_embedder")) == (6, 3)
    roles = [bundle.role for bundle in plan(config, engines_config("embedded"))]
    assert "text_embedder" in roles
    costs = costs_of(config, private_records=100)
    assert costs.to_json()["roles"]["text_embedder"]["items"] == 3 and json.dumps(costs.to_json())
    assert any(line.startswith("text_embedder") for line in costs.lines())
    assert plan_summary(config_with())["filters"] is None
    with pytest.raises(ConfigError, match="--html: the page does not know release.filters"):
        page_values(config, costs, summary, ["spti", "plan"])


def test_the_engines_that_filter_are_held_while_the_release_is_rendered():
    """On a cluster, where each role has cores of its own, and the renderer is the slowest."""
    cluster = {"engines": "embedded", "address": "auto"}
    thumbnails, embeddings = (
        costs_of(filtering({"duplicate": settings}, runtime=cluster), private_records=100).found.pools[0]
        for settings in ({}, {"min_similarity": 0.9})
    )
    assert thumbnails.wall_h == embeddings.wall_h and thumbnails.held_cpu_h < embeddings.held_cpu_h
