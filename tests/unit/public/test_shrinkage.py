"""Shrinkage towards families: post-processing that helps where kin are alike, and leaves alone where it can't."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import EvolutionConfig
from spti_ray.public.selection import select
from spti_ray.public.shrinkage import family_ids, shrink_counts
from spti_ray.types import Candidate, Candidates, NoisyHistogram


def population(num_families: int, children: int, label: str = "all") -> list[Candidate]:
    parents = [Candidate(f"g00-{i:06d}", f"text {i}", label, 0) for i in range(num_families)]
    born = [
        Candidate(f"g01-{i:06d}", f"child {i}", label, 1, parents[i // children].id, "rephrase")
        for i in range(num_families * children)
    ]
    return parents + born


def test_a_family_is_a_parent_with_its_children_or_siblings_without_it():
    everyone = population(2, 2)
    assert family_ids(everyone) == [everyone[0].id, everyone[1].id, *[everyone[0].id] * 2, *[everyone[1].id] * 2]
    assert family_ids(everyone[2:]) == [everyone[0].id] * 2 + [everyone[1].id] * 2
    # A survivor that is a child itself heads its own family.
    grandchild = Candidate("g02-000000", "x", "all", 2, everyone[2].id, "fill")
    assert family_ids([everyone[0], everyone[2], grandchild]) == [everyone[0].id, everyone[2].id, everyone[2].id]


def test_the_estimates_are_those_of_the_nested_normal_model():
    """Worked by hand: two families of two; within 2 degrees of freedom, between 1."""
    everyone = population(2, 1)
    by_family = {everyone[0].id: (10.0, 4.0), everyone[1].id: (-2.0, -8.0)}  # parent, child
    counts = [10, -2, 4, -8]
    sigma, spread = 3.0, (2 * 3.0**2 + 2 * 3.0**2) / 2  # 18: within-family mean square
    tau = spread - sigma**2
    omega = (2 * 6.0**2 + 2 * 6.0**2 - spread) / 2  # family means 7 and -5 about 1; size 2
    head = 1 + 2 * omega / (2 * omega + spread) * 6.0
    other = 1 - 2 * omega / (2 * omega + spread) * 6.0
    expected = [head + tau / spread * (10 - head), other + tau / spread * (-2 - other)]
    expected += [head + tau / spread * (4 - head), other + tau / spread * (-8 - other)]
    assert by_family and shrink_counts(everyone, counts, sigma) == pytest.approx(expected)


def test_without_families_or_with_one_alone_nothing_changes():
    strangers = [Candidate(f"g00-{i:06d}", f"{i}", "all", 0) for i in range(5)]
    assert shrink_counts(strangers, [5, -3, 0, 2, 9], 2.0) == [5, -3, 0, 2, 9]
    assert shrink_counts(population(1, 3), [5, -3, 0, 2], 2.0) == [5, -3, 0, 2]
    assert shrink_counts([], [], 2.0) == []
    assert shrink_counts(population(2, 1), [1, 2, 1, 2], 0.0) == [1, 2, 1, 2], "clean counts that agree need no help"


@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 1000), st.floats(0.0, 50.0))
def test_estimates_lie_within_the_counts_and_keep_their_order_within_a_family(families, children, seed, sigma):
    everyone = population(families, children)
    counts = np.random.default_rng(seed).integers(-40, 60, len(everyone)).tolist()
    estimates = shrink_counts(everyone, counts, sigma)
    assert min(counts) - 1e-6 <= min(estimates) and max(estimates) <= max(counts) + 1e-6
    for i, one in enumerate(family_ids(everyone)):
        for j, other in enumerate(family_ids(everyone)):
            if one == other and counts[i] <= counts[j]:
                assert estimates[i] <= estimates[j] + 1e-9


def test_where_kin_are_alike_it_comes_nearer_to_the_true_counts_than_the_noised_ones():
    rng = np.random.default_rng(1)
    everyone, sigma = population(40, 3), 8.0
    before = after = 0.0
    for _ in range(20):
        means = dict(zip(sorted(set(family_ids(everyone))), rng.normal(8, 6, 40), strict=True))
        true_K = np.array([means[family] for family in family_ids(everyone)]) + rng.normal(0, 2, len(everyone))
        noised = np.rint(true_K + rng.normal(0, sigma, len(everyone))).astype(int).tolist()
        before += float(((np.array(noised) - true_K) ** 2).sum())
        after += float(((np.array(shrink_counts(everyone, noised, sigma)) - true_K) ** 2).sum())
    assert after < 0.5 * before


def test_selection_goes_by_it_where_it_is_asked_for_label_by_label():
    everyone = sorted(population(3, 2) + [
        Candidate("x00-000000", "other", "b", 0), Candidate("x00-000001", "other 2", "b", 0),
    ], key=lambda candidate: candidate.id)  # fmt: skip
    counts = {"g00-000000": 70, "g01-000000": -30, "g01-000001": -31, "g00-000001": 60, "g01-000002": 61,
              "g01-000003": 59, "g00-000002": 0, "g01-000004": 1, "g01-000005": -1,
              "x00-000000": 3, "x00-000001": 2}  # fmt: skip
    ids = tuple(candidate.id for candidate in everyone)
    histogram = NoisyHistogram(1, ids, np.array([counts[i] for i in ids]), 30.0, "")
    labels = [{"name": "all", "share": 9}, {"name": "b", "share": 2}]

    def first(**settings):
        evolution = EvolutionConfig(generations=2, candidates=11, survivors=0.2, labels=labels, **settings)
        return select(Candidates(tuple(everyone)), histogram, (), evolution, 0)

    assert first()[0].candidate.id == "g00-000000", "one lucky count"
    chosen = first(shrinkage="family")
    assert chosen[0].candidate.id != "g00-000000" and chosen[0].candidate.id in {"g00-000001", "g01-000002"}
    assert chosen[0].count in (60, 61), "the count that is told is the noised one"
    assert chosen[-1].candidate.id == "x00-000000"
