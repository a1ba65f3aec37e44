"""Spaces to vote in: what the job reckons itself is what a run reckons, and it knows no private image but the voter."""

import sys

import numpy as np
import pytest

from jobs import compare_voters as module
from jobs.embedded.voters import image_features, spaces, text_features
from spti_ray.models.embedders import VisionEmbedder
from spti_ray.models.factory import EMBEDDED
from spti_ray.public.themes import clusters, norm_sub

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(6)]


@pytest.fixture(scope="module")
def features(images):
    return image_features(images) | {"text": text_features([f"a red {name}" for name in "abcdef"])}


@pytest.mark.parametrize("seed", range(20))
def test_noised_votes_are_settled_as_in_a_run(seed):
    counts = np.rint(np.random.default_rng(seed).normal(1, 6, 40)).astype(np.int64)
    expected = norm_sub(counts)
    assert module.settled(counts.astype(float)) == pytest.approx(expected if expected.any() else np.ones(40))


def test_themes_are_those_of_a_run(monkeypatch):
    monkeypatch.setattr(module, "THEMES", 5)
    rows = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    mine, theirs = module.themes(rows.astype(np.float64), 3), clusters(rows, 5, 3)
    assert sorted(map(tuple, mine)) == sorted(map(tuple, theirs)) and len(mine) == 5


def test_the_first_space_is_that_of_the_default_voter(images, features):
    name, space = next(iter(spaces().items()))
    assert name == "clip"
    rows, _ = space(features, features)
    assert rows == pytest.approx(VisionEmbedder(EMBEDDED.image_embedder).embed_images(images), abs=1e-5)


def test_in_no_space_does_an_images_place_depend_on_other_private_images(features):
    first = {key: rows[:1] for key, rows in features.items()}
    for name, space in spaces().items():
        public, private = space(features, features)
        alone_public, alone = space(features, first)
        assert np.array_equal(public, alone_public), name
        assert alone[0] == pytest.approx(private[0], abs=1e-9), name
        assert np.linalg.norm(private, axis=1) == pytest.approx(1, abs=1e-6), name


@pytest.mark.filterwarnings("ignore:invalid value")  # all votes for one candidate make no pairs
def test_a_set_that_looks_like_half_of_the_candidates_votes_for_them(features, monkeypatch):
    monkeypatch.setattr(module, "THEMES", 2)
    private = {key: rows[:3] for key, rows in features.items()}
    groups = np.array(["objects"] * 3 + ["symbols"] * 3)
    found = module.compare({"mine": (private, {"objects"})}, [(features, groups)] * 2, 0.0)
    rows = found["mine"]
    assert rows["all candidates alike"]["single"]["off"] == pytest.approx(0.5)
    assert rows["clip"]["single"] == pytest.approx(rows["clip"]["single, noised"] | {"voted": 3})
    assert rows["clip"]["single"]["off"] == rows["pixels16"]["single"]["off"] == 0
    assert rows["text by clip"]["voted in"] == ["clip"] and rows["vae"]["voted in"] == []
    text = module.report(found, {"command": "me", "sigma": 1.0, "sets": {"mine": {"images": 3}}})
    assert "| clip | +0.000 ± 0.000 | 0.000 / " in text and "/ (" in text and len(rows) == 1 + len(spaces())


def test_sets_that_results_are_reported_for_are_refused(tmp_path, monkeypatch, capsys):
    arguments = ["--sets", "objects-symbols.parquet", "--run", "a", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["compare_voters", *arguments])
    assert module.main() == 2
    assert "objects-symbols" in capsys.readouterr().err and not (tmp_path / "out").exists()
