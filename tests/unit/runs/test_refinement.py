from types import SimpleNamespace

import pytest

from spti_ray.runs.refinement import _more_themes


@pytest.mark.parametrize(
    ("evolution", "last", "levels"),
    [
        ({"themes": [5, 4]}, 1, [5, 4, 4, 4]),
        ({"themes": [5]}, 1, [5]),
        ({}, 1, []),
        ({"themes": [5, 4, 4], "generations": 3}, 2, [5, 4, 4, 4, 4]),
        ({"themes": [6], "label_shares": "voted", "labels": ["a", "b"]}, 1, [6, 6, 6]),
        ({"themes": [6], "label_shares": "voted", "labels": ["a", "b"], "generations": 3}, 2, [6]),
    ],
    ids=str,
)
def test_a_run_that_goes_on_is_voted_on_in_themes_if_all_before_it_was(make_config, evolution, last, levels):
    settings = {"generations": 2, "candidates": 20} | evolution
    origin = SimpleNamespace(config=make_config(evolution=settings), last_generation=last)
    assert _more_themes(origin, 2) == levels
