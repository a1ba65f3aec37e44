"""Made-up votes with all that breaks careless code, and the check that one unit changes little, for audit 1."""

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from spti_ray.private.views import NO_GROUP, NO_LABEL, Views, quantise
from spti_ray.private.voting import cast_votes
from spti_ray.types import Candidate, Candidates, CountArray, ScoredCandidates

Cast = Callable[[Views, ScoredCandidates, int], CountArray]

LABELS = ("x", "y")
WIDTH = 3
# Few values make ties, duplicates and zero vectors common; NaN and inf make unusable rows.
ENTRY = st.sampled_from([-1.0, 0.0, 0.0, 1.0, 2.0, 0.1, float("nan"), float("inf")])
ROW = st.lists(ENTRY, min_size=WIDTH, max_size=WIDTH) | st.sampled_from([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])


@st.composite
def queries(draw):
    """(views, candidates, k): one or two spaces, records or groups, k from 1 to one more than there are candidates."""
    num_records = draw(st.integers(1, 12))
    num_candidates = draw(st.integers(1, 7))
    spaces = draw(st.sampled_from([("image",), ("image", "text")]))

    def matrix(num):
        return np.array(draw(st.lists(ROW, min_size=num, max_size=num)), np.float32).reshape(num, WIDTH)

    names = draw(st.lists(st.sampled_from([*LABELS, "other"]), min_size=num_candidates, max_size=num_candidates))
    items = tuple(Candidate(f"g00-{i:05d}", "t", name, 0) for i, name in enumerate(names))
    weights = {space: draw(st.sampled_from([0.3, 0.5, 1.0])) for space in spaces}
    scored = ScoredCandidates(Candidates(items), {space: matrix(num_candidates) for space in spaces}, weights)
    codes = st.sampled_from([0, 0, 1, NO_LABEL])
    views = Views(
        {space: quantise(matrix(num_records)) for space in spaces},
        np.array(draw(st.lists(codes, min_size=num_records, max_size=num_records)), np.int32),
        LABELS,
        np.array(draw(st.lists(st.integers(NO_GROUP, 3), min_size=num_records, max_size=num_records)), np.int64)
        if draw(st.booleans())
        else None,
    )
    return views, scored, draw(st.integers(1, num_candidates + 1) | st.just(num_candidates))


def take(views: Views, rows: Sequence[int] | np.ndarray) -> Views:
    rows = np.asarray(rows, dtype=np.int64)
    groups = None if views.groups_P is None else views.groups_P[rows]
    vectors = {space: matrix[rows] for space, matrix in views.vectors_PE.items()}
    return Views(vectors, views.labels_P[rows], views.label_names, groups)


def without(views: Views, rows: np.ndarray) -> Views:
    return take(views, np.setdiff1d(np.arange(len(views.labels_P)), rows))


def units(views: Views) -> list[np.ndarray]:
    """The rows of each unit. Records without group are taken as one more group, which must count for nothing."""
    if views.groups_P is None:
        return [np.array([i]) for i in range(len(views.labels_P))]
    return [np.flatnonzero(views.groups_P == code) for code in np.unique(views.groups_P)]


def check_change(counts_K: CountArray, without_K: CountArray, k: int) -> CountArray:
    """The rule itself: what one unit adds is at most k counts by 1 each. Returns it."""
    change_K = counts_K - without_K
    assert (change_K**2).sum() <= k
    assert set(change_K.tolist()) <= {0, 1}
    return change_K


def check_sensitivity(cast: Cast, views: Views, scored: ScoredCandidates, k: int) -> None:
    """Remove each unit in turn; AssertionError if more than its own vote vector leaves, or if that is too long."""
    counts_K = cast(views, scored, k)
    for unit in units(views):
        change_K = check_change(counts_K, cast(without(views, unit), scored, k), k)
        # Additivity: what leaves is exactly the unit's own vote vector, which no other unit can influence.
        np.testing.assert_array_equal(change_K, cast(take(views, unit), scored, k))
    assert counts_K.sum() <= k * views.num_units


def is_caught(check: Callable[..., None], *strategies: st.SearchStrategy) -> bool:
    """Whether `check` fails for one of 400 examples, the same in each run of the tests."""

    @settings(
        max_examples=400,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(st.tuples(*strategies))
    def run(arguments):
        check(*arguments)

    try:
        run()
    except AssertionError:
        return True
    return False


def in_order(views: Views, scored: ScoredCandidates, k: int, order: np.ndarray) -> CountArray:
    """Votes with the candidates in another order, which decides ties; counts in the right order."""
    items = tuple(Candidate(f"{i:05d}", "t", scored.candidates.labels[j], 0) for i, j in enumerate(order))
    vectors = {space: matrix[order] for space, matrix in scored.embeddings_KE.items()}
    counts_K = np.zeros(len(order), dtype=np.int64)
    counts_K[order] = cast_votes(views, ScoredCandidates(Candidates(items), vectors, scored.weights), k)
    return counts_K
