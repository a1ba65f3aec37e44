import copy
import dataclasses
import json
import logging
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import cloudpickle

from spti_ray.votes import Query, Votes


def votes() -> Votes:
    return Votes(Query("run-1", 4, "ab" * 32), 3, np.array([0, 71_234, 5], np.int64), 987_654)


def test_votes_show_nothing_of_themselves(caplog):
    private = votes()
    logging.getLogger("test").warning("%s %r", private, [private])
    shown = [repr(private), str(private), f"{private}", f"{private!r}", format(private), repr((private,)), caplog.text]
    for text in shown:
        assert "71234" not in text and "987654" not in text and "abab" not in text
    with pytest.raises(TypeError):
        json.dumps(private)


@pytest.mark.parametrize(
    "dump", [pickle.dumps, cloudpickle.dumps, copy.copy, copy.deepcopy, lambda value: pickle.dumps([value], 2)]
)
def test_votes_refuse_to_be_pickled_or_copied(dump):
    with pytest.raises(TypeError, match="never pickled") as caught:
        dump(votes())
    assert "71234" not in str(caught.value)


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.integers(0, 10**6),
    st.integers(0, 2**62),
    st.builds(Query, st.text(max_size=9), st.integers(0, 1000), st.text(max_size=64)),
)
def test_votes_survive_the_wire(counts, shard_id, max_total, query):
    before = Votes(query, shard_id, np.array(counts, np.int64), max_total)
    after = Votes.from_wire(pickle.loads(pickle.dumps(before.to_wire())))
    assert (after.query, after.shard_id, after.max_total) == (query, shard_id, max_total)
    assert after.counts_K.dtype == np.int64 and after.counts_K.tolist() == counts


def test_votes_off_the_wire_can_not_be_changed():
    after = Votes.from_wire(votes().to_wire())
    with pytest.raises(ValueError, match="read-only"):
        after.counts_K[0] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.max_total = 0


def test_a_wire_carries_a_strided_vector_correctly():
    before = Votes(Query("", 0, ""), 0, np.arange(10, dtype=np.int64)[::2], 5)
    assert Votes.from_wire(before.to_wire()).counts_K.tolist() == [0, 2, 4, 6, 8]
