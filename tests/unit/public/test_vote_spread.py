"""Whether noised votes can be told from noise: how often the test is wrong, and how often it sees what is there."""

import numpy as np
import pytest

from spti_ray.public.vote_spread import LEVEL, Spread, in_words, spread_of, together

RUNS = 2000


def _share_told(votes_per_candidate: float, unevenness: float, sigma: float = 8.3, candidates: int = 80) -> float:
    """Share of runs of two generations whose votes are told from noise."""
    generator = np.random.default_rng(7)
    labels = ["cat"] * (candidates // 2) + ["dog"] * (candidates - candidates // 2)

    def spread() -> Spread:
        popularity = generator.gamma(1 / unevenness, size=candidates) if unevenness else np.ones(candidates)
        expected = votes_per_candidate * candidates * popularity / popularity.sum()
        noised = generator.poisson(expected) + np.rint(generator.normal(0, sigma, candidates)).astype(int)
        return spread_of(noised.tolist(), labels, sigma)

    return float(np.mean([together([spread(), spread()]).is_more_than_noise for _ in range(RUNS)]))


@pytest.mark.parametrize("votes", [0.0, 1.5, 12.0, 200.0])
def test_votes_at_random_are_told_from_noise_in_about_one_run_of_a_hundred(votes):
    share = _share_told(votes, unevenness=0.0)
    # Three standard deviations of the share of so many runs; rounding to whole votes adds 1/12 to the variance.
    assert share <= LEVEL + 3 * np.sqrt(LEVEL / RUNS) + 0.004


def test_votes_that_stand_out_are_told_from_noise_and_those_that_drown_are_not():
    assert _share_told(votes_per_candidate=12.0, unevenness=1.0) > 0.99, "a signal of 1.4 sigma"
    assert _share_told(votes_per_candidate=1.5, unevenness=1.0) < 0.1, "a signal of 0.18 sigma"


def test_labels_of_different_sizes_are_no_preference():
    counts = [100, 101, 99, 100, 2, 1, 3, 2]
    labels = ["many"] * 4 + ["few"] * 4
    assert spread_of(counts, labels, 4.0).freedom == 6
    assert not spread_of(counts, labels, 4.0).is_more_than_noise
    assert spread_of(counts, ["all"] * 8, 4.0).is_more_than_noise


def test_a_single_candidate_of_a_label_tells_nothing():
    spread = spread_of([50], ["all"], 3.0)
    assert spread.freedom == 0 and spread.p_value == 1.0 and not spread.is_more_than_noise


def test_the_sentence_says_which_and_what_would_help():
    assert "can't be told from noise" in in_words(Spread(100.0, 100)) and "evolution.themes" in in_words(Spread(1.0, 9))
    assert in_words(Spread(1000.0, 100)).endswith("(p = less than 0.000001).")
