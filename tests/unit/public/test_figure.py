"""The answer of a measurement is a function of its noised counts, and is there whatever they are."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.config.measure import parse_task
from spti_ray.public.figure import figure, lines_of
from spti_ray.types import NoisyHistogram

TASK = {"task": "label_accuracy", "epsilon": 1.0}
COUNT = st.integers(-500, 500) | st.integers(-(2**40), 2**40)


def answer(counts, cells=("right", "wrong"), **changes):
    histogram = NoisyHistogram(0, cells, np.array(counts, np.int64), 5.0, "probe", "counts")
    return figure(parse_task(TASK | changes), histogram, "record", {"run": "r"})


@settings(max_examples=60, deadline=None)
@given(COUNT, COUNT)
def test_no_count_keeps_the_figure_back(right, wrong):
    """Nothing of it depends on how many there are or on what comes out, but its values."""
    found, shown = answer([right, wrong]), answer([900, 100])
    assert found.keys() == shown.keys() and len(lines_of(found)) == len(lines_of(shown))
    assert (found["right"], found["wrong"]) == (right, wrong)
    json.dumps(found, allow_nan=False)


def test_classes_have_ratios_of_their_own_and_the_whole_is_their_sum():
    cells = ("a: right", "a: wrong", "b: right: right", "b: right: wrong")
    found = answer([90, 10, 50, 50], cells, by_class=True)
    assert [row["label"] for row in found["classes"]] == ["a", "b: right"]
    assert [row["ratio"] for row in found["classes"]] == [0.9, 0.5] and found["ratio"] == 0.7
    narrow = answer([140, 60])
    assert found["of_these"][1] - found["of_these"][0] > 1.3 * (narrow["of_these"][1] - narrow["of_these"][0])


def test_the_lines_say_what_each_interval_covers():
    *_, last = lines_of(answer([90, 10]))
    assert "from the noise alone" in last and "from noise and sampling" in last
    voted = answer([90, 10]) | {"facts": {"embedder_voted": True}}
    assert "its embedder voted too" in "\n".join(lines_of(voted)) and "voted" not in "\n".join(lines_of(answer([9, 1])))


def test_a_ratio_of_nothing_is_none():
    assert answer([3, -9])["ratio"] is None and "no ratio" in lines_of(answer([3, -9]))[0]
    assert answer([10, 0])["ratio"] == pytest.approx(1.0)
