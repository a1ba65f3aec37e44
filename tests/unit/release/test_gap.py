"""The share of the reachable gap: its ends, its interval, and where there is none."""

import math

import numpy as np
import pytest

from spti_ray.release.gap import estimated_share, share_closed


def figure(value, error=None):
    return {"value": value} | ({} if error is None else {"low": value - 1.96 * error, "high": value + 1.96 * error})


def test_it_is_0_at_the_start_1_at_the_end_and_more_beyond():
    assert [share_closed(50.0, 10.0, value) for value in (50.0, 10.0, 30.0, 60.0, 0.0)] == [0.0, 1.0, 0.5, -0.25, 1.25]


def test_without_a_gap_it_is_not_defined():
    assert share_closed(50.0, 50.0, 20.0) is None and share_closed(50.0, 60.0, 20.0) is None
    assert share_closed(math.nan, 10.0, 20.0) is None and share_closed(50.0, 10.0, math.nan) is None
    assert estimated_share(figure(1.0, 0.1), figure(2.0, 0.1), figure(1.5, 0.1)) is None


def test_its_interval_is_what_draws_of_the_three_figures_show():
    rng = np.random.default_rng(0)
    start, end, value = (rng.normal(mean, error, 200_000) for mean, error in ((50, 1), (10, 0.5), (22, 1.5)))
    low, high = np.percentile((start - value) / (start - end), (2.5, 97.5))
    found = estimated_share(figure(50.0, 1.0), figure(10.0, 0.5), figure(22.0, 1.5))
    assert found.value == pytest.approx(0.7)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))


def test_there_is_no_interval_where_a_figure_has_none_or_the_gap_may_be_none():
    assert estimated_share(figure(50.0), figure(10.0, 1.0), figure(20.0, 1.0))[1:] == (None, None)
    assert estimated_share(figure(12.0, 1.0), figure(10.0, 1.0), figure(11.0, 1.0))[1:] == (None, None)
