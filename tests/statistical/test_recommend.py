"""What `spti plan --recommend` says, against simulations: of one selection, and of the whole loop, under noise.

The loop that is simulated: records in 8 clusters of a 4-dimensional space; candidates that start spread three times as
wide; each record votes for its nearest candidates; the best 30 % by noised votes survive and have children near them.
It is judged by the energy distance between survivors and records. The noise here is NumPy's: nothing is private.
"""

from pathlib import Path

import numpy as np
import pytest

from spti_ray.config.loading import load_config
from spti_ray.dp.calibration import calibrate
from spti_ray.planning.recommend import POPULAR, recommend, selection_under_noise

STICKERS = Path(__file__).parents[2] / "jobs" / "stickers.yaml"
DIMENSIONS, CLUSTERS, WIDE, SPREAD, STEP, SURVIVORS = 4, 8, 3.0, 0.4, 0.7, 0.3


@pytest.mark.parametrize("signal", [0.2, 0.4, 1.0, 4.0])
@pytest.mark.parametrize("survivors", [0.1, 0.3])
def test_the_gain_and_the_survival_of_popular_candidates_are_those_of_a_simulated_selection(signal, survivors):
    rng = np.random.default_rng(0)
    votes = rng.exponential(size=400_000)
    noised = votes + rng.normal(size=votes.size) / signal
    cut = np.quantile(noised, 1 - survivors)
    best = np.sort(votes)[-round(survivors * votes.size) :]
    popular = POPULAR + rng.normal(size=votes.size) / signal > cut
    gain, survives = selection_under_noise(signal, survivors)
    assert gain == pytest.approx((votes[noised > cut].mean() - 1) / (best.mean() - 1), abs=0.01)
    assert survives == pytest.approx(popular.mean(), abs=0.01)


def test_at_the_rule_of_thumb_a_selection_keeps_two_fifths_of_its_gain_whatever_the_share_of_survivors():
    for survivors in (0.05, 0.1, 0.3, 0.5):
        assert selection_under_noise(0.4, survivors)[0] == pytest.approx(0.4, abs=0.02)


def evolved(records, candidates, generations, votes, sigma, seed):
    """Energy distance between the last survivors and the records of one simulated run."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLUSTERS, DIMENSIONS)) * WIDE / 2
    cluster = rng.choice(CLUSTERS, records, p=rng.dirichlet(np.ones(CLUSTERS)))
    private = centres[cluster] + SPREAD * rng.normal(size=(records, DIMENSIONS))
    population = WIDE * rng.normal(size=(candidates, DIMENSIONS))
    kept = round(SURVIVORS * candidates)
    survivors = population
    for _ in range(generations):
        distance = (population**2).sum(1) - 2 * private @ population.T
        nearest = np.argpartition(distance, votes - 1, axis=1)[:, :votes]
        noised = np.bincount(nearest.ravel(), minlength=candidates) + sigma * rng.normal(size=candidates)
        survivors = population[np.argsort(-noised)[:kept]]
        parents = survivors[np.arange(candidates - kept) % kept]
        population = np.concatenate([survivors, parents + STEP * rng.normal(size=parents.shape)])
    sample = private[:400]

    def apart(a, b):
        return np.sqrt(np.maximum(0, (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T)).mean()

    return 2 * apart(survivors, sample) - apart(survivors, survivors) - apart(sample, sample)


def distance_of(records, candidates, generations, votes, seeds=6):
    sigma = calibrate(1.0, 1e-5, votes, generations).sigma
    return float(np.mean([evolved(records, candidates, generations, votes, sigma, seed) for seed in range(seeds)]))


@pytest.mark.parametrize("records", [300, 1000])
def test_the_recommended_schedule_is_nearly_the_best_of_all_that_were_simulated(records):
    best = recommend(load_config(STICKERS, ["privacy.epsilon=1"]), records).best
    recommended = distance_of(records, best.candidates, best.generations, best.votes_per_record)
    others = {
        (candidates, generations): distance_of(records, candidates, generations, 1, seeds=3)
        for candidates in (25, best.candidates, 8 * best.candidates)
        for generations in (2, 5)
    }
    others[8 * best.candidates, best.generations] = distance_of(records, 8 * best.candidates, best.generations, 1, 3)
    assert recommended < 1.1 * min(others.values())
    assert recommended < 0.6 * others[25, 2] and recommended < 0.6 * others[8 * best.candidates, best.generations]
