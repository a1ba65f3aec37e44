"""Voted shares of labels: what is asked, and what the noised counts decide."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from spti_ray.errors import NothingMade
from spti_ray.public.label_shares import all_votable, counts_of, label_candidates, shares_of, with_label_shares
from spti_ray.public.population import Population
from spti_ray.types import Candidates, NoisyHistogram, ScoredCandidates

LABELS = [{"name": "cat", "share": 1}, {"name": "dog", "hint": "a puppy", "share": 5}, {"name": "car", "share": 1}]


@pytest.fixture
def config(make_config):
    return make_config(evolution__labels=LABELS, evolution__label_shares="voted", evolution__candidates=20)


def test_a_record_is_asked_for_its_label_by_one_candidate_of_each(config):
    asked = label_candidates(config.evolution)
    assert [(c.label, c.text, c.generation) for c in asked] == [
        ("cat", "cat", 0),
        ("dog", "a puppy", 0),
        ("car", "car", 0),
    ]
    assert len(Candidates(tuple(asked))) == 3, "they are in the order of their ids"


def test_the_quota_follows_the_noised_counts_and_not_the_public_shares(config):
    voted = with_label_shares(config, {"cat": 60, "dog": 10, "car": 30})
    assert config.evolution.quota(14) == {"cat": 2, "dog": 10, "car": 2}
    assert voted.evolution.quota(100) == {"cat": 60, "dog": 10, "car": 30}
    assert voted.evolution.candidates_per_label() == {"cat": 12, "dog": 2, "car": 6}
    assert voted.evolution.labels[1].hint == "a puppy"


def test_counts_are_settled_before_they_are_shares(config):
    """Norm-Sub takes 3 of each: 57, 0 and 27 of 84; -6 is as far from 0 as what is taken from the others."""
    assert shares_of({"cat": 60, "dog": -6, "car": 30}) == pytest.approx({"cat": 57 / 84, "dog": 0, "car": 27 / 84})


def test_a_label_of_which_nothing_is_left_has_no_candidate(config, local_engines):
    voted = with_label_shares(config, {"cat": 60, "dog": -6, "car": 30})
    assert voted.evolution.label_names == ("cat", "car")
    made = list(Population(voted, local_engines()).random_api())
    assert len(made) == 20 and {candidate.label for candidate in made} == {"cat", "car"}
    assert {candidate.generation for candidate in made} == {1} and all(c.id.startswith("g01-") for c in made)


@pytest.mark.parametrize("counts", [{}, {"cat": -6, "dog": 2, "car": 0}, {"cat": 0, "dog": 0, "car": 0}])
def test_if_nothing_is_left_of_any_label_the_public_shares_stand(config, counts):
    assert shares_of(counts) == {}
    assert with_label_shares(config, counts) is config


def test_the_order_of_labels_changes_no_share():
    counts = {"a": 13, "b": 7, "c": -3, "d": 101, "e": 29, "f": 3}
    first = shares_of(counts)
    for order in itertools.permutations(counts):
        assert shares_of({label: counts[label] for label in order}) == first


def _scored(config, rows):
    return ScoredCandidates(Candidates(tuple(label_candidates(config.evolution))), {"image": rows}, {"image": 1.0})


def test_a_label_whose_text_can_not_be_rendered_can_be_voted_for(config):
    rows = np.array([[np.nan, np.nan], [0, 1], [1, 0]], dtype=np.float32)
    filled = all_votable(_scored(config, rows)).embeddings_KE["image"]
    assert filled.tolist() == [[0, 1], [0, 1], [1, 0]] and filled.dtype == np.float32


def test_if_no_labels_text_can_be_embedded_nothing_is_asked(config):
    with pytest.raises(NothingMade, match="evolution.label_shares"):
        all_votable(_scored(config, np.full((3, 2), np.nan, dtype=np.float32)))


def test_counts_are_those_of_the_labels_that_were_asked_about(config):
    ids = tuple(candidate.id for candidate in label_candidates(config.evolution))
    counts = np.array([5, -1, 3])
    assert counts_of(config.evolution, NoisyHistogram(0, ids, counts, 1.0, "")) == {"cat": 5, "dog": -1, "car": 3}
    with pytest.raises(ValueError, match="other labels"):
        counts_of(config.evolution, NoisyHistogram(0, ids[:2], counts[:2], 1.0, ""))
