"""Votes on a device are bit for bit NumPy's: on torch's CPU device wherever torch is, on a GPU where there is one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from spti_ray.private import device as module  # noqa: E402
from spti_ray.private.device import TorchProcessor  # noqa: E402
from spti_ray.private.products import NUMPY  # noqa: E402
from spti_ray.private.top_k import IncrementalTopK  # noqa: E402
from spti_ray.private.views import Views, quantise  # noqa: E402
from spti_ray.private.voting import cast_votes  # noqa: E402
from spti_ray.types import Candidate, Candidates, ScoredCandidates  # noqa: E402
from tests.statistical.neighbours import check_sensitivity, is_caught, queries, take, units  # noqa: E402

pytestmark = pytest.mark.models

MEMORY = st.sampled_from([0, 2_000, 20_000, 2**26])
"""Room for one unit and no vectors, for some of both, for all."""

_known: dict[tuple[str, int], TorchProcessor] = {}


def processor(device: str, memory_bytes: int = 2**26) -> TorchProcessor:
    """Made once: a new one tries its device."""
    if (device, memory_bytes) not in _known:
        _known[device, memory_bytes] = TorchProcessor(device, memory_bytes)
    return _known[device, memory_bytes]


DEVICES = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees"),
            ],
        ),
    ],
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """So that a few records are several chunks."""
    monkeypatch.setattr(module, "_CHUNK_ROWS", 2)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)


@DEVICES
@settings(max_examples=200, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(queries(), MEMORY)
def test_the_counts_are_those_of_numpy_on_any_input(device, query, memory_bytes):
    """NaN, ties, k above the number of candidates, labels, groups, one space or two."""
    np.testing.assert_array_equal(cast_votes(*query, processor(device, memory_bytes)), cast_votes(*query))


@DEVICES
@settings(max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(queries(), MEMORY)
def test_removing_one_unit_changes_at_most_k_counts_by_one(device, query, memory_bytes):
    check_sensitivity(lambda *asked: cast_votes(*asked, processor(device, memory_bytes)), *query)


@DEVICES
@settings(max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(queries(), st.data(), MEMORY)
def test_votes_that_were_prepared_ahead_are_those_of_numpy(device, tmp_path_factory, query, data, memory_bytes):
    views, scored, k = query
    ahead = data.draw(st.lists(st.booleans(), min_size=len(scored.candidates), max_size=len(scored.candidates)))
    folder = tmp_path_factory.getbasetemp()
    found = IncrementalTopK(folder, k, processor(device, memory_bytes))
    found.add(views, scored.only(ahead))
    np.testing.assert_array_equal(found.count(views, scored), cast_votes(views, scored, k))


@DEVICES
def test_ties_that_go_to_the_highest_column_would_be_seen(device, monkeypatch):
    def last_of_equals(self):
        return self._values_UK.shape[1] - 1 - honest(module._TorchSimilarities(self._values_UK.flip(1)))

    honest = module._TorchSimilarities._first_largest
    monkeypatch.setattr(module._TorchSimilarities, "_first_largest", last_of_equals)
    assert is_caught(
        lambda query: np.testing.assert_array_equal(cast_votes(*query, processor(device)), cast_votes(*query)),
        queries(),
    )


@DEVICES
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("grouped", [False, True])
def test_many_records_of_two_spaces_have_the_same_votes(device, grouped, k, monkeypatch):
    """Long vectors, whole blocks, ties by equal candidates, groups whose records are far apart."""
    monkeypatch.undo()
    draw = np.random.default_rng(0)
    widths = {"image": 384, "text": 65}
    rows = {space: draw.normal(size=(5000, width)).astype(np.float32) for space, width in widths.items()}
    found = {space: draw.normal(size=(301, width)).astype(np.float32) for space, width in widths.items()}
    for matrix in found.values():
        matrix[200:] = matrix[:101]
    names = tuple(Candidate(f"g00-{i:05d}", "t", "xy"[i % 2], 0) for i in range(301))
    scored = ScoredCandidates(Candidates(names), found, {"image": 0.31, "text": 0.69})
    views = Views(
        {space: quantise(matrix) for space, matrix in rows.items()},
        draw.integers(-1, 2, 5000).astype(np.int32),
        ("x", "y"),
        draw.integers(-1, 700, 5000) if grouped else None,
    )
    expected = cast_votes(views, scored, k, NUMPY)
    for memory_bytes in (2**22, 2**30):
        np.testing.assert_array_equal(cast_votes(views, scored, k, TorchProcessor(device, memory_bytes)), expected)
    assert expected.sum() > 0 and len(units(take(views, range(10)))) > 1


def test_votes_a_second(device, figures):
    """As `spti bench --only votes` measures them, which compares the counts with NumPy's first."""
    from spti_ray.bench.votes import votes

    size = (100_000, 4000, 2048) if device == "cuda" else (500, 200, 64)
    found = votes(*size, rounds=1)
    figures["votes_per_s"] = found["on_device"]["records_per_s"]
    figures["votes_over_numpy"] = found["on_device"]["over_numpy"]
    assert found["on_device"]["votes_s"] > 0
